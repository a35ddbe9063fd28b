//! `_events=`: a list of names, aliases and raw events, as a client writes it.

use webrunner_kernels::{near, shown};
use webrunner_protocol::events::EncodedEvent;
use webrunner_protocol::limits::MAX_EVENTS;

use super::Selection;
use super::host::CoreKind;
use super::raw;
use super::table::{CYCLES, INSTRUCTIONS};

/// What is wrong with a list of events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// A name that the table does not have.
    #[error("the table `{table}`, which describes this CPU, has no event `{event}`")]
    Unknown {
        /// What came.
        event: String,
        /// The table that was looked in.
        table: &'static str,
        /// Names that are like it.
        near: Vec<String>,
    },
    /// A raw event that cannot be read or is not allowed.
    #[error("`{event}`: {reason}")]
    Raw {
        /// What came.
        event: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No event, or too many.
    #[error("{count} events, 1 to {MAX_EVENTS} can be counted")]
    Count {
        /// How many came.
        count: usize,
    },
}

/// Reads a list and finds each event in the table of a kind of core. What is named twice is counted once; cycles and
/// instructions are counted anyway.
///
/// # Errors
/// The first thing wrong.
pub fn select(list: &str, kind: &CoreKind) -> Result<Selection, SelectError> {
    let words = split(list);
    if words.is_empty() || words.len() > MAX_EVENTS {
        return Err(SelectError::Count { count: words.len() });
    }
    let mut names: Vec<String> = Vec::with_capacity(words.len());
    let mut events: Vec<EncodedEvent> = Vec::with_capacity(words.len());
    for word in words {
        let Some((name, event)) = find(word, kind)? else { continue };
        if !names.contains(&name) {
            names.push(name);
            events.push(event);
        }
    }
    Ok(Selection { names, set: kind.set(events) })
}

/// Splits at commas, but for those between slashes.
fn split(list: &str) -> Vec<&str> {
    let mut inside = false;
    let words = list.split(|c| {
        inside ^= c == '/';
        c == ',' && !inside
    });
    words.map(str::trim).filter(|word| !word.is_empty()).collect()
}

/// The event of a word, with the name answers give it; `None` for cycles and instructions.
fn find(word: &str, kind: &CoreKind) -> Result<Option<(String, EncodedEvent)>, SelectError> {
    if raw::is_raw(word) {
        let fail = |reason| SelectError::Raw { event: shown(word), reason };
        let event = raw::parse(word, kind.wide_selects).map_err(fail)?;
        let pmu = kind.pmu_name();
        if event.pmu.is_some_and(|named| named != pmu) {
            return Err(fail(format!("the PMU of the cores that count here is {pmu}")));
        }
        return Ok(Some((word.to_owned(), EncodedEvent::anywhere(kind.pmu_kind(), event.fields.config()))));
    }
    let same = |name: &str| name.eq_ignore_ascii_case(word);
    match kind.table.rows().find(|(alias, row)| same(alias) || same(&row.name)) {
        Some((CYCLES | INSTRUCTIONS, _)) => Ok(None),
        Some((_, row)) => Ok(Some((row.name.clone(), row.encode(kind.pmu_kind())))),
        // Not in every legacy table, and counted all the same.
        None if same(INSTRUCTIONS) => Ok(None),
        None => Err(unknown(word, kind)),
    }
}

