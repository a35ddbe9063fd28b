//! `webrunner config`: the settings in force, and where each comes from.

use super::{Failure, print};
use crate::config::ServeConfig;
use crate::reload::Live;
use crate::settings::{Settings, listing};

/// Prints the settings, even those that cannot be taken on this machine, or name files that cannot; then says which
/// is the first of those.
pub(super) fn config(settings: &Settings) -> Result<(), Failure> {
    print(listing::in_force(settings))?;
    let config = ServeConfig::new(settings)?;
    Live::load(config.files).map(drop).map_err(|error| Failure::of(&error))
}
