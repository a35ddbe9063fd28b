//! The eight items, in their order. The bounds are those of a machine without hardware counters and with busy
//! neighbours; how they were come by is in `docs/method.md`.

use super::hog::Hog;
use super::laboratory::{CHAIN, Laboratory, Series};
use super::statistics::{self, figure};
use super::{Row, objects};
use crate::problem::{Kind, Problem};
use crate::summary::Summary;

/// Elements of the dot product.
const ELEMENTS: u64 = 1024;

/// Queries of the dot product, and of one twice as long: 16 KiB, half of the smallest first-level cache of its cores.
const SDOT: &str = "kernel=sdot&n=1024&_counts=no";
const LONG_SDOT: &str = "kernel=sdot&n=2048&_counts=no";

/// Cores that load 256 bits twice a cycle, and no more, from the first-level cache.
const TWO_LOADS: [&str; 14] = [
    "haswell",
    "broadwell",
    "skylake",
    "skylake-avx512",
    "cascadelake",
    "cooperlake",
    "icelake-client",
    "icelake-server",
    "tigerlake",
    "rocketlake",
    "zen2",
    "zen3",
    "zen4",
    "zen5",
];

/// A series, or why there is none.
pub(super) type Taken = Result<Series, Problem>;

/// Series of the three chains of item 1.
pub(super) type Chains = [(usize, Taken); 3];

/// 1: chains of additions have their length.
pub(super) async fn chains(laboratory: &mut Laboratory<'_>, rows: &mut Vec<Row>) -> Chains {
    const BOUND: &str = "worst 1 %, 95 % within 0.3 %, 80 % accepted";
    let mut take = async |count: usize| {
        let what = format!("{count} dependent adds");
        let runs = laboratory.runs;
        let taken = laboratory.series(&what, CHAIN, &objects::adds(count), runs).await;
        rows.push(match &taken {
            Ok(series) => {
                let errors: Vec<f64> = series
                    .cycles()
                    .iter()
                    .map(|cycles| (cycles / count as f64 - 1.0).abs() * 100.0)
                    .collect();
                let worst = errors.iter().copied().fold(f64::NAN, f64::max);
                let close = errors.iter().filter(|error| **error <= 0.3).count();
                let holds = series.is_steady() && worst <= 1.0 && 20 * close >= 19 * errors.len();
                let figure = format!(
                    "median {}, worst {}, {close} within 0.3 %, {}",
                    figure(series.median(), 2, "cycles"),
                    figure(worst, 2, "%"),
                    series.share()
                );
                Row::new(1, &what, figure, BOUND, holds)
            }
            Err(problem) => Row::failed(1, &what, BOUND, problem),
        });
        (count, taken)
    };
    [take(100).await, take(200).await, take(1000).await]
}

/// 2: a hundred instructions more take a hundred latencies more.
pub(super) async fn slopes(laboratory: &mut Laboratory<'_>, adds: &Chains, rows: &mut Vec<Row>) {
    const IMUL_BOUND: &str = "3.00 +-0.03 cycles";
    let [(_, hundred), (_, two_hundred), _] = adds;
    rows.push(slope("one add", hundred, two_hundred, 1.0, "1.00 +-0.01 cycles"));
    let name = laboratory.service.machine.microarchitecture;
    // AMD before Zen 2 and small cores multiply 64 bits in four cycles or more.
    let known = name.is_some_and(|name| TWO_LOADS.contains(&name) || LATE_INTEL.contains(&name));
    if !known {
        let reason = "how long a 64-bit multiplication takes on this core is not known here";
        rows.push(Row::skipped(2, "one imul", IMUL_BOUND, reason));
        return;
    }
    let runs = laboratory.runs;
    let hundred = laboratory.series("100 imuls", CHAIN, &objects::imuls(100), runs).await;
    let two_hundred = laboratory.series("200 imuls", CHAIN, &objects::imuls(200), runs).await;
    rows.push(slope("one imul", &hundred, &two_hundred, 3.0, IMUL_BOUND));
}

/// Large cores of Intel with three loads or more a cycle.
const LATE_INTEL: [&str; 8] = [
    "alderlake",
    "raptorlake",
    "meteorlake",
    "lunarlake",
    "arrowlake",
    "sapphirerapids",
    "emeraldrapids",
    "graniterapids",
];

fn slope(what: &str, hundred: &Taken, two_hundred: &Taken, latency: f64, bound: &str) -> Row {
    match (hundred, two_hundred) {
        (Ok(hundred), Ok(two_hundred)) => {
            let slope = (two_hundred.median() - hundred.median()) / 100.0;
            let holds = (slope - latency).abs() <= 0.01 * latency;
            Row::new(2, what, figure(slope, 4, "cycles"), bound, holds)
        }
        (Err(problem), _) | (_, Err(problem)) => Row::failed(2, what, bound, problem),
    }
}

