//! Why a request's parameters are refused, in a sentence for people and in members for machines.
//!
//! Part of what it shows came from a client; whoever makes one of these errors has escaped and cut it.

use webrunner_protocol::limits::MAX_BUFFER_BYTES;

/// Why a request's parameters are refused.
///
/// Texts that came from the client are escaped and cut, so any member may be shown as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// No parameter has this name.
    #[error("kernel {kernel} has no parameter `{name}`; {}", offer(near, known))]
    Unknown {
        /// The kernel.
        kernel: String,
        /// The name that came.
        name: String,
        /// Names like it, nearest first.
        near: Vec<String>,
        /// Every name there is.
        known: Vec<String>,
    },
    /// A parameter came more than once.
    #[error("parameter `{name}` is given more than once; give it once")]
    Repeated {
        /// The parameter.
        name: String,
    },
    /// A value is no number of the right type, or is out of range.
    #[error("parameter `{name}` must be {expected}, got `{got}`")]
    Value {
        /// The parameter.
        name: String,
        /// What it may be, in words.
        expected: String,
        /// What came.
        got: String,
    },
    /// The parameters, each allowed, make a size or an argument that is not.
    #[error(transparent)]
    Computed(Box<ComputedError>),
    /// The arrays together take too much memory.
    #[error(
        "the arrays take {bytes} bytes together with {values}, at most {MAX_BUFFER_BYTES} are allowed; choose smaller values"
    )]
    Memory {
        /// Bytes they would take; saturates.
        bytes: u64,
        /// Values of the parameters.
        values: String,
    },
}

/// A size or an argument, computed from the parameters, that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}, `{expression}`, {reason} with {values}; it must be {expected}")]
pub struct ComputedError {
    /// What was computed: `length of x`.
    pub what: String,
    /// The parameter, if the expression is nothing else.
    pub parameter: Option<String>,
    /// The expression.
    pub expression: String,
    /// Values of the parameters in it.
    pub values: String,
    /// What came of it: `overflows 64 bits`, `is -3`.
    pub reason: String,
    /// What it may be, in words.
    pub expected: String,
}

impl ParameterError {
    /// A stable name of the kind of error, for machines.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown-parameter",
            Self::Repeated { .. } => "repeated-parameter",
            Self::Value { .. } => "parameter-value",
            Self::Computed(_) => "computed-size",
            Self::Memory { .. } => "memory-limit",
        }
    }

    /// The parameter at fault, if it is one alone.
    #[must_use]
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Self::Unknown { name, .. } | Self::Repeated { name } | Self::Value { name, .. } => Some(name),
            Self::Computed(error) => error.parameter.as_deref(),
            Self::Memory { .. } => None,
        }
    }

    /// What would have been taken, in words.
    #[must_use]
    pub fn expected(&self) -> Option<String> {
        match self {
            Self::Unknown { known, .. } => Some(format!("one of {}", known.join(", "))),
            Self::Repeated { .. } => None,
            Self::Value { expected, .. } => Some(expected.clone()),
            Self::Computed(error) => Some(error.expected.clone()),
            Self::Memory { .. } => Some(format!("at most {MAX_BUFFER_BYTES} bytes")),
        }
    }

    /// What came instead.
    #[must_use]
    pub fn got(&self) -> Option<String> {
        match self {
            Self::Unknown { name, .. } => Some(name.clone()),
            Self::Repeated { .. } => None,
            Self::Value { got, .. } => Some(got.clone()),
            Self::Computed(error) => Some(format!("{} with {}", error.reason, error.values)),
            Self::Memory { bytes, .. } => Some(format!("{bytes} bytes")),
        }
    }

    /// Names like an unknown one, nearest first.
    #[must_use]
    pub fn near(&self) -> &[String] {
        match self {
            Self::Unknown { near, .. } => near,
            Self::Repeated { .. } | Self::Value { .. } | Self::Computed(_) | Self::Memory { .. } => &[],
        }
    }
}

fn offer(near: &[String], known: &[String]) -> String {
    match (near, known) {
        (_, []) => "it takes none".to_owned(),
        ([], known) => format!("it takes {}", known.join(", ")),
        (near, _) => format!("did you mean {}?", near.join(" or ")),
    }
}
