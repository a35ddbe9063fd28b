//! What a problem says: a sentence for people that tells what to do, and members for programs.

use serde_json::{Map, Value, json};

use super::Problem;
use crate::events::raw;
use crate::fault::{SystemCallReport, signal_name};
use crate::options;
use crate::tokens::Stranger;

/// Longest piece of a request that a problem repeats, in characters.
const MAX_ECHO: usize = 100;

impl Problem {
    /// The sentence of the `detail` member.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::MalformedQuery { reason } => format!("{reason}. Send name=value pairs joined by `&`."),
            Self::KernelMissing => "Add kernel=NAME to the query; GET /kernels lists the names.".into(),
            Self::BadParameter { reason, .. } | Self::UnknownKernel { reason, .. } => sentence(reason),
            Self::UnknownOption { name } => format!(
                "{} is no option of this service; names that begin with `_` are {}.",
                echo(name),
                options::names()
            ),
            Self::BadOption { name, expected, got } => {
                format!("{name} takes {expected}, but `{}` came.", echo(got))
            }
            Self::UnknownEvent { event, table, near } => unknown_event(event, table, near),
            Self::BadEvent { event, reason } => {
                format!("`{}`: {reason}. A raw event is written {}.", echo(event), raw::EXPECTED)
            }
            Self::NoCounters { .. } => "This host has no hardware counters, as is usual in virtual machines; leave _events out, or send the \
                 job to a machine that has them (hardware_events of GET /machine names a pmu)."
                .into(),
            Self::BadBody => "The body broke off or is not framed as HTTP/1.1 asks; send it again.".into(),
            Self::NotFound { path } => {
                format!("{} is no path of this service; GET /openapi.json describes them all.", echo(path))
            }
            Self::Unauthorized { stranger: Stranger::NoToken } => {
                "Jobs are taken from those with a token; send it as Authorization: Bearer TOKEN.".into()
            }
            Self::Unauthorized { stranger: Stranger::UnknownToken } => {
                "The Authorization header holds no token that is known here; ask whoever runs this service for one."
                    .into()
            }
            Self::MethodNotAllowed { allow } => format!("This path takes {allow}."),
            Self::WrongContentType { got } => wrong_content_type(got.as_deref()),
            Self::BodyTooSlow { limit } => {
                format!("The body must arrive within {} s; send it in one piece.", limit.as_secs())
            }
            Self::BodyTooLarge { limit } => {
                format!("An object may have {limit} bytes at most; strip debug sections or split it.")
            }
            Self::UriTooLong { length, limit } => {
                format!("The request target has {length} bytes, {limit} are taken; send fewer parameters.")
            }
            Self::BadObject { reason } | Self::MissingSymbol { reason, .. } | Self::BadCall { reason } => {
                sentence(reason)
            }
            Self::UnsupportedInstruction { needs, fault } => format!(
                "{} needs {}, which this CPU does not offer; build the object for this machine (GET /machine).",
                fault.instruction_words(),
                needs.join(" and ")
            ),
            Self::MissingFeatures { needs, offset } => format!(
                "The instruction at offset {offset} of the object's text needs {}, which this CPU does not offer; build \
                 the object for this machine (GET /machine).",
                needs.join(" and ")
            ),
            Self::Fault(fault) => fault.sentence(),
            Self::SystemCallRefused(Some(call)) => call.sentence(),
            Self::SystemCallRefused(None) => {
                "The function made a system call through a 32-bit gate; a kernel may make none at all.".into()
            }
            Self::CpuTimeLimit => {
                "The function used up the CPU time a job may take; measure a smaller problem.".into()
            }
            Self::KernelExited { code } => {
                format!("The process ended with code {code} and gave no answer; the function must return.")
            }
            Self::KernelKilled { signal } => {
                format!("{} ended the process before it could answer.", signal_name(*signal))
            }
            Self::TimeLimit { limit } => format!(
                "No answer came within {} s; measure a smaller problem or ask for quick effort.",
                limit.as_secs_f64()
            ),
            Self::ProtocolViolation { reason } => {
                format!("The object interfered with its worker, whose answer was not taken: {reason}.")
            }
            Self::RateLimited { .. } => {
                "This client has posted as many jobs as it may for now; try again after the time given."
                    .into()
            }
            Self::QueueFull { capacity, .. } => {
                format!("All {capacity} places in the queue are taken; try again after the time given.")
            }
            Self::Draining => "The service is stopping and takes no more jobs; try another machine.".into(),
            Self::NoWorker { reason } => format!("No worker could take the job: {reason}. Try again."),
            Self::NotReady { reasons } => sentence(&reasons.join("; ")),
            Self::WorkerFailed { reason } => {
                format!("{} This is no fault of the object; try again.", sentence(reason))
            }
            Self::WorkerKilled => {
                "The worker got SIGKILL from outside, most likely because the host ran out of memory; \
                 try again or measure a smaller problem."
                    .into()
            }
            Self::Internal => "The service failed on its own account; its log says more.".into(),
        }
    }

    /// Adds the members that are particular to this problem.
    pub(super) fn add_members(&self, body: &mut Map<String, Value>) {
        let members = match self {
            Self::BadParameter { parameter, expected, got, .. } => {
                json!({ "parameter": parameter, "expected": expected, "got": got })
            }
            Self::UnknownOption { name } => json!({ "option": echo(name) }),
            Self::BadOption { name, expected, got } => {
                json!({ "option": name, "expected": expected, "got": echo(got) })
            }
            Self::UnknownEvent { event, table, near } => {
                json!({ "event": echo(event), "table": table, "near": near })
            }
            Self::BadEvent { event, .. } => json!({ "event": echo(event), "expected": raw::EXPECTED }),
            Self::NoCounters { events } => json!({ "events": events }),
            Self::UnknownKernel { name, near, .. } => json!({ "kernel": echo(name), "near": near }),
            Self::MethodNotAllowed { allow } => json!({ "allow": allow.split(", ").collect::<Vec<_>>() }),
            Self::BodyTooLarge { limit } => json!({ "limit_bytes": limit }),
            Self::UriTooLong { length, limit } => json!({ "length": length, "limit_bytes": limit }),
            Self::BodyTooSlow { limit } | Self::TimeLimit { limit } => {
                json!({ "limit_seconds": limit.as_secs_f64() })
            }
            Self::WrongContentType { got } => {
                json!({ "expected": "application/octet-stream", "got": got.as_deref().map(echo) })
            }
            Self::MissingSymbol { candidates, .. } => json!({ "candidates": candidates }),
            Self::UnsupportedInstruction { needs, fault } => {
                let mut members = fault.members();
                members["needs"] = json!(needs);
                members
            }
            Self::MissingFeatures { needs, offset } => json!({ "needs": needs, "text_offset": offset }),
            Self::Fault(fault) => fault.members(),
            Self::SystemCallRefused(call) => SystemCallReport::members(call.as_deref()),
            Self::KernelExited { code } => json!({ "exit_code": code }),
            Self::KernelKilled { signal } => {
                json!({ "signal": signal_name(*signal), "signal_number": signal })
            }
            Self::QueueFull { capacity, .. } => json!({ "queue_capacity": capacity }),
            Self::NotReady { reasons } => json!({ "reasons": reasons }),
            Self::MalformedQuery { .. }
            | Self::KernelMissing
            | Self::BadBody
            | Self::NotFound { .. }
            | Self::Unauthorized { .. }
            | Self::BadObject { .. }
            | Self::BadCall { .. }
            | Self::CpuTimeLimit
            | Self::ProtocolViolation { .. }
            | Self::RateLimited { .. }
            | Self::Draining
            | Self::NoWorker { .. }
            | Self::WorkerFailed { .. }
            | Self::WorkerKilled
            | Self::Internal => Value::Null,
        };
        if let Value::Object(members) = members {
            body.extend(members);
        }
    }
}

