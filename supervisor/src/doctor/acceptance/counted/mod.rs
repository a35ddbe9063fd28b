//! Item 9: what a host with hardware counters must show besides. Jobs are posted with `_events`, and judged by what a
//! client would read in their JSON.
//!
//! On a host without counters each row says so and is no failure; so does one for an event that the CPU's table lacks.

mod judge;

use actix_web::web::Bytes;
use serde_json::Value;

use self::judge::{Answer, Judged};
use super::laboratory::Laboratory;
use super::{Row, objects};
use crate::problem::Problem;

const ITEM: u8 = 9;

/// Lengths of the chains whose instructions and cycles are counted.
const CHAINS: [usize; 2] = [100, 1000];

/// Events to ask for at once: more than any CPU has counters.
const MANY: usize = 60;

/// What each row is about, and its bound.
const PORTS: (&str, &str) = ("micro-operations at all ports", "as many as executed, +-1 %");
const MISSES: (&str, &str) = ("misses of a 4 KiB buffer", "0 if hot, 64 +-10 % if flushed");
const MISPREDICTS: (&str, &str) = ("mispredicted of 1000 branches", "0 +-1 % constant, 50 +-15 % random");
const PASSES: (&str, &str) = ("passes of the usual events", "the same instructions, cycles within 1 %");
const MANY_EVENTS: (&str, &str) = ("60 events at once", "each a count or a reason");

/// Names that this CPU's table gives its events.
struct Names(Value);

impl Names {
    /// The vendor's name of an alias.
    fn of(&self, alias: &str) -> Result<&str, String> {
        self.0[alias].as_str().ok_or_else(|| format!("this CPU's table has no event {alias}"))
    }

    /// Names of all whose alias begins so.
    fn beginning(&self, prefix: &str) -> Vec<&str> {
        let events = self.0.as_object().into_iter().flatten();
        events.filter(|(alias, _)| alias.starts_with(prefix)).filter_map(|(_, name)| name.as_str()).collect()
    }
}

/// All rows of the item.
pub(super) async fn counters(laboratory: &mut Laboratory<'_>, rows: &mut Vec<Row>) {
    let hardware = laboratory.service.facts().hardware.describe(|_| None);
    let core = &hardware[0];
    if core["pmu"].is_null() {
        let reason = laboratory.service.machine.no_counters.unwrap_or("this core has no hardware counters");
        rows.extend(
            headings().into_iter().map(|(what, bound)| {
                Row::skipped(ITEM, &what, &bound, format!("not supported here: {reason}"))
            }),
        );
        return;
    }
    let names = Names(core["table"]["events"].clone());
    for length in CHAINS {
        chain(laboratory, length, rows).await;
    }
    let judged = ports(laboratory, &names).await;
    put(rows, PORTS, judged);
    let judged = misses(laboratory, &names).await;
    put(rows, MISSES, judged);
    let judged = mispredicts(laboratory, &names).await;
    put(rows, MISPREDICTS, judged);
    let judged = usual(laboratory).await;
    put(rows, PASSES, judged);
    let judged = many(laboratory, &names).await;
    put(rows, MANY_EVENTS, judged);
}

fn heading(length: usize, of: &str) -> (String, String) {
    let bound = if of == "cycles" { format!("{length} +-0.5 %") } else { format!("exactly {}", length + 1) };
    (format!("{of} of {length} adds, counted"), bound)
}

fn headings() -> Vec<(String, String)> {
    let chains = CHAINS.map(|length| ["instructions", "cycles"].map(|of| heading(length, of)));
    let others = [PORTS, MISSES, MISPREDICTS, PASSES, MANY_EVENTS];
    let others = others.map(|(what, bound)| (what.to_owned(), bound.to_owned()));
    chains.into_iter().flatten().chain(others).collect()
}

/// Why a row has no verdict by its figure.
enum Stop {
    /// The figure cannot be had, which is no fault.
    NotCounted(String),
    /// A job did not end in a measurement.
    Failed(Problem),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self::NotCounted(reason)
    }
}

