//! An operator's directory: what it adds and replaces, how kernels are then found, and which files stop a start.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use webrunner_kernels::{Catalogue, CatalogueError, LookupError};

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn load(directory: &Path) -> Result<Catalogue, CatalogueError> {
    Catalogue::builtin().unwrap().with_directory(directory)
}

/// The message, the directory's own path left out.
fn refusal(files: &[(&str, &str)]) -> String {
    let directory = directory(files);
    let prefix = format!("{}/", directory.path().display());
    load(directory.path()).unwrap_err().to_string().replace(&prefix, "")
}

const MINE: &str = "<kernel name='sdot' namespace='mine'><call/></kernel>";

#[test]
fn a_directory_adds_kernels() {
    let directory = directory(&[
        ("k.xml", "<kernel name='k'><call returns='pointer'/></kernel>"),
        ("notes.txt", "not a kernel"),
    ]);
    let catalogue = load(directory.path()).unwrap();
    assert_eq!(catalogue.get("k").unwrap().prototype(), "void* k(void);");
    assert_eq!(catalogue.iter().len(), 30);
}

#[test]
fn a_directory_replaces_kernels_of_the_same_full_name() {
    let directory = directory(&[("any.xml", "<kernel name='sdot' namespace='blis'><call/></kernel>")]);
    let catalogue = load(directory.path()).unwrap();
    assert_eq!(catalogue.get("blis.sdot").unwrap().prototype(), "void sdot(void);");
    assert_eq!(catalogue.iter().len(), 29);
}

#[test]
fn a_kernel_is_found_by_each_of_its_names() {
    let catalogue = Catalogue::builtin().unwrap();
    for name in ["sdot", "blis.sdot", "blis::sdot"] {
        assert_eq!(catalogue.get(name).unwrap().full_name(), "blis.sdot");
    }
    for name in ["blis:sdot", "blis..sdot", ".sdot", "blis.sdot.", "blis", "SDOT", "", "vector.sdot"] {
        assert!(matches!(catalogue.get(name), Err(LookupError::Unknown { .. })), "{name}");
    }
}

#[test]
fn a_bare_name_in_two_namespaces_is_ambiguous() {
    let directory = directory(&[("mine.xml", MINE)]);
    let catalogue = load(directory.path()).unwrap();
    let error = catalogue.get("sdot").unwrap_err();
    assert_eq!(error.to_string(), "kernel name `sdot` is ambiguous; ask for blis.sdot or mine.sdot");
    assert_eq!(catalogue.get("mine::sdot").unwrap().namespace(), Some("mine"));
}

#[test]
fn a_kernel_without_a_namespace_comes_before_a_bare_name() {
    let directory = directory(&[("mine.xml", "<kernel name='sdot'><call/></kernel>")]);
    let catalogue = load(directory.path()).unwrap();
    assert_eq!(catalogue.get("sdot").unwrap().namespace(), None);
    assert_eq!(catalogue.get("blis.sdot").unwrap().namespace(), Some("blis"));
}

#[test]
fn an_unknown_kernel_is_refused_with_near_names() {
    let catalogue = Catalogue::builtin().unwrap();
    let error = catalogue.get("sdoot").unwrap_err();
    assert_eq!(error.to_string(), "unknown kernel `sdoot`; did you mean blis.sdot or blis.ddot?");
    let long = "é".repeat(1 << 20);
    assert!(catalogue.get(&long).unwrap_err().to_string().len() < 300);
}

#[test]
fn a_wrong_file_is_refused_with_file_line_and_reason() {
    let wrong = "<kernel name='k'>\n  <call>\n    <argument name='x' type='float*'/>\n  </call>\n</kernel>";
    assert_eq!(
        refusal(&[("k.xml", wrong)]),
        "k.xml:3: argument `x` is a pointer and needs `length`, in elements"
    );
    assert_eq!(
        refusal(&[("a.xml", MINE), ("b.xml", MINE)]),
        "a.xml and b.xml both describe kernel mine.sdot"
    );
    assert_eq!(
        refusal(&[("k.xml", &" ".repeat((64 << 10) + 1))]),
        "kernel specification k.xml is larger than 65536 bytes"
    );
}

#[test]
fn a_file_that_is_not_utf8_is_refused_with_its_line() {
    let directory = directory(&[]);
    fs::write(directory.path().join("k.xml"), b"<kernel\nname='\xff'/>").unwrap();
    assert!(load(directory.path()).unwrap_err().to_string().ends_with("k.xml:2: not UTF-8"));
}

#[test]
fn what_is_no_file_is_refused() {
    let directory = directory(&[]);
    fs::create_dir(directory.path().join("k.xml")).unwrap();
    assert!(matches!(load(directory.path()), Err(CatalogueError::File { .. })));
    assert!(matches!(load(&directory.path().join("absent")), Err(CatalogueError::Directory { .. })));
}
