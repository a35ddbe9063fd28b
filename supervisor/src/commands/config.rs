//! `webrunner config`: the settings in force, and where each comes from.

use super::{Failure, print};
use crate::config::ServeConfig;
use crate::settings::{Settings, listing};

/// Prints the settings, even those that cannot be taken on this machine; then says which those are.
pub(super) fn config(settings: &Settings) -> Result<(), Failure> {
    print(listing::in_force(settings))?;
    ServeConfig::new(settings)?;
    Ok(())
}
