//! From how a job ended to the problem its client is told of.
//!
//! A worker's claims (a refusal, a fault) are passed on as claims about the object; they cannot make the service blame
//! itself, nor the other way round, except by ways that are the worker's own ([`End::Failed`]).

use webrunner_protocol::fault::{Fault, FaultCause};
use webrunner_protocol::limits::MAX_FEATURES;
use webrunner_protocol::refusal::{EntryRefusal, Refusal};
use webrunner_protocol::reply::Measurement;

use super::Problem;
use crate::events::select::SelectError;
use crate::fault::{CallNames, FaultReport, SystemCallReport};
use crate::machine::isa::Isa;
use crate::pool::{End, RunError};

const SIGILL: i32 = 4;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        match error {
            RunError::QueueFull { capacity, retry_after } => Self::QueueFull { capacity, retry_after },
            RunError::Draining => Self::Draining,
            RunError::NoWorker { reason } => Self::NoWorker { reason },
        }
    }
}

impl From<SelectError> for Problem {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Unknown { event, table, near } => Self::UnknownEvent { event, table, near },
            SelectError::Raw { event, reason } => Self::BadEvent { event, reason },
            SelectError::Count { count } => Self::BadOption {
                name: "_events",
                expected: "1 to 64 events, joined by commas",
                got: format!("{count} events"),
            },
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.to_string();
        match refusal {
            Refusal::Object(_) => Self::BadObject { reason },
            Refusal::Plan(_) => Self::BadCall { reason },
            Refusal::MissingFeatures { features, offset } => Self::MissingFeatures {
                needs: features.iter().take(MAX_FEATURES).map(|name| name.as_str().to_owned()).collect(),
                offset,
            },
            Refusal::Entry(entry) => {
                let candidates: Vec<String> = match entry {
                    EntryRefusal::Missing { candidates, .. } | EntryRefusal::Ambiguous { candidates, .. } => {
                        candidates.iter().map(|name| name.as_str().to_owned()).collect()
                    }
                    EntryRefusal::NotAFunction { .. }
                    | EntryRefusal::Duplicate { .. }
                    | EntryRefusal::NoCode => Vec::new(),
                };
                let reason = match candidates.as_slice() {
                    [] => reason,
                    some => format!("{reason}; it has {}", some.join(", ")),
                };
                Self::MissingSymbol { reason, candidates }
            }
        }
    }
}

impl Problem {
    /// The measurement a job ended with, or the problem it ended in.
    ///
    /// # Errors
    /// Whatever kept the job from a measurement.
    pub fn from_end(end: End, isa: &Isa, names: &CallNames) -> Result<Box<Measurement>, Self> {
        Err(match end {
            End::Measured(measurement) => return Ok(measurement),
            End::Refused(refusal) => refusal.into(),
            End::Faulted(fault) => from_fault(&fault, isa, names),
            End::Exited { code } => Self::KernelExited { code },
            End::Killed { signal: SIGKILL } => Self::WorkerKilled,
            End::Killed { signal: SIGXCPU } => Self::CpuTimeLimit,
            End::Killed { signal } => Self::KernelKilled { signal },
            End::ForeignSystemCall => Self::SystemCallRefused(None),
            End::TimeLimit { limit } => Self::TimeLimit { limit },
            End::Violation { reason } => Self::ProtocolViolation { reason },
            End::Failed(failure) => Self::WorkerFailed { reason: failure.to_string() },
        })
    }
}

