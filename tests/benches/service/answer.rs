//! Which answers are right, and what a right one tells besides.
#![forbid(unsafe_code)]

use serde_json::Value;

use crate::client::Answer;

/// What answers are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// That of `GET /livez`.
    Alive,
    /// A measurement as text.
    Text,
    /// A measurement as JSON.
    Json,
}

/// What a measurement in JSON tells of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// Whether the service has no doubts about it.
    pub(crate) ok: bool,
    /// Where its time went.
    pub(crate) phases: Phases,
}

/// Where the time of a job went, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phases {
    /// Waiting for a worker.
    pub(crate) queue: f64,
    /// Parsing and linking the object.
    pub(crate) load: f64,
    /// Filling the buffers.
    pub(crate) fill: f64,
    /// Calling the function.
    pub(crate) measure: f64,
    /// With the worker altogether: the three before and the way there and back.
    pub(crate) run: f64,
}

/// Checks an answer.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(expected: Expected, answer: &Answer<'_>) -> Result<Option<Facts>, String> {
    let wrong = || format!("status {}: {:.200}", answer.status, String::from_utf8_lossy(answer.body));
    if answer.status != 200 {
        return Err(wrong());
    }
    match expected {
        Expected::Alive => (answer.body == br#"{"status":"alive"}"#).then_some(None).ok_or_else(wrong),
        Expected::Text => has_cycles(answer.body).then_some(None).ok_or_else(wrong),
        Expected::Json => {
            serde_json::from_slice(answer.body).ok().as_ref().and_then(facts).map(Some).ok_or_else(wrong)
        }
    }
}

/// Whether the first line is `Cycles: [0-9]+`.
fn has_cycles(body: &[u8]) -> bool {
    let line = body.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.strip_prefix(b"Cycles: ")
        .is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

fn facts(body: &Value) -> Option<Facts> {
    let cycles = body["results"].as_array()?.iter().find(|row| row["name"] == "Cycles")?;
    cycles["value"].as_f64().filter(|value| *value > 0.0)?;
    let timing = |name: &str| body["timing"][name].as_f64();
    Some(Facts {
        ok: body["quality"] == "ok",
        phases: Phases {
            queue: timing("queue_us")?,
            load: timing("load_us")?,
            fill: timing("fill_us")?,
            measure: timing("measure_us")?,
            run: timing("run_us")?,
        },
    })
}
