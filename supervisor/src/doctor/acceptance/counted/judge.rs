//! Whether answers with hardware events can be true. Each function takes answers as clients have them, and decides alone:
//! no machine is asked, so answers that were made up try them.

use std::collections::BTreeMap;

use serde_json::Value;

/// What came of one event.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    /// Counted for each call.
    Counted(f64),
    /// Not counted, and why.
    NotCounted(String),
}

/// What the rows need of an answer in JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Answer {
    /// Figures by hardware counters and what is absent, by name.
    events: BTreeMap<String, Event>,
    /// Passes it was counted in.
    passes: usize,
    /// Doubts that name passes.
    doubts: Vec<String>,
}

/// A figure and whether it is within its bound, or why there is none.
pub(super) type Judged = Result<(String, bool), String>;

impl Answer {
    /// Reads an answer.
    pub(super) fn of(answer: &Value) -> Self {
        let list = |name: &str| answer[name].as_array().into_iter().flatten();
        let name = |entry: &Value| entry["name"].as_str().unwrap_or_default().to_owned();
        let counted = list("results")
            .filter(|figure| figure["source"] == "pmu")
            .filter_map(|figure| Some((name(figure), Event::Counted(figure["value"].as_f64()?))));
        let reason = |absent: &Value| Event::NotCounted(absent["reason"].as_str().unwrap_or_default().into());
        let absent = list("absent").map(|absent| (name(absent), reason(absent)));
        let doubts = list("warnings").filter_map(Value::as_str);
        Self {
            events: absent.chain(counted).collect(),
            passes: answer["method"]["passes"].as_array().map_or(0, Vec::len),
            doubts: doubts.filter(|doubt| doubt.contains("asses of hardware")).map(str::to_owned).collect(),
        }
    }

    /// What an event counted.
    fn count(&self, name: &str) -> Result<f64, String> {
        match self.events.get(name) {
            Some(Event::Counted(count)) => Ok(*count),
            Some(Event::NotCounted(reason)) => Err(format!("{name} was not counted: {reason}")),
            None => Err(format!("{name} is neither counted nor absent")),
        }
    }
}

/// Instructions of a function of `expected` are exact in every answer.
pub(super) fn instructions(answers: &[Answer], expected: u64) -> Judged {
    let counts = all(answers, "RetiredInstructions")?;
    let worst = counts.iter().map(|count| (count - expected as f64).abs()).fold(f64::NAN, f64::max);
    Ok((format!("off by {worst:.4} at most, {} answers", counts.len()), worst <= 0.01))
}

/// Cycles of a chain are its length in every answer.
pub(super) fn cycles(answers: &[Answer], expected: u64) -> Judged {
    let counts = all(answers, "Cycles")?;
    let off = |count: &f64| (count / expected as f64 - 1.0).abs() * 100.0;
    let worst = counts.iter().map(off).fold(f64::NAN, f64::max);
    Ok((format!("worst {worst:.2} %, {} answers", counts.len()), worst <= 0.5))
}

/// Micro-operations at the ports are as many as were executed.
pub(super) fn ports(answer: &Answer, ports: &[&str], executed: &str) -> Judged {
    let sum = ports.iter().map(|port| answer.count(port)).sum::<Result<f64, String>>()?;
    let executed = answer.count(executed)?;
    let off = (sum / executed - 1.0) * 100.0;
    Ok((format!("{sum:.1} at {} ports, {executed:.1} executed", ports.len()), off.abs() <= 1.0))
}

/// A buffer of so many lines misses the first-level cache with each when it was flushed, and never when it was not.
pub(super) fn misses(hot: &Answer, flushed: &Answer, miss: &str, lines: u64) -> Judged {
    let (hot, flushed) = (hot.count(miss)?, flushed.count(miss)?);
    let holds = hot.abs() <= 0.5 && (flushed / lines as f64 - 1.0).abs() <= 0.1;
    Ok((format!("{hot:.2} hot, {flushed:.1} flushed"), holds))
}

/// Half of so many branches are mispredicted where chance decides, and none where nothing changes.
pub(super) fn mispredicts(constant: &Answer, random: &Answer, mispredict: &str, branches: u64) -> Judged {
    let share = |answer: &Answer| Ok::<f64, String>(answer.count(mispredict)? / branches as f64);
    let (constant, random) = (share(constant)?, share(random)?);
    let holds = constant.abs() <= 0.01 && (0.35..=0.65).contains(&random);
    Ok((format!("{:.2} % constant, {:.1} % random", 100.0 * constant, 100.0 * random), holds))
}

/// All passes of an answer agree.
pub(super) fn passes(answer: &Answer) -> Judged {
    match (answer.passes, answer.doubts.first()) {
        (0, _) => Err("nothing was counted in passes".into()),
        (passes, None) => Ok((format!("{passes} passes agree"), true)),
        (_, Some(doubt)) => Ok((doubt.clone(), false)),
    }
}

