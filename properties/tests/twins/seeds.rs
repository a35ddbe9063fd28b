//! Seeds: the committed inputs that mutation starts from.

use std::fs;
use std::path::{Path, PathBuf};

/// An input with the file it came from.
#[derive(Clone, Debug)]
pub struct Seed {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// All files of these folders, given from the root of the repository, with this extension.
pub fn read(folders: &[&str], extension: &str) -> Vec<Seed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut seeds = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let paths = entries.map(|entry| entry.unwrap().path());
        for path in paths.filter(|path| path.extension().is_some_and(|found| found == extension)) {
            seeds.push(Seed { bytes: fs::read(&path).unwrap(), path });
        }
    }
    assert!(!seeds.is_empty(), "no *.{extension} in {folders:?}");
    seeds.sort_by(|a, b| a.path.cmp(&b.path));
    seeds
}
