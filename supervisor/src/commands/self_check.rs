//! `webrunner self-check`: asks a running service whether it is ready and whether its answers are right.
//!
//! It uses the two paths every front proxy knows, `/{machine}/monitor` and `/{machine}/run`, so that a check may go the way
//! clients go. For automation: 0 is well, 1 is not, and one line says what failed.

use std::io;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Failure, print};
use crate::cli::SelfCheckArgs;
use crate::http_client::{Answer, Request, Url};
use crate::self_check::{OBJECT, Probe, QUERY};
use crate::settings::Settings;
use crate::token_file::Token;

/// Machine named where the URL names none.
const MACHINE: &str = "/self-check";

/// Longest piece of a problem that is repeated, in characters.
const MAX_ECHO: usize = 300;

/// Checks the service.
pub(super) fn self_check(args: &SelfCheckArgs, settings: &Settings) -> Result<(), Failure> {
    let mut url = url(args, settings)?;
    if url.path.is_empty() {
        url.path = MACHINE.to_owned();
    }
    if args.timeout == 0 {
        return Err(Failure::Usage("--timeout takes 1 or more seconds, got 0".into()));
    }
    let token = settings.values.token_file.as_deref().map(Token::load).transpose();
    let token = token.map_err(|error| Failure::of(&error))?;
    let begun = Instant::now();
    check(&url, token.as_ref().map(Token::as_str), begun + Duration::from_secs(args.timeout.into()))
        .map_err(|reason| Failure::Other(format!("{url}: {reason}")))?;
    print(format!("{url}: ready, and its answer is right ({} ms)\n", begun.elapsed().as_millis()))
}

/// The service named, else the one that the settings describe.
fn url(args: &SelfCheckArgs, settings: &Settings) -> Result<Url, Failure> {
    let Some(text) = &args.url else {
        let chosen =
            || Failure::Usage("the settings leave the port to the system; name the service's URL".into());
        return Url::of(&settings.values.listen).ok_or_else(chosen);
    };
    Url::parse(text).map_err(|error| Failure::Usage(format!("{error}, got `{text}`")))
}

fn check(url: &Url, token: Option<&str>, deadline: Instant) -> Result<(), String> {
    let probe = Probe::new().map_err(|problem| problem.to_string())?;
    let send = |method: &str, target: &str, body: &[u8]| {
        let left = deadline.saturating_duration_since(Instant::now());
        url.send(&Request { method, target, token, body }, left).map_err(|error| trouble(&error))
    };
    let monitor = send("GET", "/monitor", &[])?;
    if monitor.status != 200 {
        return Err(format!("not ready: {}", described(&monitor)));
    }
    let answer = send("POST", &format!("/run?{QUERY}"), OBJECT)?;
    if answer.status != 200 {
        return Err(format!("the built-in function was not measured: {}", described(&answer)));
    }
    let body: Value = serde_json::from_slice(&answer.body).map_err(|_| "its answer is no JSON".to_owned())?;
    // Every float is a double with the same value, so nothing is lost either way.
    let returned = body["returned"].as_f64().ok_or("its answer does not say what the function returned")?;
    probe.judge_value(returned as f32).map_err(|wrong| wrong.to_string())
}

fn trouble(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".into(),
        _ => format!("no answer: {error}"),
    }
}

/// A status, with a problem's own words if it has some. They come from elsewhere: cut, and on one line.
fn described(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = body["detail"].as_str().unwrap_or_default();
    let clean: String = detail.chars().take(MAX_ECHO).filter(|c| !c.is_control()).collect();
    if clean.is_empty() {
        format!("status {}", answer.status)
    } else {
        format!("status {}: {clean}", answer.status)
    }
}
