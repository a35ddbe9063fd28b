//! What an operator may change while the service runs: kernels and tokens, read at the start and again at each reload.
//!
//! A request takes what is in force when it begins and keeps it to its end, so a reload never touches a job. A reload is
//! all or nothing: with one file wrong, everything stays as it was.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use actix_web::web::Bytes;
use serde_json::{Value, json};
use webrunner_kernels::{Catalogue, CatalogueError};

use crate::catalogue;
use crate::tokens::{Tokens, TokensError};

/// Where it is read from.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Directory of kernels beside those built in.
    pub kernels: Option<PathBuf>,
    /// File of tokens; without one everybody may post jobs.
    pub tokens: Option<PathBuf>,
}

/// What is in force.
#[derive(Debug)]
pub struct State {
    /// Kernels there are.
    pub catalogue: Catalogue,
    /// Who may post jobs; `None` for everybody.
    pub tokens: Option<Tokens>,
    /// The catalogue as `GET /kernels` sends it; made at the first request for it.
    listing: OnceLock<Bytes>,
}

impl State {
    fn new(catalogue: Catalogue, tokens: Option<Tokens>) -> Self {
        Self { catalogue, tokens, listing: OnceLock::new() }
    }

    fn load(files: &Files) -> Result<Self, ReloadError> {
        let catalogue = catalogue::load(files.kernels.as_deref())?;
        let tokens = files.tokens.as_deref().map(Tokens::load).transpose()?;
        Ok(Self::new(catalogue, tokens))
    }

    /// All kernels, described as JSON.
    #[must_use]
    pub fn listing(&self) -> Bytes {
        let make = || {
            let kernels: Vec<Value> = self.catalogue.iter().map(catalogue::describe).collect();
            Bytes::from(json!({ "kernels": kernels }).to_string())
        };
        self.listing.get_or_init(make).clone()
    }
}

/// Why files cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// A kernel is wrong.
    #[error(transparent)]
    Kernels(#[from] CatalogueError),
    /// The file of tokens is wrong.
    #[error(transparent)]
    Tokens(#[from] TokensError),
}

/// What is in force now, and how to read it anew; may be shared between threads.
#[derive(Debug)]
pub struct Live {
    files: Files,
    state: RwLock<Arc<State>>,
}

impl Live {
    /// Reads everything for the first time.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(files: Files) -> Result<Self, ReloadError> {
        let state = RwLock::new(Arc::new(State::load(&files)?));
        Ok(Self { files, state })
    }

    /// These kernels, for everybody and for good.
    #[must_use]
    pub fn fixed(catalogue: Catalogue) -> Self {
        Self { files: Files::default(), state: RwLock::new(Arc::new(State::new(catalogue, None))) }
    }

    /// What is in force.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads everything again. Jobs in flight are not touched. Blocks as long as reading takes.
    ///
    /// # Errors
    /// The first thing that is wrong; nothing has changed then.
    pub fn reload(&self) -> Result<(), ReloadError> {
        let state = Arc::new(State::load(&self.files)?);
        let tokens = state.tokens.as_ref().map(Tokens::count);
        tracing::info!(
            kernels = state.catalogue.iter().count(),
            tokens,
            "kernels and tokens were read again"
        );
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(live: &Live) -> usize {
        live.state().tokens.as_ref().map_or(0, Tokens::count)
    }

    #[test]
    fn what_is_wrong_changes_nothing_and_what_is_right_is_in_force_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let line = |name: &str, digit: &str| format!("{name}:{}\n", digit.repeat(64));
        fs::write(&path, line("one", "1")).unwrap();
        let live = Live::load(Files { tokens: Some(path.clone()), kernels: None }).unwrap();
        let before = live.state();
        fs::write(&path, line("one", "1") + &line("two", "2")).unwrap();
        live.reload().unwrap();
        assert_eq!((names(&live), before.tokens.as_ref().map(Tokens::count)), (2, Some(1)));
        fs::write(&path, line("one", "1") + "nonsense").unwrap();
        let error = live.reload().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:2: ", path.display())), "{error}");
        assert_eq!(names(&live), 2);
        fs::remove_file(&path).unwrap();
        assert!(live.reload().is_err());
        assert_eq!(names(&live), 2, "a file that is gone opens the service to nobody");
    }
}