/// Each of many events has a count or a reason.
pub(super) fn many(answer: &Answer, names: &[String]) -> Judged {
    let silent: Vec<_> = names.iter().filter(|name| !is_told(answer, name)).map(String::as_str).collect();
    let counted = names.iter().filter(|name| answer.count(name).is_ok()).count();
    let figure = format!("{counted} of {} counted, {} without a word", names.len(), silent.len());
    Ok((figure, silent.is_empty()))
}

fn is_told(answer: &Answer, name: &str) -> bool {
    match answer.events.get(name) {
        Some(Event::Counted(_)) => true,
        Some(Event::NotCounted(reason)) => !reason.is_empty(),
        None => false,
    }
}

/// One figure of all answers.
fn all(answers: &[Answer], name: &str) -> Result<Vec<f64>, String> {
    if answers.is_empty() {
        return Err("nothing was measured".into());
    }
    answers.iter().map(|answer| answer.count(name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An answer in which these were counted, and `taken` was not.
    fn answer(counted: &[(&str, f64)]) -> Answer {
        let figure = |&(name, value): &(&str, f64)| json!({ "name": name, "source": "pmu", "value": value });
        let mut results: Vec<Value> = counted.iter().map(figure).collect();
        results.push(json!({ "name": "Loads", "source": "block-count", "value": 7 }));
        Answer::of(&json!({
            "results": results,
            "absent": [{ "name": "taken", "reason": "its counters were taken" }, { "name": "silent", "reason": "" }],
            "method": { "passes": [{}, {}] },
            "warnings": ["The core may be shared."],
        }))
    }

    fn holds(judged: Judged) -> bool {
        judged.expect("a figure").1
    }

    /// What was not counted fails no bound: there is no figure, and the reason is handed on.
    fn is_handed_on(judged: Judged) {
        assert_eq!(judged.expect_err("no figure"), "taken was not counted: its counters were taken");
    }

    #[test]
    fn instructions_are_exact_in_every_answer_or_wrong() {
        let counted = |count| answer(&[("RetiredInstructions", count)]);
        assert!(holds(instructions(&[counted(101.0), counted(101.0)], 101)));
        assert!(!holds(instructions(&[counted(101.0), counted(101.5)], 101)));
        assert!(instructions(&[counted(101.0), answer(&[])], 101).is_err());
        assert!(instructions(&[], 101).is_err());
    }

    #[test]
    fn cycles_of_a_chain_are_its_length_within_half_a_percent() {
        let counted = |count| [answer(&[("Cycles", count)])];
        assert!(holds(cycles(&counted(1004.0), 1000)) && !holds(cycles(&counted(1006.0), 1000)));
        assert!(cycles(&[answer(&[("Loads", 1.0)])], 1000).is_err(), "cycles by the clock are none of these");
    }

    #[test]
    fn ports_add_up() {
        let ports_of = |executed| answer(&[("p0", 400.0), ("p1", 600.0), ("executed", executed)]);
        assert!(holds(ports(&ports_of(1005.0), &["p0", "p1"], "executed")));
        assert!(!holds(ports(&ports_of(1100.0), &["p0", "p1"], "executed")));
        assert!(!holds(ports(&ports_of(0.0), &["p0", "p1"], "executed")));
        is_handed_on(ports(&ports_of(1000.0), &["p0", "taken"], "executed"));
    }

    #[test]
    fn a_flushed_buffer_misses_with_each_line_and_a_hot_one_never() {
        let missing = |count| answer(&[("miss", count)]);
        assert!(holds(misses(&missing(0.02), &missing(65.0), "miss", 64)));
        assert!(!holds(misses(&missing(0.02), &missing(0.0), "miss", 64)), "a silent zero");
        assert!(!holds(misses(&missing(8.0), &missing(64.0), "miss", 64)));
        is_handed_on(misses(&missing(0.0), &missing(64.0), "taken", 64));
    }

    #[test]
    fn chance_is_mispredicted_half_the_time() {
        let missing = |count| answer(&[("miss", count)]);
        assert!(holds(mispredicts(&missing(1.0), &missing(490.0), "miss", 1000)));
        assert!(!holds(mispredicts(&missing(1.0), &missing(20.0), "miss", 1000)));
        assert!(!holds(mispredicts(&missing(400.0), &missing(490.0), "miss", 1000)));
        is_handed_on(mispredicts(&missing(0.0), &missing(490.0), "taken", 1000));
    }

    #[test]
    fn passes_that_do_not_agree_are_wrong() {
        assert!(holds(passes(&answer(&[]))));
        let odd = Answer { doubts: vec!["Passes of hardware events do not agree".into()], ..answer(&[]) };
        assert!(!holds(passes(&odd)));
        assert!(passes(&Answer::default()).is_err());
    }

    #[test]
    fn every_event_of_many_has_a_count_or_a_reason() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let answer = answer(&[("p0", 0.0)]);
        assert_eq!(
            many(&answer, &names(&["p0", "taken"])),
            Ok(("1 of 2 counted, 0 without a word".into(), true))
        );
        for unsaid in ["nowhere", "silent"] {
            assert!(!holds(many(&answer, &names(&["p0", unsaid]))), "{unsaid}");
        }
    }
}
