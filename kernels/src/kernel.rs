//! A kernel: what a client may ask for, and what the function that answers must look like.
//!
//! A [`Kernel`] exists only after its specification was found sound, so nothing below checks it again.

use std::fmt::Write;

use webrunner_protocol::plan::ReturnType;

use crate::argument::ArgumentSpecification;
use crate::expression::Expression;
use crate::parameter::Parameter;
use crate::reference::Reference;

/// A kernel specification.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) full_name: String,
    pub(crate) summary: Option<String>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) arguments: Vec<ArgumentSpecification>,
    pub(crate) returns: ReturnType,
    /// How a prototype spells `returns`.
    pub(crate) returns_text: &'static str,
    pub(crate) flop: Option<Expression>,
    pub(crate) bytes: Option<Expression>,
    pub(crate) check: Option<Check>,
}

/// How the result of a call is checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Check {
    /// What the right result is computed with.
    pub reference: Reference,
    /// Greatest error allowed beside that of summing, relative to the size of what was added up or multiplied.
    pub tolerance: f64,
}

impl Kernel {
    /// Name of the function, its namespace left out.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Namespace, if it has one.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The name that no other kernel has: `blis.sdot`, or `playground`.
    #[must_use]
    pub fn full_name(&self) -> &str {
        &self.full_name
    }

    /// What it computes, in a sentence.
    #[must_use]
    pub fn summary(&self) -> Option<&str> {
        self.summary.as_deref()
    }

    /// What a client may set, in the order of the specification.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Floating-point operations of one call, as an expression over the parameters.
    #[must_use]
    pub fn flop(&self) -> Option<&str> {
        self.flop.as_ref().map(Expression::text)
    }

    /// Bytes one call must move between memory and registers at least, as an expression over the parameters.
    #[must_use]
    pub fn bytes(&self) -> Option<&str> {
        self.bytes.as_ref().map(Expression::text)
    }

    /// How the result of a call is checked, if it is.
    #[must_use]
    pub fn check(&self) -> Option<Check> {
        self.check
    }

    /// The C prototype of the function.
    #[must_use]
    pub fn prototype(&self) -> String {
        let mut text = format!("{} {}(", self.returns_text, self.name);
        for (index, argument) in self.arguments.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{comma}{} {}", argument.ctype, argument.name);
        }
        text.push_str(if self.arguments.is_empty() { "void);" } else { ");" });
        text
    }
}