fn from_fault(fault: &Fault, isa: &Isa, names: &CallNames) -> Problem {
    match fault.cause {
        FaultCause::CpuTime => Problem::CpuTimeLimit,
        FaultCause::SystemCall { number } => {
            Problem::SystemCallRefused(Some(Box::new(SystemCallReport::new(number, fault))))
        }
        FaultCause::Signal { signal, .. } => {
            let report = Box::new(FaultReport::new(fault, names));
            let needs = if signal == SIGILL {
                isa.lacking(fault.instruction.as_slice(), fault.mode)
            } else {
                Vec::new()
            };
            if needs.is_empty() {
                Problem::Fault(report)
            } else {
                Problem::UnsupportedInstruction { needs, fault: report }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use webrunner_protocol::fault::{CodeMode, CodePlace, DataPlace, InstructionBytes};
    use webrunner_protocol::refusal::{Name, ObjectRefusal};
    use webrunner_protocol::reply::WorkerFailure;

    use super::*;
    use crate::problem::Kind;

    fn kind_of(end: End) -> Kind {
        Problem::from_end(end, &Isa::of_flags(["sse2"]), &CallNames::default()).unwrap_err().kind()
    }

    fn signal(signal: i32, code: &[u8]) -> End {
        End::Faulted(Fault {
            cause: FaultCause::Signal { signal, code: 1, address: 0, place: DataPlace::Null },
            ip: 0x1000,
            ip_place: CodePlace::Object { function_offset: 3 },
            mode: CodeMode::Bits64,
            instruction: InstructionBytes::new(code),
        })
    }

    #[test]
    fn every_end_without_a_measurement_is_a_problem_of_its_own_kind() {
        assert_eq!(kind_of(End::Refused(ObjectRefusal::NotElf.into())), Kind::BadObject);
        assert_eq!(kind_of(End::Refused(EntryRefusal::NoCode.into())), Kind::MissingSymbol);
        assert_eq!(kind_of(signal(11, &[0x90])), Kind::Fault);
        assert_eq!(kind_of(End::Exited { code: 0 }), Kind::KernelExited);
        assert_eq!(kind_of(End::Killed { signal: 11 }), Kind::KernelKilled);
        assert_eq!(kind_of(End::Killed { signal: 24 }), Kind::CpuTimeLimit);
        assert_eq!(kind_of(End::Killed { signal: 9 }), Kind::WorkerKilled);
        assert_eq!(kind_of(End::ForeignSystemCall), Kind::SystemCallRefused);
        assert_eq!(kind_of(End::TimeLimit { limit: Duration::from_secs(1) }), Kind::TimeLimit);
        assert_eq!(kind_of(End::Violation { reason: "too long".into() }), Kind::ProtocolViolation);
        assert_eq!(kind_of(End::Failed(WorkerFailure::Internal)), Kind::WorkerFailed);
    }

    #[test]
    fn an_illegal_instruction_the_cpu_lacks_names_what_it_needs() {
        // vpaddd zmm0, zmm0, zmm0
        let end = signal(SIGILL, &[0x62, 0xf1, 0x7d, 0x48, 0xfe, 0xc0]);
        let problem =
            Problem::from_end(end, &Isa::of_flags(["sse2", "avx2"]), &CallNames::default()).unwrap_err();
        assert_eq!(problem.kind(), Kind::UnsupportedInstruction);
        assert_eq!(problem.body()["needs"], serde_json::json!(["avx512f"]));
    }

    #[test]
    fn code_that_was_not_run_for_want_of_an_instruction_set_is_told_what_it_needs() {
        let refusal = Refusal::MissingFeatures { features: vec![Name::new(b"avx512f")], offset: 64 };
        let problem = Problem::from(refusal);
        assert_eq!(problem.kind(), Kind::UnsupportedInstruction);
        let body = problem.body();
        assert_eq!((&body["needs"], &body["text_offset"]), (&serde_json::json!(["avx512f"]), &64.into()));
        assert!(body["detail"].as_str().unwrap().starts_with("The instruction at offset 64 of"));
    }

    #[test]
    fn an_illegal_instruction_that_no_cpu_has_is_a_fault() {
        assert_eq!(kind_of(signal(SIGILL, &[0x0f, 0x0b])), Kind::Fault);
    }

    #[test]
    fn a_missing_symbol_lists_what_there_is() {
        let refusal = EntryRefusal::Missing {
            wanted: Name::new(b"dot"),
            candidates: vec![Name::new(b"sdot"), Name::new(b"ddot")],
        };
        let body = Problem::from(Refusal::from(refusal)).body();
        assert_eq!(body["detail"], "The object has no function named dot; it has sdot, ddot.");
        assert_eq!(body["candidates"], serde_json::json!(["sdot", "ddot"]));
    }

    #[test]
    fn a_job_that_was_not_taken_is_a_503() {
        let retry_after = Duration::from_secs(2);
        let full = Problem::from(RunError::QueueFull { capacity: 1, retry_after });
        assert_eq!((full.kind(), full.retry_after()), (Kind::QueueFull, Some(2)));
        assert_eq!(Problem::from(RunError::Draining).kind(), Kind::Draining);
        assert_eq!(Problem::from(RunError::NoWorker { reason: String::new() }).kind(), Kind::NoWorker);
    }
}
