//! Kernel XML, from an operator's file to every call it allows.

use std::path::Path;

use webrunner::catalogue;
use webrunner_kernels::{CatalogueError, Kernel, Parameter};
use webrunner_protocol::limits::{MAX_ARGUMENTS, MAX_BUFFER_BYTES};

use crate::memory;

/// Largest file the catalogue reads.
const MAX_FILE_BYTES: usize = 64 << 10;

/// Most that reading a file may allocate.
const MAX_PARSER_BYTES: u64 = 4 << 20;

/// Reads a specification and binds it in every extreme way.
///
/// # Errors
/// Why it is not taken.
///
/// # Panics
/// If something that must hold does not.
pub fn check(text: &str) -> Result<(), CatalogueError> {
    if text.len() > MAX_FILE_BYTES {
        return Ok(());
    }
    let path = Path::new("file.xml");
    let taken = memory::within(MAX_PARSER_BYTES, "the parser of XML", || Kernel::parse(path, text));
    let kernel = taken.inspect_err(|error| {
        let error = error.to_string();
        assert!(!error.chars().any(char::is_control), "a control character in {error:?}");
    })?;
    let prototype = kernel.prototype();
    assert!(prototype.contains(kernel.name()) && !prototype.contains(['<', '>', '\n']), "{prototype}");
    assert!(catalogue::describe(&kernel).is_object());
    assert!(bind(&kernel, &[]), "the defaults were checked and make no call");
    for parameter in kernel.parameters() {
        let (name, values) = (parameter.name(), [parameter.min(), parameter.default(), parameter.max()]);
        for value in values.map(|value| value.to_string()) {
            bind(&kernel, &[(name, &value)]);
        }
    }
    for at in [Parameter::min, Parameter::max] {
        let values: Vec<_> = kernel.parameters().iter().map(|p| (p.name(), at(p).to_string())).collect();
        let given: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        bind(&kernel, &given);
    }
    Ok(())
}

/// Whether these parameters make a call, which then must be one that a worker may be sent.
fn bind(kernel: &Kernel, given: &[(&str, &str)]) -> bool {
    let Ok(binding) = kernel.bind(given.iter().copied()) else { return false };
    assert_eq!(binding.plan.check(), Ok(()));
    assert!(binding.plan.buffer_bytes() <= MAX_BUFFER_BYTES && binding.plan.arguments.len() <= MAX_ARGUMENTS);
    true
}
