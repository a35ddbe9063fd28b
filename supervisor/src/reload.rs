//! What can change while the service runs: files that are read at the start and again at SIGHUP.
//!
//! All of them are read before any of them is put in place. One that is wrong stops the start; later it leaves everything
//! as it was, and the log says which and why. Jobs that run keep what they began with.

use std::path::PathBuf;

use webrunner_kernels::{Catalogue, CatalogueError};

use crate::catalogue;

/// Where the files are.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Directory of further kernels.
    pub kernels: Option<PathBuf>,
}

/// What they hold.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Kernels there are.
    pub catalogue: Catalogue,
}

/// A file that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A kernel specification, or its directory.
    #[error(transparent)]
    Kernels(#[from] CatalogueError),
}

impl Sources {
    /// Reads everything. Blocks.
    ///
    /// # Errors
    /// The first file that cannot be taken.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        Ok(Loaded { catalogue: catalogue::load(self.kernels.as_deref())? })
    }
}
