//! Shows the supervisor what the function computes: the state the measured calls left, then the calls it is challenged to.
//!
//! The reply is sent in between, so the figures are settled before anything in this process can know what the checked calls
//! begin with. Runs in the locked worker, with the calls it has anyway: `write` of outputs and `read` of the challenge,
//! both on the job socket. Nothing here is judged; a function that forges what is sent here has to compute it, and
//! what that leaves open is told in `docs/security.md`.

use webrunner_protocol::check::{
    CallRecord, Challenge, Checking, Seeds, Stage, outputs_bytes, prepare, shown,
};
use webrunner_protocol::reply::{Measurement, Outputs};

use crate::fault::{self, Phase};
use crate::kernel_job::{Meter, Rest, shortest_call_ticks};
use crate::measure;
use crate::worker;

/// A function whose fastest call took longer is not called again: checked calls have to fit the CPU time of a job. One
/// that is slow only when it is not measured is to be found out, not spared.
const LONGEST_CALL_US: f64 = 1e5;

/// Sends what the measured calls left, if the job asks for it. To be called before anything else changes the buffers.
pub fn show_measured(rest: &mut Rest<'_>, measurement: &Measurement, meter: &Meter) -> Outputs {
    if rest.work.checking.is_none() {
        return Outputs::NotAsked;
    }
    if shortest_call_ticks(&measurement.cycles) > LONGEST_CALL_US * meter.ticks_per_us {
        return Outputs::TooLong;
    }
    let record = CallRecord { ticks: 0, returned: rest.last_returned };
    send(rest, record, Stage::Measured, Challenge { seed: 0 });
    Outputs::Shown
}

/// Waits for the challenge, and makes and shows the calls it asks for. To be called once the reply is sent.
pub fn answer_challenge(rest: &mut Rest<'_>, meter: &mut Meter) {
    let (Some(checking), Some(challenge)) = (rest.work.checking, worker::receive_challenge()) else { return };
    let seeds = Seeds { measured: rest.work.fill_seed, challenge: challenge.seed };
    for stage in Stage::CHALLENGED {
        let record = call(rest, meter, stage, checking, seeds);
        send(rest, record, stage, challenge);
    }
}

fn call(
    rest: &mut Rest<'_>,
    meter: &mut Meter,
    stage: Stage,
    checking: Checking,
    seeds: Seeds,
) -> CallRecord {
    for (index, (buffer, bytes)) in rest.elements().enumerate() {
        prepare(stage, checking, buffer, index, seeds, bytes);
    }
    fault::note(|facts| facts.phase = Phase::Checking);
    // SAFETY: as for the measured calls, which used the same stack and buffers.
    let (ticks, returned) = unsafe { measure::call_once(&mut meter.session, &rest.call, &meter.host) };
    CallRecord { ticks: ticks as u64, returned }
}

fn send(rest: &mut Rest<'_>, record: CallRecord, stage: Stage, challenge: Challenge) {
    let plan = &rest.work.call;
    let bytes = outputs_bytes(plan, stage);
    let parts = rest.elements().enumerate().flat_map(|(index, (buffer, bytes))| {
        let (bytes, width) = (&*bytes, buffer.element.bytes() as usize);
        let parts = shown(plan, stage, buffer, index, challenge.seed);
        parts.map(move |part| {
            bytes.get(part.start as usize * width..part.end as usize * width).unwrap_or_default()
        })
    });
    worker::send_outputs(record, bytes as usize, parts);
}