fn wrong_content_type(got: Option<&str>) -> String {
    let got = got.map_or_else(|| "none".to_owned(), |got| format!("`{}`", echo(got)));
    format!("Send the object with Content-Type: application/octet-stream; {got} came.")
}

fn unknown_event(event: &str, table: &str, near: &[String]) -> String {
    let offer = match near {
        [] => String::new(),
        near => format!("did you mean {}? ", near.join(" or ")),
    };
    format!(
        "The table `{table}`, which describes this CPU, has no event `{}`; {offer}GET /machine lists them all, and a \
         raw event can be given as cpu/event=N,umask=N/.",
        echo(event)
    )
}

/// Part of a request, cut and with control characters replaced.
fn echo(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut cut: String = text.chars().take(MAX_ECHO).map(clean).collect();
    if text.chars().nth(MAX_ECHO).is_some() {
        cut.push('…');
    }
    cut
}

/// An error's text, which by habit has no capital and no full stop, as a sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), chars.as_str())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bad_parameter_is_named_with_what_it_takes_and_what_came() {
        let body = Problem::BadParameter {
            reason: "parameter `n` must be a whole number from 1 to 10, got `11`".into(),
            parameter: Some("n".into()),
            expected: Some("a whole number from 1 to 10".into()),
            got: Some("11".into()),
        }
        .body();
        assert_eq!(body["type"], "/problems/bad-parameter");
        assert_eq!(body["status"], 400);
        assert_eq!(body["detail"], "Parameter `n` must be a whole number from 1 to 10, got `11`.");
        assert_eq!(body["parameter"], "n");
        assert_eq!(body["expected"], "a whole number from 1 to 10");
        assert_eq!(body["got"], "11");
    }

    #[test]
    fn a_full_queue_says_when_to_come_back_in_whole_seconds() {
        let problem = Problem::QueueFull { capacity: 4, retry_after: Duration::from_millis(1200) };
        assert_eq!(problem.retry_after(), Some(2));
        assert_eq!(problem.body()["retry_after"], 2);
        let soon = Problem::QueueFull { capacity: 4, retry_after: Duration::from_micros(10) };
        assert_eq!(soon.retry_after(), Some(1));
    }

    #[test]
    fn parts_of_requests_are_cut_and_cleaned() {
        let problem = Problem::UnknownOption { name: format!("_\n{}", "x".repeat(1000)) };
        let detail = problem.detail();
        let kept = detail.matches('x').count();
        assert!((1..150).contains(&kept) && !detail.contains('\n'), "{detail}");
    }

    #[test]
    fn an_error_text_becomes_a_sentence() {
        assert_eq!(sentence("the object has no code"), "The object has no code.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence(""), "");
    }
}