fn unknown(word: &str, kind: &CoreKind) -> SelectError {
    let names = kind.table.rows().flat_map(|(alias, row)| [alias, row.name.as_str()]);
    let near = near(word, names.map(|name| (name, name)));
    SelectError::Unknown { event: shown(word), table: kind.table_id, near }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::family::{CorePmu, CpuModel};

    fn kind(model: u32, pmu: Option<&str>) -> CoreKind {
        let cpu = CpuModel { vendor: "GenuineIntel".into(), family: 6, model };
        CoreKind::new(&cpu, pmu.map(|name| CorePmu { name: name.into(), kind: 4 }))
    }

    fn haswell() -> CoreKind {
        kind(0x3c, Some("cpu"))
    }

    fn configs(list: &str) -> Vec<(String, u64)> {
        let Selection { names, set } = select(list, &haswell()).unwrap();
        names.into_iter().zip(set.unwrap().events.iter().map(|event| event.config)).collect()
    }

    #[test]
    fn events_are_picked_by_name_by_alias_and_by_code() {
        assert_eq!(
            configs("uops_port_0,IDQ.MITE_UOPS,cpu/event=0xc4,umask=0x20/,r1c2"),
            [
                ("UOPS_EXECUTED_PORT.PORT_0".into(), 0x1a1),
                ("IDQ.MITE_UOPS".into(), 0x479),
                ("cpu/event=0xc4,umask=0x20/".into(), 0x20c4),
                ("r1c2".into(), 0x1c2),
            ]
        );
    }

    #[test]
    fn what_is_named_twice_is_counted_once_and_letter_case_does_not_count() {
        assert_eq!(configs("uops_mite,idq.mite_uops, IDQ.MITE_UOPS ,").len(), 1);
    }

    #[test]
    fn cycles_and_instructions_need_not_be_asked_for() {
        assert_eq!(configs("cycles,INST_RETIRED.ANY_P,instructions"), []);
    }

    #[test]
    fn an_unknown_name_lists_names_like_it_and_says_where_it_looked() {
        let SelectError::Unknown { event, table, near } = select("uops_prot_0", &haswell()).unwrap_err()
        else {
            panic!("found")
        };
        assert_eq!((event.as_str(), table), ("uops_prot_0", "haswell"));
        assert_eq!(near.first().map(String::as_str), Some("uops_port_0"));
    }

    #[test]
    fn a_raw_event_of_another_pmu_or_with_more_than_it_may_have_is_refused() {
        for list in
            ["cpu_core/event=1/", "msr/event=1/", "cpu/event=0x1c7/", "cpu/event=1,config1=1/", "cpu/event=1"]
        {
            assert!(matches!(select(list, &haswell()), Err(SelectError::Raw { .. })), "{list}");
        }
        assert!(select("cpu_core/event=1/", &kind(0x97, Some("cpu_core"))).is_ok());
    }

    #[test]
    fn between_one_and_sixty_four_events_are_taken() {
        for list in ["", ",", "  "] {
            assert_eq!(select(list, &haswell()), Err(SelectError::Count { count: 0 }));
        }
        let many: Vec<String> = (0..65).map(|code| format!("r{code:x}00")).collect();
        assert_eq!(select(&many.join(","), &haswell()), Err(SelectError::Count { count: 65 }));
        assert_eq!(select(&many[1..].join(","), &haswell()).unwrap().names.len(), 64);
    }

    #[test]
    fn on_a_core_without_a_pmu_events_have_names_and_no_codes() {
        let selection = select("uops_mite,r1c2", &kind(0x3c, None)).unwrap();
        assert_eq!((selection.names.len(), selection.set), (2, None));
        assert!(select("no_such", &kind(0x3c, None)).is_err());
    }

    #[test]
    fn the_generic_table_serves_a_cpu_that_no_other_describes() {
        let selection = select("branches,L1-dcache-load-misses", &kind(0, Some("cpu"))).unwrap();
        assert_eq!(selection.names, ["branch-instructions", "L1-dcache-load-misses"]);
    }

    #[test]
    fn cycles_of_a_hybrid_cpu_are_those_of_the_cores_own_pmu() {
        let cpu = CpuModel { vendor: "GenuineIntel".into(), family: 6, model: 0x97 };
        let kind = CoreKind::new(&cpu, Some(CorePmu { name: "cpu_atom".into(), kind: 10 }));
        let set = select("uops_retired", &kind).unwrap().set.unwrap();
        assert_eq!((set.cycles.kind, set.cycles.config), (0, 10 << 32));
        assert_eq!((set.instructions.config, set.events[0].kind), (10 << 32 | 1, 10));
    }
}
