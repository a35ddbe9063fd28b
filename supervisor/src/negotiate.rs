//! Which form an answer takes: `_format` if the client named one, else its `Accept` header, else text.
//!
//! The old client sends no `Accept`, or one that takes anything, and can read nothing but text: text is the answer
//! whenever a client expresses no preference, and also when it asks for a form we do not have.

/// A form of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines of `Name: integer`.
    Text,
    /// Everything there is.
    Json,
    /// A table.
    Csv,
}

impl Format {
    /// In order of preference where a client has none.
    const ALL: [Self; 3] = [Self::Text, Self::Json, Self::Csv];

    /// What `_format` takes.
    pub const EXPECTED: &'static str = "text, json or csv";

    /// Reads the value of `_format`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// Media type of the answer.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("text", "plain"),
            Self::Json => ("application", "json"),
            Self::Csv => ("text", "csv"),
        }
    }

    /// The form an `Accept` header prefers (RFC 9110, section 12.5.1): highest quality, ties in our order.
    #[must_use]
    pub fn from_accept(accept: Option<&str>) -> Self {
        let Some(accept) = accept.filter(|accept| *accept != "*/*") else { return Self::Text };
        let mut best = (Self::Text, 0);
        for format in Self::ALL {
            let quality = quality(accept, format.media_type());
            if quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }
}

/// Quality in thousandths that a header gives a media type: that of the most specific range which covers it.
fn quality(accept: &str, (kind, subtype): (&str, &str)) -> u16 {
    let mut best = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';');
        let Some((range_kind, range_subtype)) = parts.next().and_then(|name| name.trim().split_once('/'))
        else {
            continue;
        };
        let is = |range: &str, name: &str| range.eq_ignore_ascii_case(name);
        let specificity = match (range_kind, range_subtype) {
            ("*", "*") => 1,
            (range, "*") if is(range, kind) => 2,
            (range, sub) if is(range, kind) && is(sub, subtype) => 3,
            _ => continue,
        };
        let quality = parts.find_map(weight).unwrap_or(1000);
        if specificity > best.0 {
            best = (specificity, quality);
        }
    }
    best.1
}

/// The value of a `q` parameter in thousandths; anything unreadable counts as not wanted.
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let weight = value.trim().parse::<f64>().ok().filter(|weight| (0.0..=1.0).contains(weight));
    Some(weight.map_or(0, |weight| (weight * 1000.0).round() as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(header: &str) -> Format {
        Format::from_accept(Some(header))
    }

    #[test]
    fn clients_without_a_preference_get_text() {
        assert_eq!(Format::from_accept(None), Format::Text);
        assert_eq!(accept("*/*"), Format::Text);
        assert_eq!(accept("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Format::Text);
    }

    #[test]
    fn the_form_asked_for_is_given() {
        assert_eq!(accept("application/json"), Format::Json);
        assert_eq!(accept("Application/JSON; charset=utf-8"), Format::Json);
        assert_eq!(accept("text/csv"), Format::Csv);
        assert_eq!(accept("application/json, text/plain, */*"), Format::Text);
    }

    #[test]
    fn quality_decides_and_the_most_specific_range_counts() {
        assert_eq!(accept("text/plain;q=0.5, application/json"), Format::Json);
        assert_eq!(accept("text/*;q=0.9, text/plain;q=0.1, application/json;q=0.5"), Format::Csv);
        assert_eq!(accept("text/plain;q=0, */*;q=0.1"), Format::Json);
    }

    #[test]
    fn nonsense_gets_text() {
        for header in ["", ",;=/", "image/png", "application/json;q=two", "text/plain;q=NaN"] {
            assert_eq!(accept(header), Format::Text);
        }
    }
}
