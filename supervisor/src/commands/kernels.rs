//! `webrunner kernels`: the catalogue, for people.

use std::fmt::Write as _;
use std::io::Write as _;

use webrunner_kernels::Kernel;

use super::Failure;
use crate::catalogue;
use crate::cli::KernelsArgs;

/// Prints every kernel.
pub(super) fn kernels(args: &KernelsArgs) -> Result<(), Failure> {
    let catalogue = catalogue::load(args.kernels.as_deref()).map_err(|error| Failure::of(&error))?;
    let text: Vec<String> = catalogue.iter().map(describe).collect();
    // A reader such as `head` may leave before the end.
    let _ = std::io::stdout().write_all(text.join("\n").as_bytes());
    Ok(())
}

fn describe(kernel: &Kernel) -> String {
    let mut text = String::new();
    let summary = kernel.summary().unwrap_or("no summary");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}: {summary}\n    {}", kernel.full_name(), kernel.prototype());
    for parameter in kernel.parameters() {
        let _ = writeln!(
            text,
            "    {}: {}, {} by default, {} to {}",
            parameter.name(),
            parameter.parameter_type().name(),
            parameter.default(),
            parameter.min(),
            parameter.max()
        );
    }
    text
}
