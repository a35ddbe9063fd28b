//! W3C Trace Context: the `traceparent` header, read strictly, answered with a span of our own.
//!
//! A header that is not exactly what the recommendation (level 1) says is no trace, and is neither repeated nor logged.
//! What comes through is hexadecimal digits and nothing else.

use actix_web::http::header::HeaderName;

use crate::request_id::RequestId;

/// Name of the header that carries it both ways.
pub static HEADER: HeaderName = HeaderName::from_static("traceparent");

/// Bytes of the header in version 00: `00-` trace `-` parent `-` flags.
const LENGTH: usize = 55;

/// A request's place in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: String,
    parent_id: String,
    span_id: String,
    flags: String,
}

impl TraceContext {
    /// Reads the client's header and draws a span for this request.
    #[must_use]
    pub fn from_client(raw: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(raw).ok()?;
        let (version, fields) = (text.get(..2)?, text.get(..LENGTH)?);
        // A later version may say more after another hyphen; version ff is none.
        let length_is_right = match (version, raw.get(LENGTH)) {
            ("00", more) => more.is_none(),
            ("ff", _) => false,
            (_, more) => more.is_none_or(|&byte| byte == b'-'),
        };
        let mut fields = fields.split('-');
        let mut field = |length: usize| {
            let field = fields.next()?;
            (field.len() == length && is_lower_hex(field)).then_some(field)
        };
        field(2)?;
        let (trace_id, parent_id, flags) = (field(32)?, field(16)?, field(2)?);
        let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
        (length_is_right && fields.next().is_none() && !is_zero(trace_id) && !is_zero(parent_id)).then(|| {
            Self {
                trace_id: trace_id.to_owned(),
                parent_id: parent_id.to_owned(),
                // 16 hexadecimal digits, never all zero but for one state in 2^64.
                span_id: RequestId::fresh().as_str().to_owned(),
                // Of the flags only "sampled" has a meaning in version 00; others are not passed on.
                flags: if flags.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']) { "01" } else { "00" }
                    .into(),
            }
        })
    }

    /// The trace all of its requests share.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// The client's span.
    #[must_use]
    pub fn parent_id(&self) -> &str {
        &self.parent_id
    }

    /// This request's own span.
    #[must_use]
    pub fn span_id(&self) -> &str {
        &self.span_id
    }

    /// The header of the answer.
    #[must_use]
    pub fn header(&self) -> String {
        format!("00-{}-{}-{}", self.trace_id, self.span_id, self.flags)
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_answer_is_of_the_same_trace_and_another_span() {
        let context = TraceContext::from_client(GOOD.as_bytes()).unwrap();
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.parent_id(), "00f067aa0ba902b7");
        let answer = context.header();
        assert_eq!(answer, format!("00-{}-{}-01", context.trace_id(), context.span_id()));
        assert_ne!(context.span_id(), context.parent_id());
        assert!(TraceContext::from_client(answer.as_bytes()).is_some());
    }

    #[test]
    fn of_the_flags_only_sampled_is_passed_on() {
        for (flags, answered) in [("00", "00"), ("01", "01"), ("ff", "01"), ("02", "00")] {
            let context =
                TraceContext::from_client(GOOD.replace("-01", &format!("-{flags}")).as_bytes()).unwrap();
            assert!(context.header().ends_with(&format!("-{answered}")), "{flags}");
        }
    }

    #[test]
    fn a_later_version_may_say_more() {
        for good in [GOOD.replace("00-4", "cc-4"), GOOD.replace("00-4", "cc-4") + "-what"] {
            assert!(TraceContext::from_client(good.as_bytes()).is_some(), "{good}");
        }
        assert!(TraceContext::from_client((GOOD.replace("00-4", "cc-4") + ".what").as_bytes()).is_none());
    }

    #[test]
    fn anything_else_is_no_trace() {
        let wrong = [
            String::new(),
            GOOD.to_uppercase(),
            format!("{GOOD}-"),
            format!(" {GOOD}"),
            GOOD.replace("00-4", "ff-4"),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("4bf9", "4bg9"),
            GOOD.replace("4bf92f", "4bf9-f"),
            GOOD.replace("-01", "-0é"),
            GOOD[..54].to_owned(),
        ];
        for wrong in wrong {
            assert!(TraceContext::from_client(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
