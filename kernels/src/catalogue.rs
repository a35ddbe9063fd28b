//! All kernels a service offers: those built in, and those of the operator's directory, which may replace them.
//!
//! Loading trusts nothing about a directory's files: their number and sizes are bounded, and the first that is wrong
//! stops the load with its file, line and reason. Looking up takes any name a client may send.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::builtin;
use crate::kernel::Kernel;
use crate::specification::{self, SpecificationError};
use crate::text::{MAX_IDENTIFIER_BYTES, near, shown};

/// Largest specification file.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Most specification files in a directory.
const MAX_FILES: usize = 1024;

/// Kernels by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalogue {
    /// By full name.
    kernels: BTreeMap<String, Kernel>,
}

/// Why specifications cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The directory cannot be read.
    #[error("cannot read kernel directory {}; name another with --kernels", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory holds more files than any service needs.
    #[error("kernel directory {} holds more than {MAX_FILES} specifications", path.display())]
    TooManyFiles {
        /// The directory.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read kernel specification {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is too large to be a specification.
    #[error("kernel specification {} is larger than {MAX_FILE_BYTES} bytes", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Two files of one directory describe the same kernel.
    #[error("{} and {} both describe kernel {name}", first.display(), second.display())]
    Twice {
        /// The kernel.
        name: String,
        /// The file that came first by name.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
    /// A file is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Specification {
        /// The file.
        path: PathBuf,
        /// Line of the element at fault, counted from 1.
        line: u32,
        /// What is wrong with it.
        reason: SpecificationError,
    },
    /// A file is not UTF-8.
    #[error("{}:{line}: not UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Line of the first wrong byte, counted from 1.
        line: usize,
    },
}

/// Why a name stands for no kernel.
///
/// Texts that came from the client are escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is none of this name.
    #[error("unknown kernel `{name}`; {}", offer(near))]
    Unknown {
        /// The name that came.
        name: String,
        /// Full names like it, nearest first; may be empty.
        near: Vec<String>,
    },
    /// Several namespaces have one of this name.
    #[error("kernel name `{name}` is ambiguous; ask for {}", candidates.join(" or "))]
    Ambiguous {
        /// The name that came.
        name: String,
        /// The full names it could stand for.
        candidates: Vec<String>,
    },
}

fn offer(near: &[String]) -> String {
    if near.is_empty() {
        "`webrunner kernels` and GET /kernels list those there are".to_owned()
    } else {
        format!("did you mean {}?", near.join(" or "))
    }
}

impl Catalogue {
    /// The kernels that come with the program.
    ///
    /// # Errors
    /// None, unless the program was built with a broken specification; a test keeps that from happening.
    pub fn builtin() -> Result<Self, CatalogueError> {
        let mut kernels = BTreeMap::new();
        for (file, text) in builtin::FILES {
            let kernel = Kernel::parse(Path::new(file), text)?;
            kernels.insert(kernel.full_name().to_owned(), kernel);
        }
        Ok(Self { kernels })
    }

    /// Adds the kernels of a directory's `*.xml` files; one of a known full name replaces the other.
    ///
    /// Subdirectories are not searched, and files whose names begin with a dot are passed over, as a shell would.
    ///
    /// # Errors
    /// The first file, by name, that cannot be read or is wrong.
    pub fn with_directory(mut self, directory: &Path) -> Result<Self, CatalogueError> {
        let mut origins: BTreeMap<String, PathBuf> = BTreeMap::new();
        for path in specification_files(directory)? {
            let text = read_file(&path)?;
            let kernel = Kernel::parse(&path, &text)?;
            let name = kernel.full_name().to_owned();
            if let Some(first) = origins.insert(name.clone(), path.clone()) {
                return Err(CatalogueError::Twice { name, first, second: path });
            }
            self.kernels.insert(name, kernel);
        }
        Ok(self)
    }

    /// Finds a kernel by `sdot`, `blis.sdot` or `blis::sdot`.
    ///
    /// A full name comes before a bare one, so a kernel without a namespace is always within reach.
    ///
    /// # Errors
    /// No kernel has the name, or several namespaces do.
    pub fn get(&self, name: &str) -> Result<&Kernel, LookupError> {
        if name.len() > 2 * MAX_IDENTIFIER_BYTES + "::".len() {
            return Err(LookupError::Unknown { name: shown(name), near: Vec::new() });
        }
        let full_name = name.replacen("::", ".", 1);
        if let Some(kernel) = self.kernels.get(&full_name) {
            return Ok(kernel);
        }
        let found: Vec<&Kernel> = self.iter().filter(|kernel| kernel.name() == name).collect();
        match *found.as_slice() {
            [kernel] => Ok(kernel),
            [] => Err(self.unknown(&full_name)),
            _ => Err(LookupError::Ambiguous {
                name: shown(name),
                candidates: found.iter().map(|kernel| kernel.full_name().to_owned()).collect(),
            }),
        }
    }

    /// All kernels, sorted by full name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Kernel> {
        self.kernels.values()
    }

    fn unknown(&self, name: &str) -> LookupError {
        let known = self.iter().flat_map(|kernel| {
            [(kernel.full_name(), kernel.full_name()), (kernel.name(), kernel.full_name())]
        });
        LookupError::Unknown { name: shown(name), near: near(name, known) }
    }
}

impl Kernel {
    /// Reads one specification; `path` is only named in errors.
    ///
    /// # Errors
    /// [`CatalogueError::Specification`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, CatalogueError> {
        specification::parse(text).map_err(|error| CatalogueError::Specification {
            path: path.to_owned(),
            line: error.line,
            reason: error.value,
        })
    }
}

/// The directory's specifications, sorted so that the first error is always the same one.
fn specification_files(directory: &Path) -> Result<Vec<PathBuf>, CatalogueError> {
    let fail = |source| CatalogueError::Directory { path: directory.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if hidden || path.extension().is_none_or(|extension| extension != "xml") {
            continue;
        }
        if paths.len() == MAX_FILES {
            return Err(CatalogueError::TooManyFiles { path: directory.to_owned() });
        }
        paths.push(path);
    }
    paths.sort();
    Ok(paths)
}

fn read_file(path: &Path) -> Result<String, CatalogueError> {
    let fail = |source| CatalogueError::File { path: path.to_owned(), source };
    // Opening a pipe would wait for a writer, so the kind is looked at first; links are followed.
    if !fs::metadata(path).map_err(fail)?.is_file() {
        return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)).map_err(fail)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(CatalogueError::FileTooLarge { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        CatalogueError::NotUtf8 { path: path.to_owned(), line }
    })
}
