//! Encodings as perf writes them: `cpu/event=0xa1,umask=0x01,cmask=1/` and `r1a1`.
//!
//! Only what a core PMU counts for one process is taken: event, umask, cmask, inv and edge. `any` would count the other
//! thread of the core, `config1` and its like write registers beside the counter's own, other PMUs count other people's
//! work. All of them are refused here, whatever the kernel would say.

use super::table::Fields;

/// What a raw event may look like.
pub const EXPECTED: &str = "PMU/event=N,umask=N,cmask=N,inv,edge/ (numbers in decimal or hexadecimal with 0x; PMU is cpu, or \
                            cpu_core or cpu_atom on a CPU with two kinds of core), or r with the hexadecimal digits of such \
                            a configuration";

/// PMUs that may be named.
const PMUS: [&str; 3] = ["cpu", "cpu_core", "cpu_atom"];

/// Most characters of one raw event.
const MAX_CHARS: usize = 128;

/// A raw event, before it is known whether this core takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// The PMU that was named, if one was.
    pub pmu: Option<&'static str>,
    /// What is to be counted.
    pub fields: Fields,
}

/// Whether a word is meant as a raw event.
#[must_use]
pub fn is_raw(word: &str) -> bool {
    let digits = word.strip_prefix('r').unwrap_or_default();
    word.contains('/') || (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Reads a raw event. `wide` tells whether the CPU has event selects of twelve bits.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse(word: &str, wide: bool) -> Result<RawEvent, String> {
    if word.len() > MAX_CHARS {
        return Err(format!("it is longer than {MAX_CHARS} characters"));
    }
    let event = match word.split_once('/') {
        None => RawEvent { pmu: None, fields: from_digits(word.strip_prefix('r').unwrap_or(word))? },
        Some((pmu, terms)) => {
            let pmu = PMUS.into_iter().find(|known| *known == pmu);
            let pmu = pmu.ok_or("only events of the core's own PMU can be counted")?;
            let terms = terms.strip_suffix('/').ok_or("the closing / is missing")?;
            RawEvent { pmu: Some(pmu), fields: from_terms(terms)? }
        }
    };
    if event.fields.select > 0xff && !wide {
        return Err("event selects of this CPU go up to 0xff".into());
    }
    Ok(event)
}

fn from_terms(terms: &str) -> Result<Fields, String> {
    let mut fields = Fields::default();
    let mut seen = Vec::new();
    for term in terms.split(',') {
        let (name, value) = term.split_once('=').map_or((term, None), |(name, value)| (name, Some(value)));
        let within = |most: u16| number(name, value, most);
        match name {
            "event" => fields.select = within(0xfff)?,
            "umask" => fields.unit_mask = within(0xff)? as u8,
            "cmask" => fields.counter_mask = within(0xff)? as u8,
            "inv" => fields.inverted = flag(name, value)?,
            "edge" => fields.edge = flag(name, value)?,
            "" => return Err("a term is empty".into()),
            _ => return Err(format!("`{}` is none of event, umask, cmask, inv and edge", shown(name))),
        }
        if seen.contains(&name) {
            return Err(format!("{name} is given more than once"));
        }
        seen.push(name);
    }
    if seen.contains(&"event") { Ok(fields) } else { Err("event is missing".into()) }
}

fn number(name: &str, value: Option<&str>, most: u16) -> Result<u16, String> {
    let text = value.ok_or_else(|| format!("{name} needs a number"))?;
    let digits = |text: &str, radix| {
        // `from_str_radix` would take a sign.
        let clean = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if clean { u16::from_str_radix(text, radix).ok() } else { None }
    };
    let parsed = match text.strip_prefix("0x") {
        Some(hexadecimal) => digits(hexadecimal, 16),
        None => digits(text, 10),
    };
    parsed
        .filter(|number| *number <= most)
        .ok_or_else(|| format!("{name} takes 0 to {most:#x}, got `{}`", shown(text)))
}

fn flag(name: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("1") => Ok(true),
        Some("0") => Ok(false),
        Some(other) => Err(format!("{name} takes 0 or 1, got `{}`", shown(other))),
    }
}

/// The digits of `rNNN`: a configuration with nothing in it but the fields that may be given by name.
fn from_digits(digits: &str) -> Result<Fields, String> {
    let config = u64::from_str_radix(digits, 16).map_err(|_| "it has more than 16 digits")?;
    let fields = Fields {
        select: (config & 0xff) as u16 | (config >> 24 & 0xf00) as u16,
        unit_mask: (config >> 8) as u8,
        counter_mask: (config >> 24) as u8,
        inverted: config >> 23 & 1 == 1,
        edge: config >> 18 & 1 == 1,
    };
    if fields.config() == config {
        Ok(fields)
    } else {
        Err("it sets bits other than those of event, umask, cmask, inv and edge".into())
    }
}

/// A piece of what came, short enough to repeat.
fn shown(text: &str) -> String {
    text.chars().take(32).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(word: &str) -> u64 {
        parse(word, true).unwrap().fields.config()
    }

    #[test]
    fn both_notations_give_the_same_configuration() {
        assert_eq!(config("cpu/event=0xa1,umask=0x01,cmask=1/"), 0x0100_01a1);
        assert_eq!(config("r10001a1"), 0x0100_01a1);
        assert_eq!(config("cpu/event=193,inv,edge=1/"), 0x0084_00c1);
        assert_eq!(config("cpu/event=0x1c7,umask=0/"), 0x1_0000_00c7);
        assert_eq!(config("r1000000c7"), 0x1_0000_00c7);
        assert_eq!(config("cpu/event=1,inv=0/"), 1);
        assert_eq!(parse("cpu_atom/event=1/", false).unwrap().pmu, Some("cpu_atom"));
    }

    #[test]
    fn what_cannot_be_read_says_what_was_wrong() {
        for (word, complaint) in [
            ("uncore_imc/event=1/", "only events of the core's own PMU"),
            ("software/event=1/", "only events of the core's own PMU"),
            ("/event=1/", "only events of the core's own PMU"),
            ("cpu/event=1", "the closing / is missing"),
            ("cpu//", "a term is empty"),
            ("cpu/event=1,/", "a term is empty"),
            ("cpu/umask=1/", "event is missing"),
            ("cpu/event/", "event needs a number"),
            ("cpu/event=/", "event takes 0 to 0xfff, got ``"),
            ("cpu/event=0x1000/", "event takes 0 to 0xfff"),
            ("cpu/event=+1/", "event takes"),
            ("cpu/event=0x/", "event takes"),
            ("cpu/event=1,umask=256/", "umask takes 0 to 0xff, got `256`"),
            ("cpu/event=1,inv=2/", "inv takes 0 or 1"),
            ("cpu/event=1,event=2/", "event is given more than once"),
            ("cpu/event=1,any=1/", "`any` is none of event"),
            ("cpu/event=1,config1=7/", "`config1` is none of event"),
            ("cpu/event=1,name=x/", "`name` is none of event"),
            ("cpu/event=1/u", "the closing / is missing"),
            ("r2001a1", "it sets bits other than"),
            ("r100000000000001a1", "it has more than 16 digits"),
        ] {
            let found = parse(word, true).unwrap_err();
            assert!(found.starts_with(complaint), "{word}: {found}");
        }
        assert!(parse(&format!("cpu/event={}1/", "0".repeat(200)), true).is_err());
    }

    #[test]
    fn wide_event_selects_are_for_cpus_that_have_them() {
        assert!(parse("cpu/event=0x1c7/", false).unwrap_err().contains("up to 0xff"));
        assert!(parse("r1000000c7", false).is_err());
    }

    #[test]
    fn words_are_told_apart_from_names() {
        assert!(is_raw("r1a1") && is_raw("cpu/event=1/") && is_raw("x/"));
        assert!(!is_raw("retire_slots") && !is_raw("r") && !is_raw("1a1") && !is_raw("BR_INST_RETIRED.ALL"));
    }
}
