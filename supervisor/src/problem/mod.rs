//! Problems: everything that can keep a request from its answer, as RFC 9457 bodies.
//!
//! Handlers make a [`Problem`]; actix turns it into a response through [`ResponseError`]; the command line prints its
//! title and detail. Text in it may come from clients, objects and workers: it is bounded where it is made and escaped
//! by `serde_json` when it is written. A problem never holds the cause of a failure of our own; that goes to the log.

mod detail;
mod kind;
mod outcome;

use std::fmt;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde_json::{Map, Value};

pub use self::kind::Kind;
use crate::fault::{FaultReport, SystemCallReport};
use crate::tokens::Stranger;

/// Media type of problem bodies.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What kept a request from its answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Problem {
    /// The query string cannot be read.
    MalformedQuery {
        /// What is wrong with it.
        reason: String,
    },
    /// No kernel is named.
    KernelMissing,
    /// A parameter of the kernel.
    BadParameter {
        /// What is wrong, in words.
        reason: String,
        /// Its name, if one parameter alone is at fault.
        parameter: Option<String>,
        /// What would be taken.
        expected: Option<String>,
        /// What came.
        got: Option<String>,
    },
    /// A query name with an underscore that is none of ours.
    UnknownOption {
        /// The name.
        name: String,
    },
    /// A query name of ours with a value it does not take.
    BadOption {
        /// The name.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// A hardware event that the table of this CPU does not have.
    UnknownEvent {
        /// What came.
        event: String,
        /// Id of the table.
        table: &'static str,
        /// Names like it, nearest first.
        near: Vec<String>,
    },
    /// A raw hardware event that cannot be read, or may not be counted.
    BadEvent {
        /// What came.
        event: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Hardware events asked for on a host that has no counters for any.
    NoCounters {
        /// Those that were asked for.
        events: Vec<String>,
    },
    /// The body broke off or is not framed as HTTP asks.
    BadBody,
    /// No such route.
    NotFound {
        /// The path.
        path: String,
    },
    /// No such kernel.
    UnknownKernel {
        /// What is wrong with it, in words.
        reason: String,
        /// The name asked for.
        name: String,
        /// Names like it, or that it could stand for.
        near: Vec<String>,
    },
    /// The route takes other methods.
    MethodNotAllowed {
        /// Methods it takes, as the `Allow` header lists them.
        allow: &'static str,
    },
    /// The body did not arrive in time.
    BodyTooSlow {
        /// The limit.
        limit: Duration,
    },
    /// The body is too large.
    BodyTooLarge {
        /// Most bytes taken.
        limit: usize,
    },
    /// The request target is too long.
    UriTooLong {
        /// Its length in bytes.
        length: usize,
        /// Most bytes taken.
        limit: usize,
    },
    /// The body is not declared as `application/octet-stream`.
    WrongContentType {
        /// What came; `None` if nothing.
        got: Option<String>,
    },
    /// The loader does not take the object.
    BadObject {
        /// Why.
        reason: String,
    },
    /// No function could be chosen.
    MissingSymbol {
        /// Why.
        reason: String,
        /// Functions there are.
        candidates: Vec<String>,
    },
    /// The call plan cannot be carried out.
    BadCall {
        /// Why.
        reason: String,
    },
    /// An instruction this CPU does not have.
    UnsupportedInstruction {
        /// Names of the features it needs and the CPU lacks.
        needs: Vec<&'static str>,
        /// Where it stands.
        fault: Box<FaultReport>,
    },
    /// The code needs what this CPU does not have; it was not run.
    MissingFeatures {
        /// Names of the features it needs and the CPU lacks.
        needs: Vec<String>,
        /// Bytes from the start of the object's text to the first instruction that needs one.
        offset: u64,
    },
    /// A signal.
    Fault(Box<FaultReport>),
    /// A system call the filter refused; `None` for one by the 32-bit gate, of which no more is known.
    SystemCallRefused(Option<Box<SystemCallReport>>),
    /// The CPU time limit of the worker process.
    CpuTimeLimit,
    /// The function ended the process.
    KernelExited {
        /// Exit code.
        code: i32,
    },
    /// A signal ended the process unhandled.
    KernelKilled {
        /// Signal number.
        signal: i32,
    },
    /// The wall-clock limit.
    TimeLimit {
        /// The limit.
        limit: Duration,
    },
    /// What came from the worker is no reply.
    ProtocolViolation {
        /// What was wrong with it.
        reason: String,
    },
    /// The client may not post jobs.
    Unauthorized {
        /// Why.
        stranger: Stranger,
    },
    /// The client posts more often than it may.
    RateLimited {
        /// When it may again.
        retry_after: Duration,
    },
    /// The queue is full.
    QueueFull {
        /// Its capacity.
        capacity: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// The service is stopping.
    Draining,
    /// No worker can be had.
    NoWorker {
        /// Why.
        reason: String,
    },
    /// The service cannot take jobs.
    NotReady {
        /// Why, each reason by itself.
        reasons: Vec<String>,
    },
    /// The worker failed on its own account.
    WorkerFailed {
        /// How.
        reason: String,
    },
    /// SIGKILL that was not ours: in most cases the kernel's, for want of memory.
    WorkerKilled,
    /// A failure of the service.
    Internal,
}

impl Problem {
    /// What kind of problem this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::MalformedQuery { .. } => Kind::MalformedQuery,
            Self::KernelMissing => Kind::KernelMissing,
            Self::BadParameter { .. } => Kind::BadParameter,
            Self::UnknownOption { .. } => Kind::UnknownOption,
            Self::BadOption { .. } => Kind::BadOption,
            Self::UnknownEvent { .. } => Kind::UnknownEvent,
            Self::BadEvent { .. } => Kind::BadEvent,
            Self::NoCounters { .. } => Kind::NoCounters,
            Self::BadBody => Kind::BadBody,
            Self::Unauthorized { .. } => Kind::Unauthorized,
            Self::NotFound { .. } => Kind::NotFound,
            Self::UnknownKernel { .. } => Kind::UnknownKernel,
            Self::MethodNotAllowed { .. } => Kind::MethodNotAllowed,
            Self::BodyTooSlow { .. } => Kind::BodyTooSlow,
            Self::BodyTooLarge { .. } => Kind::BodyTooLarge,
            Self::UriTooLong { .. } => Kind::UriTooLong,
            Self::WrongContentType { .. } => Kind::WrongContentType,
            Self::BadObject { .. } => Kind::BadObject,
            Self::MissingSymbol { .. } => Kind::MissingSymbol,
            Self::BadCall { .. } => Kind::BadCall,
            Self::UnsupportedInstruction { .. } | Self::MissingFeatures { .. } => {
                Kind::UnsupportedInstruction
            }
            Self::Fault(_) => Kind::Fault,
            Self::SystemCallRefused(_) => Kind::SystemCallRefused,
            Self::CpuTimeLimit => Kind::CpuTimeLimit,
            Self::KernelExited { .. } => Kind::KernelExited,
            Self::KernelKilled { .. } => Kind::KernelKilled,
            Self::TimeLimit { .. } => Kind::TimeLimit,
            Self::ProtocolViolation { .. } => Kind::ProtocolViolation,
            Self::RateLimited { .. } => Kind::RateLimited,
            Self::QueueFull { .. } => Kind::QueueFull,
            Self::Draining => Kind::Draining,
            Self::NoWorker { .. } => Kind::NoWorker,
            Self::NotReady { .. } => Kind::NotReady,
            Self::WorkerFailed { .. } => Kind::WorkerFailed,
            Self::WorkerKilled => Kind::WorkerKilled,
            Self::Internal => Kind::Internal,
        }
    }

    /// How long the client should wait before it tries again, if that helps at all; whole seconds, at least one.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::QueueFull { retry_after, .. } | Self::RateLimited { retry_after } => {
                Some(retry_after.as_secs_f64().ceil().max(1.0) as u64)
            }
            Self::NoWorker { .. } | Self::NotReady { .. } => Some(1),
            Self::Draining => Some(5),
            _ => None,
        }
    }

    /// The RFC 9457 body.
    #[must_use]
    pub fn body(&self) -> Value {
        let kind = self.kind();
        let mut body = Map::new();
        body.insert("type".into(), format!("/problems/{}", kind.slug()).into());
        body.insert("title".into(), kind.title().into());
        body.insert("status".into(), kind.status().as_u16().into());
        body.insert("detail".into(), self.detail().into());
        self.add_members(&mut body);
        if let Some(seconds) = self.retry_after() {
            body.insert("retry_after".into(), seconds.into());
        }
        Value::Object(body)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind().title(), self.detail())
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind().status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.status_code());
        response.insert_header((header::CONTENT_TYPE, CONTENT_TYPE));
        if let Self::MethodNotAllowed { allow } = self {
            response.insert_header((header::ALLOW, *allow));
        }
        if let Self::Unauthorized { stranger } = self {
            response.insert_header((header::WWW_AUTHENTICATE, challenge(*stranger)));
        }
        if let Some(seconds) = self.retry_after() {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        response.body(self.body().to_string())
    }
}

/// What RFC 6750 asks to be said: an error only to those who brought something.
fn challenge(stranger: Stranger) -> &'static str {
    match stranger {
        Stranger::NoToken => "Bearer realm=\"webrunner\"",
        Stranger::UnknownToken => "Bearer realm=\"webrunner\", error=\"invalid_token\"",
    }
}
