//! A parameter of a kernel: its type, its default, its range, and the strict reading of what a client sends for it.

use crate::specification::SpecificationError;
use crate::text::{is_identifier, shown};
use crate::types::{ParameterType, Value};
use crate::xml::RawParameter;

/// Longest summary of a kernel or a parameter, in bytes.
pub(crate) const MAX_SUMMARY_BYTES: usize = 512;

/// A parameter of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    name: String,
    parameter_type: ParameterType,
    default: Value,
    min: Value,
    max: Value,
    summary: Option<String>,
}

impl Parameter {
    pub(crate) fn compile(raw: RawParameter) -> Result<Self, SpecificationError> {
        let name = raw.name;
        if !is_identifier(&name) {
            return Err(SpecificationError::Name { what: "parameter", name: shown(&name) });
        }
        if name.starts_with('_') {
            return Err(SpecificationError::ReservedName { name });
        }
        check_summary(raw.summary.as_deref())?;
        let parameter_type = ParameterType::parse(&raw.type_name)
            .ok_or_else(|| SpecificationError::Type { what: "parameter", text: shown(&raw.type_name) })?;
        let read = |attribute, text: &str| {
            parameter_type.parse_value(text).ok_or_else(|| SpecificationError::Value {
                parameter: name.clone(),
                attribute,
                text: shown(text),
                parameter_type: parameter_type.name(),
            })
        };
        let (lowest, highest) = parameter_type.limits();
        let default = read("default", &raw.default)?;
        let min = raw.min.map_or(Ok(lowest), |text| read("min", &text))?;
        let max = raw.max.map_or(Ok(highest), |text| read("max", &text))?;
        if !default.lies_between(min, max) {
            return Err(SpecificationError::Default { parameter: name, default, min, max });
        }
        Ok(Self { name, parameter_type, default, min, max, summary: raw.summary })
    }

    /// Name, as in a query.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type of its values.
    #[must_use]
    pub fn parameter_type(&self) -> ParameterType {
        self.parameter_type
    }

    /// Value it has when a client does not give one.
    #[must_use]
    pub fn default(&self) -> Value {
        self.default
    }

    /// Least value; that of the type if the specification sets none.
    #[must_use]
    pub fn min(&self) -> Value {
        self.min
    }

    /// Greatest value; that of the type if the specification sets none.
    #[must_use]
    pub fn max(&self) -> Value {
        self.max
    }

    /// What it means, in a sentence.
    #[must_use]
    pub fn summary(&self) -> Option<&str> {
        self.summary.as_deref()
    }

    /// What a client may send, in words: `a whole number from 1 to 64`.
    #[must_use]
    pub fn expected(&self) -> String {
        let limits = self.parameter_type.limits();
        match self.default.as_integer() {
            Some(_) => format!("a whole number from {} to {}", self.min, self.max),
            None if (self.min, self.max) == limits => format!("a finite {}", self.parameter_type.name()),
            None => format!("a decimal number from {} to {}", self.min, self.max),
        }
    }

    /// Reads what a client sent: decimal, of the right type, within the range; nothing else.
    pub(crate) fn read(&self, text: &str) -> Option<Value> {
        self.parameter_type.parse_value(text).filter(|value| value.lies_between(self.min, self.max))
    }
}

/// Refuses a summary that is no summary.
pub(crate) fn check_summary(summary: Option<&str>) -> Result<(), SpecificationError> {
    match summary {
        Some(text) if text.len() > MAX_SUMMARY_BYTES => Err(SpecificationError::SummaryTooLong),
        _ => Ok(()),
    }
}
