//! `webrunner kernels`: the catalogue, for people.

use std::fmt::Write as _;

use webrunner_kernels::Kernel;

use super::{Failure, print};
use crate::catalogue;
use crate::settings::Settings;

/// Prints every kernel.
pub(super) fn kernels(settings: &Settings) -> Result<(), Failure> {
    let catalogue =
        catalogue::load(settings.values.kernels.as_deref()).map_err(|error| Failure::of(&error))?;
    let text: Vec<String> = catalogue.iter().map(describe).collect();
    print(text.join("\n"))
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
