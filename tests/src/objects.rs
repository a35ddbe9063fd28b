//! The committed objects, and the rows of the table that says what each of them gives.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of objects.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("objects")
}

/// Kernels (namespace `test`) for the functions that no built-in kernel calls.
#[must_use]
pub fn kernels() -> PathBuf {
    folder().join("kernels")
}

/// The path of an object, such as `good/empty.o`.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    folder().join(name)
}

/// The bytes of an object.
///
/// # Panics
/// If there is no such object.
#[must_use]
pub fn read(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every object in the README's tables whose name begins like this.
///
/// # Panics
/// If the README cannot be read.
#[must_use]
pub fn listed(prefixes: &[&str]) -> BTreeSet<String> {
    let readme = fs::read_to_string(path("README.md")).expect("objects/README.md");
    let names = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | `"));
    let names = names.map(|(name, _)| name.to_owned());
    names.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))).collect()
}
