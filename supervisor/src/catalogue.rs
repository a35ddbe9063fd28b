//! Kernels as requests and answers see them; the only part that knows the `webrunner-kernels` package.

use std::path::Path;

use serde_json::{Value, json};
use webrunner_kernels::{Binding, Catalogue, CatalogueError, Kernel, LookupError, ParameterError};

use crate::problem::Problem;

/// Loads the kernels that are built in and those of a directory.
///
/// # Errors
/// The first file that is wrong, with line and reason.
pub fn load(directory: Option<&Path>) -> Result<Catalogue, CatalogueError> {
    let builtin = Catalogue::builtin()?;
    match directory {
        Some(directory) => builtin.with_directory(directory),
        None => Ok(builtin),
    }
}

/// Finds a kernel by `sdot`, `blis.sdot` or `blis::sdot`.
///
/// # Errors
/// [`Problem::UnknownKernel`], with names like it.
pub fn find<'a>(catalogue: &'a Catalogue, name: &str) -> Result<&'a Kernel, Problem> {
    catalogue.get(name).map_err(|error| {
        let reason = error.to_string();
        match error {
            LookupError::Unknown { name, near } | LookupError::Ambiguous { name, candidates: near } => {
                Problem::UnknownKernel { reason, name, near }
            }
        }
    })
}

/// Settles a kernel's parameters and makes its call plan.
///
/// # Errors
/// [`Problem::BadParameter`].
pub fn bind<'a>(
    kernel: &Kernel,
    parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Binding, Problem> {
    kernel.bind(parameters).map_err(Problem::from)
}

impl From<ParameterError> for Problem {
    fn from(error: ParameterError) -> Self {
        Self::BadParameter {
            reason: error.to_string(),
            parameter: error.parameter().map(str::to_owned),
            expected: error.expected(),
            got: error.got(),
        }
    }
}

/// A kernel as `GET /kernels` lists it.
#[must_use]
pub fn describe(kernel: &Kernel) -> Value {
    let parameters = kernel.parameters().iter().map(|parameter| {
        json!({
            "name": parameter.name(),
            "type": parameter.parameter_type().name(),
            "default": value(parameter.default()),
            "min": value(parameter.min()),
            "max": value(parameter.max()),
            "summary": parameter.summary(),
        })
    });
    json!({
        "name": kernel.full_name(),
        "function": kernel.name(),
        "namespace": kernel.namespace(),
        "summary": kernel.summary(),
        "prototype": kernel.prototype(),
        "parameters": parameters.collect::<Vec<_>>(),
        "work": { "flop": kernel.flop(), "bytes": kernel.bytes() },
    })
}

/// A parameter's value as JSON has it.
#[must_use]
pub fn value(value: webrunner_kernels::Value) -> Value {
    match value {
        webrunner_kernels::Value::Signed(value) => value.into(),
        webrunner_kernels::Value::Unsigned(value) => value.into(),
        // The shortest decimal that is this float, not the longer one that is its double.
        webrunner_kernels::Value::Float(value) => {
            value.to_string().parse::<f64>().unwrap_or(value.into()).into()
        }
        webrunner_kernels::Value::Double(value) => value.into(),
    }
}
