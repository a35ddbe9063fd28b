//! Settings in the environment: `WEBRUNNER_` and the name in capitals. A variable that begins so and is no setting is a
//! mistake that must not go unseen.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Origin, SettingsError, Written, advice, find, nearest, table};

/// How every variable of this program begins.
const PREFIX: &str = "WEBRUNNER_";

/// Name, after the prefix, of the one that names the configuration file.
const CONFIG: &str = "config";

/// Name, after the prefix, of the one that a build takes (`docs/metrics.md`). It may be set still when the program runs.
const OF_THE_BUILD: &str = "revision";

/// What the environment sets.
#[derive(Debug)]
pub(super) struct Environment {
    /// The configuration file.
    pub(super) config: Option<PathBuf>,
    /// Everything else.
    pub(super) written: Vec<Written>,
}

/// Takes this program's variables out of the environment.
///
/// # Errors
/// The first that is no setting, or no text.
pub(super) fn read(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Environment, SettingsError> {
    let mut environment = Environment { config: None, written: Vec::new() };
    for (variable, value) in variables {
        let variable = variable.to_string_lossy();
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        let name = rest.to_lowercase().replace('_', "-");
        if name == CONFIG {
            environment.config = Some(value.into());
            continue;
        }
        if variable == self::variable(OF_THE_BUILD) {
            continue;
        }
        // Only the one spelling counts: `WEBRUNNER_Cores` is as unknown as any other word.
        let Some(setting) = find(&name).filter(|_| variable == self::variable(&name)) else {
            let near = nearest(&name, table::ALL.iter().map(|setting| setting.name).chain([CONFIG]));
            let (got, advice) = (variable.escape_debug().to_string(), advice(near.map(self::variable)));
            return Err(SettingsError::Unknown { place: String::new(), got, advice });
        };
        let text = value.into_string().map_err(|value| SettingsError::Value {
            label: variable.clone().into_owned(),
            expected: "UTF-8".into(),
            got: format!("{value:?}"),
        })?;
        environment.written.push((setting, text, Origin::Environment));
    }
    Ok(environment)
}

/// The variable of a setting.
pub(super) fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase().replace('-', "_"))
}
