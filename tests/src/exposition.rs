//! Prometheus's text format, as far as the service uses it: families with a type, series with a value.

use std::collections::{BTreeMap, BTreeSet};

/// One scrape.
#[derive(Debug, Clone)]
pub struct Exposition {
    families: BTreeMap<String, Family>,
    series: BTreeMap<String, f64>,
}

/// Series of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// Names of the labels that its series have, `le` left out.
    pub labels: BTreeSet<String>,
}

impl Exposition {
    /// Reads a scrape.
    ///
    /// # Panics
    /// If a line is neither comment nor series.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (mut families, mut series) = (BTreeMap::<String, Family>::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                families.insert(name.into(), Family { kind: kind.into(), ..Family::default() });
            } else if !line.starts_with('#') {
                let (key, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no series: {line}"));
                let family = families.get_mut(family_of(key)).unwrap_or_else(|| panic!("no type for {line}"));
                family.labels.extend(labels_of(key));
                series.insert(key.to_owned(), value.parse().expect("a number"));
            }
        }
        Self { families, series }
    }

    /// Families by name.
    #[must_use]
    pub fn families(&self) -> &BTreeMap<String, Family> {
        &self.families
    }

    /// Every series, written as it came.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        self.series.keys().map(String::as_str).collect()
    }

    /// The value of a series, written as the service does: labels in alphabetical order. 0 if there is none yet.
    #[must_use]
    pub fn value(&self, series: &str) -> f64 {
        self.series.get(series).copied().unwrap_or_default()
    }

    /// The sum of all series of a family of counters or gauges.
    #[must_use]
    pub fn sum(&self, family: &str) -> f64 {
        self.series.iter().filter(|(key, _)| bare(key) == family).map(|(_, value)| value).sum()
    }
}

/// A series without its labels.
fn bare(key: &str) -> &str {
    key.split('{').next().unwrap_or(key)
}

/// The family of a series; those of a histogram have suffixes.
fn family_of(key: &str) -> &str {
    let name = bare(key);
    ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// Values never hold a quotation mark, but may hold commas and braces.
fn labels_of(key: &str) -> impl Iterator<Item = String> {
    let (_, inside) = key.split_once('{').unwrap_or_default();
    let names = inside.split('"').step_by(2).filter_map(|piece| piece.strip_suffix('='));
    names.map(|name| name.trim_start_matches(',').to_owned()).filter(|name| name != "le")
}
