//! Cold calls: each is made alone, after every buffer was put out of the caches.
//!
//! The time stamp counter may step by tens of ticks, so one call, or the median of many, tells little. The mean does,
//! once the tenth of the calls at either end is left out: those met something else. The short chain is called once
//! after each call, in the same way, so what a batch of one costs is taken out with it.
#![forbid(unsafe_code)]

use webrunner_protocol::reply::ColdCalls;

use super::builtin::SHORT_CHAIN;
use super::inputs::Inputs;
use super::trampoline::Target;
use super::{Bench, cpu};

/// Makes as many calls as the schedule wants or has time for, at least one; `ticks_per_cycle` is the length of a cycle.
pub(super) fn sample<C, I: Inputs>(bench: &mut Bench<'_, C, I>, ticks_per_cycle: f64) -> ColdCalls {
    let (schedule, host) = (bench.schedule, bench.host);
    let wanted = schedule.cold_calls.max(1);
    let deadline = cpu::ticks().saturating_add(host.ticks(schedule.cold_budget_us) as u64);
    let [mut functions, mut chains] = [(); 2].map(|()| Vec::with_capacity(wanted));
    while functions.len() < wanted {
        bench.restore();
        bench.inputs.flush(host);
        functions.push(bench.caller.batch(Target::Function(0), 1));
        chains.push(bench.caller.batch(Target::ShortChain, 1));
        if cpu::ticks() >= deadline {
            break;
        }
    }
    let difference = trimmed_mean(&mut functions) - trimmed_mean(&mut chains);
    ColdCalls { cycles: difference / ticks_per_cycle + SHORT_CHAIN as f64, calls: functions.len() as u32 }
}

/// The mean of all but the tenth at either end; 0 of nothing.
fn trimmed_mean(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let cut = values.len() / 10;
    let kept = &values[cut..values.len() - cut];
    kept.iter().sum::<f64>() / kept.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_leaves_out_the_tenth_at_either_end() {
        let mut values: Vec<f64> = (0..8).map(|step| 100.0 + f64::from(step)).collect();
        values.extend([1.0, 1e9]);
        assert_eq!(trimmed_mean(&mut values), 103.5);
        assert_eq!(trimmed_mean(&mut [7.0]), 7.0);
        assert_eq!(trimmed_mean(&mut []), 0.0);
    }
}
