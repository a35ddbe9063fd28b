//! A query string, from what a client wrote to the job a worker would get.

use std::sync::LazyLock;

use webrunner::problem::Problem;
use webrunner::request::RunRequest;
use webrunner_kernels::Catalogue;
use webrunner_protocol::codec;
use webrunner_protocol::limits::{MAX_BUFFER_BYTES, MAX_JOB_BYTES};
use webrunner_protocol::options::Guard;

use crate::{frame, memory};

/// Longest request target the service reads.
const MAX_TARGET_BYTES: usize = 8 << 10;

/// Most that reading a query and making its job may allocate.
const MAX_QUERY_BYTES: u64 = 1 << 20;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::builtin().expect("built in"));

/// Reads a query and makes its job.
///
/// # Errors
/// The problem a client would be told.
///
/// # Panics
/// If something that must hold does not.
pub fn check(query: &str) -> Result<(), Problem> {
    if query.len() > MAX_TARGET_BYTES {
        return Ok(());
    }
    let catalogue = &*CATALOGUE;
    let taken = memory::within(MAX_QUERY_BYTES, "the query parser", || take(query, catalogue));
    taken.inspect_err(frame::check_problem)
}

fn take(query: &str, catalogue: &Catalogue) -> Result<(), Problem> {
    let request = RunRequest::from_query(query)?;
    for (index, (name, _)) in request.parameters.iter().enumerate() {
        assert!(!name.is_empty() && !name.starts_with('_') && name != "kernel", "parameter {name:?}");
        assert!(request.parameters[..index].iter().all(|(other, _)| other != name), "{name:?} twice");
    }
    assert!(request.parameters.len() <= 64);
    assert_eq!(RunRequest::from_query(&written(&request)), Ok(request.clone()), "written and read again");
    let call = request.resolve(catalogue)?;
    assert_eq!(call.plan.check(), Ok(()));
    assert!(call.plan.buffer_bytes() <= MAX_BUFFER_BYTES);
    assert!(codec::encode(&call.work(), MAX_JOB_BYTES).is_ok(), "the job has no room in its frame");
    Ok(())
}

/// The request as a query with every byte escaped.
fn written(request: &RunRequest<'_>) -> String {
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let mut query = format!("kernel={}&_effort={}", escaped(&request.kernel), request.options.effort.name());
    let word = |on: bool| if on { "yes" } else { "no" };
    let format = request.options.format.map(|format| format!("{format:?}").to_lowercase());
    let measuring = &request.options.measuring;
    let options = [
        ("_symbol", request.options.symbol.as_deref()),
        ("_counts", request.options.counts.map(word)),
        ("_check", request.options.check.map(word)),
        ("_events", request.options.events.as_deref()),
        ("_placements", Some(if measuring.placements == 1 { "1" } else { "4" })),
        ("_cold", Some(word(measuring.cold))),
        ("_restore", Some(word(measuring.restore))),
        ("_guard", Some(if measuring.guard == Guard::End { "end" } else { "none" })),
        ("_ftz", Some(word(measuring.flush_denormals))),
        ("_format", format.as_deref()),
    ];
    let options = options.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let parameters = request.parameters.iter().map(|(name, value)| (&**name, &**value));
    for (name, value) in options.chain(parameters) {
        query += &format!("&{}={}", escaped(name), escaped(value));
    }
    query
}