/// The dot product that items 3 and 8 judge.
pub(super) async fn dot_product(laboratory: &mut Laboratory<'_>) -> Taken {
    let runs = laboratory.runs;
    laboratory.series("a dot product", SDOT, &objects::sdot(), runs).await
}

/// 3: the same function gets the same answer.
pub(super) fn repeatability(adds: &Chains, sdot: &Taken, rows: &mut Vec<Row>) {
    let [.., (_, thousand)] = adds;
    for (what, taken, most) in
        [("1000 adds again and again", thousand, 0.3), ("sdot again and again", sdot, 1.0)]
    {
        let bound = format!("cv {most} %");
        rows.push(match taken {
            Ok(series) if series.accepted.len() < 2 => {
                Row::skipped(3, what, &bound, format!("a spread takes two answers: {}", series.share()))
            }
            Ok(series) => {
                let variation = statistics::variation_percent(&series.cycles());
                let figure = format!("cv {variation:.3} %, {}", series.share());
                Row::new(3, what, figure, &bound, variation <= most && series.is_steady())
            }
            Err(problem) => refused(3, what, &bound, problem),
        });
    }
}

/// 4: a function of nothing takes what a call and a return take, always the same.
pub(super) async fn nothing(laboratory: &mut Laboratory<'_>, rows: &mut Vec<Row>) {
    const WHATS: [&str; 2] = ["nothing, minus an empty call", "nothing, call and return"];
    const BOUNDS: [&str; 2] = ["0 +-0.1 cycles", "steady to 0.2 cycles"];
    let runs = laboratory.runs;
    match laboratory.series("an empty function", CHAIN, &objects::empty(), runs).await {
        Ok(series) => {
            let median = series.median();
            let differences: Vec<f64> =
                series.accepted.iter().map(|answer| answer.minus_empty_call).collect();
            let difference = Summary::median_of(&differences).unwrap_or(f64::NAN);
            let reach = statistics::reach(&series.cycles(), median);
            let share = series.share();
            rows.push(Row::new(
                4,
                WHATS[0],
                format!("{}, {share}", figure(difference, 3, "cycles")),
                BOUNDS[0],
                difference.abs() <= 0.1 && series.is_steady(),
            ));
            let spread = format!("{}, +-{}", figure(median, 2, "cycles"), figure(reach, 2, "cycles"));
            rows.push(Row::new(4, WHATS[1], spread, BOUNDS[1], reach <= 0.2));
        }
        Err(problem) => {
            rows.extend([0, 1].map(|index| Row::failed(4, WHATS[index], BOUNDS[index], &problem)));
        }
    }
}

/// 5: chains of 64 to 1024 additions lie on a line.
pub(super) async fn linearity(laboratory: &mut Laboratory<'_>, rows: &mut Vec<Row>) {
    const WHAT: &str = "chains of 64, 96 .. 1024 adds";
    const BOUND: &str = "rising, within 1 cycle of a line";
    let mut chains: Vec<_> =
        (64..=1024).step_by(32).map(|length| (length, objects::adds(length), Vec::new())).collect();
    // Turn by turn, so that what disturbs the machine for a while does not decide on one length alone.
    for turn in 0..laboratory.runs.min(5) {
        if turn > 0 && laboratory.is_late() {
            break;
        }
        for (length, object, cycles) in &mut chains {
            match laboratory.series(&format!("{length} adds"), CHAIN, object, 1).await {
                Ok(series) => cycles.extend(series.cycles()),
                Err(problem) => return rows.push(Row::failed(5, WHAT, BOUND, &problem)),
            }
        }
    }
    let median = |(length, _, cycles): &(usize, _, Vec<f64>)| {
        Summary::median_of(cycles).map(|cycles| (*length as f64, cycles))
    };
    let points: Vec<_> = chains.iter().filter_map(median).collect();
    let rises = points.windows(2).all(|pair| pair[0].1 < pair[1].1);
    let residual = statistics::worst_residual(&points);
    let order = if rises { "rising" } else { "not rising" };
    let all = chains.len();
    let within = figure(residual, 2, "cycles");
    let line = format!("{order}, within {within}, {} of {all} accepted", points.len());
    rows.push(Row::new(5, WHAT, line, BOUND, rises && residual <= 1.0 && 5 * points.len() >= 4 * all));
}