type Verdict = Result<(String, bool), Stop>;

fn put(rows: &mut Vec<Row>, (what, bound): (&str, &str), verdict: Verdict) {
    rows.push(match verdict {
        Ok((figure, holds)) => Row::new(ITEM, what, figure, bound, holds),
        Err(Stop::NotCounted(reason)) => Row::skipped(ITEM, what, bound, reason),
        Err(Stop::Failed(problem)) => Row::failed(ITEM, what, bound, &problem),
    });
}

async fn ask(laboratory: &Laboratory<'_>, query: &str, object: &Bytes) -> Result<Answer, Problem> {
    Ok(Answer::of(&laboratory.answer(query, object).await?))
}

/// Two rows of a chain: its instructions and its cycles.
async fn chain(laboratory: &mut Laboratory<'_>, length: usize, rows: &mut Vec<Row>) {
    let mut answers = Vec::new();
    let mut failed = None;
    laboratory.progress.say(&format!("counting {length} dependent adds"));
    for _run in 0..laboratory.runs.min(10) {
        match ask(laboratory, "kernel=playground", &objects::adds(length)).await {
            Ok(answer) => answers.push(answer),
            Err(problem) => failed = Some(problem),
        }
    }
    let judged: [(&str, Judged); 2] = [
        ("instructions", judge::instructions(&answers, length as u64 + 1)),
        ("cycles", judge::cycles(&answers, length as u64)),
    ];
    for (of, judged) in judged {
        let (what, bound) = heading(length, of);
        match &failed {
            Some(problem) => rows.push(Row::failed(ITEM, &what, &bound, problem)),
            None => put(rows, (&what, &bound), judged.map_err(Stop::from)),
        }
    }
}

async fn ports(laboratory: &Laboratory<'_>, names: &Names) -> Verdict {
    let (ports, executed) = (names.beginning("uops_port_"), names.of("uops_executed")?);
    if ports.is_empty() {
        return Err("this CPU's table has no events for ports".to_owned().into());
    }
    let query = format!("kernel=sdot&n=1024&_events={},{executed}", ports.join(","));
    let answer = ask(laboratory, &query, &objects::sdot()).await?;
    Ok(judge::ports(&answer, &ports, executed)?)
}

async fn misses(laboratory: &Laboratory<'_>, names: &Names) -> Verdict {
    let miss = names.of("l1d_miss")?;
    let query = format!("kernel=sdot&n=1024&_check=no&_events={miss}");
    let hot = ask(laboratory, &query, &objects::reads_lines(false)).await?;
    let flushed = ask(laboratory, &query, &objects::reads_lines(true)).await?;
    Ok(judge::misses(&hot, &flushed, miss, objects::LINES.into())?)
}

async fn mispredicts(laboratory: &Laboratory<'_>, names: &Names) -> Verdict {
    let mispredict = names.of("branch_mispredicts")?;
    let query = format!("kernel=playground&_events={mispredict}");
    let constant = ask(laboratory, &query, &objects::branches(false)).await?;
    let random = ask(laboratory, &query, &objects::branches(true)).await?;
    Ok(judge::mispredicts(&constant, &random, mispredict, objects::BRANCHES.into())?)
}

async fn usual(laboratory: &Laboratory<'_>) -> Verdict {
    Ok(judge::passes(&ask(laboratory, "kernel=sdot&n=1024", &objects::sdot()).await?)?)
}

async fn many(laboratory: &Laboratory<'_>, names: &Names) -> Verdict {
    let own = names.beginning("").into_iter().map(str::to_owned);
    // A table with fewer is filled up with raw events.
    let raw = (1..=MANY).map(|code| format!("r{code:x}01"));
    let leading = [names.of("cycles"), names.of("instructions")];
    let others = own.filter(|name| !leading.contains(&Ok(name))).chain(raw);
    let list: Vec<String> = others.take(MANY).collect();
    let query = format!("kernel=sdot&n=1024&_events={}", list.join(","));
    Ok(judge::many(&ask(laboratory, &query, &objects::sdot()).await?, &list)?)
}
