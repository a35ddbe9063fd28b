//! The kinds of problem: a stable slug, a status and a title each.
//!
//! Slugs are part of the interface and of metric labels: add to them, never change one.

use actix_web::http::StatusCode;

/// A kind of problem, without what happened this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is described by its row in `description`")]
pub enum Kind {
    MalformedQuery,
    KernelMissing,
    BadParameter,
    UnknownOption,
    BadOption,
    UnknownEvent,
    BadEvent,
    BadBody,
    Unauthorized,
    NotFound,
    UnknownKernel,
    MethodNotAllowed,
    BodyTooSlow,
    BodyTooLarge,
    UriTooLong,
    WrongContentType,
    BadObject,
    MissingSymbol,
    BadCall,
    NoCounters,
    UnsupportedInstruction,
    Fault,
    SystemCallRefused,
    CpuTimeLimit,
    KernelExited,
    KernelKilled,
    TimeLimit,
    ProtocolViolation,
    RateLimited,
    QueueFull,
    Draining,
    NoWorker,
    NotReady,
    WorkerFailed,
    WorkerKilled,
    Internal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 36] = [
        Self::MalformedQuery,
        Self::KernelMissing,
        Self::BadParameter,
        Self::UnknownOption,
        Self::BadOption,
        Self::UnknownEvent,
        Self::BadEvent,
        Self::BadBody,
        Self::Unauthorized,
        Self::NotFound,
        Self::UnknownKernel,
        Self::MethodNotAllowed,
        Self::BodyTooSlow,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::WrongContentType,
        Self::BadObject,
        Self::MissingSymbol,
        Self::BadCall,
        Self::NoCounters,
        Self::UnsupportedInstruction,
        Self::Fault,
        Self::SystemCallRefused,
        Self::CpuTimeLimit,
        Self::KernelExited,
        Self::KernelKilled,
        Self::TimeLimit,
        Self::ProtocolViolation,
        Self::RateLimited,
        Self::QueueFull,
        Self::Draining,
        Self::NoWorker,
        Self::NotReady,
        Self::WorkerFailed,
        Self::WorkerKilled,
        Self::Internal,
    ];

    /// Status, slug and title: the one table of problems.
    fn description(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::MalformedQuery => (400, "malformed-query", "The query cannot be read"),
            Self::KernelMissing => (400, "kernel-missing", "No kernel is named"),
            Self::BadParameter => (400, "bad-parameter", "A kernel parameter is wrong"),
            Self::UnknownOption => (400, "unknown-option", "An option of the service is unknown"),
            Self::BadOption => (400, "bad-option", "An option of the service is wrong"),
            Self::UnknownEvent => (400, "unknown-event", "There is no such hardware event"),
            Self::BadEvent => (400, "bad-event", "A hardware event cannot be read"),
            Self::BadBody => (400, "bad-body", "The body cannot be read"),
            Self::Unauthorized => (401, "unauthorized", "A token is needed"),
            Self::NotFound => (404, "not-found", "There is nothing here"),
            Self::UnknownKernel => (404, "unknown-kernel", "There is no such kernel"),
            Self::MethodNotAllowed => (405, "method-not-allowed", "The method is not allowed here"),
            Self::BodyTooSlow => (408, "body-too-slow", "The body took too long to arrive"),
            Self::BodyTooLarge => (413, "body-too-large", "The object is too large"),
            Self::UriTooLong => (414, "uri-too-long", "The URI is too long"),
            Self::WrongContentType => (415, "wrong-content-type", "The content type is wrong"),
            Self::BadObject => (422, "bad-object", "The object cannot be loaded"),
            Self::MissingSymbol => (422, "missing-symbol", "There is no function to call"),
            Self::BadCall => (422, "bad-call", "The call cannot be made"),
            Self::NoCounters => (422, "no-counters", "This host counts no hardware events"),
            Self::UnsupportedInstruction => {
                (422, "unsupported-instruction", "The object needs an instruction set this CPU lacks")
            }
            Self::Fault => (422, "fault", "The function raised a signal"),
            Self::SystemCallRefused => (422, "system-call-refused", "The function made a system call"),
            Self::CpuTimeLimit => (422, "cpu-time-limit", "The function used too much CPU time"),
            Self::KernelExited => (422, "kernel-exited", "The function ended the process"),
            Self::KernelKilled => (422, "kernel-killed", "A signal ended the process"),
            Self::TimeLimit => (422, "time-limit", "The function took too long"),
            Self::ProtocolViolation => (422, "protocol-violation", "The answer was not the worker's own"),
            Self::RateLimited => (429, "rate-limited", "Too many jobs from one client"),
            Self::QueueFull => (503, "queue-full", "The queue is full"),
            Self::Draining => (503, "draining", "The service is stopping"),
            Self::NoWorker => (503, "no-worker", "No worker is available"),
            Self::NotReady => (503, "not-ready", "The service is not ready"),
            Self::WorkerFailed => (500, "worker-failed", "The worker failed"),
            Self::WorkerKilled => (500, "worker-killed", "The worker was killed from outside"),
            Self::Internal => (500, "internal", "The service failed"),
        }
    }

    /// HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.description().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Last part of the `type` URI; also the label of metrics and logs.
    #[must_use]
    pub fn slug(self) -> &'static str {
        self.description().1
    }

    /// `title` of the problem body.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.description().2
    }

    /// The kind with this slug.
    #[must_use]
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.slug() == slug)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_own_slug() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_slug(kind.slug()), Some(kind));
        }
    }

    #[test]
    fn clients_are_blamed_with_4xx_and_the_service_with_5xx() {
        let status = |kind: Kind| kind.status().as_u16();
        assert_eq!(status(Kind::BadParameter), 400);
        assert_eq!(status(Kind::UnknownKernel), 404);
        assert_eq!(status(Kind::TimeLimit), 422);
        assert_eq!(status(Kind::WorkerFailed), 500);
        assert_eq!(status(Kind::RateLimited), 429);
        assert_eq!(status(Kind::QueueFull), 503);
    }
}