/// 6: instructions are counted one by one.
pub(super) async fn instructions(laboratory: &mut Laboratory<'_>, rows: &mut Vec<Row>) {
    let counted = "kernel=playground&_effort=quick&_counts=yes";
    let sdot = format!("kernel=sdot&n={ELEMENTS}&_effort=quick&_counts=yes");
    let loops = [1, 1000, 1_000_000].map(|turns: u32| {
        let effort = "kernel=playground&_effort=standard&_counts=yes";
        (format!("loop of {turns} turns"), effort, objects::loop_of(turns), 3 * u64::from(turns) + 2)
    });
    let others = [
        ("sdot, counted".to_owned(), sdot.as_str(), objects::sdot(), objects::sdot_instructions(ELEMENTS)),
        ("rep movsb of 32 bytes".to_owned(), counted, objects::copy(), 5),
    ];
    for (what, query, object, expected) in loops.into_iter().chain(others) {
        laboratory.progress.say(&format!("counting {what}"));
        let bound = format!("{expected} instructions");
        rows.push(match laboratory.once(query, &object).await {
            Ok(answer) => {
                let figure =
                    answer.instructions.map_or("not counted".into(), |count| format!("{count} instructions"));
                Row::new(6, &what, figure, &bound, answer.instructions == Some(expected))
            }
            Err(problem) => refused(6, &what, &bound, &problem),
        });
    }
}

/// 7: a busy thread on the same core is noticed and does no harm.
pub(super) async fn hostile_timing(laboratory: &mut Laboratory<'_>, rows: &mut Vec<Row>) {
    const WHAT: &str = "1000 adds beside a busy thread";
    const BOUND: &str = "accepted within 1 %, some rounds dropped";
    let Some(&core) = laboratory.service.facts().cores.first() else {
        return rows.push(Row::skipped(7, WHAT, BOUND, "no core to measure on"));
    };
    let hog = match Hog::start(core) {
        Ok(hog) => hog,
        Err(error) => return rows.push(Row::skipped(7, WHAT, BOUND, error.to_string())),
    };
    let runs = laboratory.runs.div_ceil(2);
    let taken = laboratory.series(WHAT, CHAIN, &objects::adds(1000), runs).await;
    drop(hog);
    rows.push(match taken {
        Ok(series) => {
            let worst = statistics::reach(&series.cycles(), 1000.0) / 10.0;
            let (worst_shown, share) = (figure(worst, 2, "%"), series.share());
            let shown = format!("worst {worst_shown}, {} rounds dropped, {share}", series.dropped);
            // Answers that were not accepted do no harm: they say so.
            let harmless = series.accepted.is_empty() || worst <= 1.0;
            Row::new(7, WHAT, shown, BOUND, harmless && series.dropped > 0)
        }
        Err(problem) => Row::failed(7, WHAT, BOUND, &problem),
    });
}

/// 8: code bound by loads takes as many cycles as its loads. Two lengths are compared, because not every core hides all
/// of a call behind its neighbours.
pub(super) async fn throughput(laboratory: &mut Laboratory<'_>, sdot: &Taken, rows: &mut Vec<Row>) {
    const WHAT: &str = "sdot back to back, 1024 elements more";
    const BOUND: &str = "128 cycles +-2 %";
    if !laboratory.service.machine.microarchitecture.is_some_and(|name| TWO_LOADS.contains(&name)) {
        let reason = "this core is not known to make two 256-bit loads a cycle and no more";
        return rows.push(Row::skipped(8, WHAT, BOUND, reason));
    }
    let runs = laboratory.runs;
    let long = laboratory.series("a longer dot product", LONG_SDOT, &objects::sdot(), runs).await;
    rows.push(match (sdot, &long) {
        (Ok(short), Ok(long)) => {
            let more = long.throughput() - short.throughput();
            let shares = format!("{} and {}", short.share(), long.share());
            let shown = format!("{}, {shares}", figure(more, 2, "cycles"));
            Row::new(8, WHAT, shown, BOUND, (more - 128.0).abs() <= 0.02 * 128.0)
        }
        (Err(problem), _) | (_, Err(problem)) => refused(8, WHAT, BOUND, problem),
    });
}

/// A job that this CPU may lack the instructions for.
fn refused(item: u8, what: &str, bound: &str, problem: &Problem) -> Row {
    match problem.kind() {
        Kind::UnsupportedInstruction => Row::skipped(item, what, bound, problem.to_string()),
        _ => Row::failed(item, what, bound, problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_accepted_answer_there_is_no_figure() {
        let none = || Ok(Series { asked: 2, ..Series::default() });
        let mut rows = vec![slope("one add", &none(), &none(), 1.0, "1.00 +-0.01 cycles")];
        repeatability(&[(100, none()), (200, none()), (1000, none())], &none(), &mut rows);
        assert_eq!(rows[0].figure, "no figure");
        assert!(rows.iter().all(|row| !format!("{row:?}").contains("NaN")), "{rows:?}");
    }
}
