//! Keeps the table of `docs/security.md` and the tests together: a row without a test, or a test that is gone, fails here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use webrunner_tests::objects;

/// The rows there must be: attacks by running code, by what the file is, and by the client.
fn rows() -> BTreeSet<String> {
    let numbered =
        |letter: &'static str, last: u32| (1..=last).map(move |number| format!("{letter}{number}"));
    numbered("R", 56).chain(numbered("E", 11)).chain(numbered("C", 22)).collect()
}

fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Every source of a test program.
fn sources() -> Vec<String> {
    let mut folders = vec![tests_folder()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match entry.extension() {
                _ if entry.is_dir() => folders.push(entry),
                Some(extension) if extension == "rs" => {
                    sources.push(fs::read_to_string(entry).expect("a source"));
                }
                _ => {}
            }
        }
    }
    sources
}

/// A test, as its source has it.
#[derive(Default)]
struct Test {
    /// First word of its documentation.
    word: String,
    /// Whether it tries something on workers without a lock.
    has_control: bool,
}

/// Ways in which a test's source names the control.
const CONTROL: [&str; 2] = ["unlocked()", "only_the_lock_stops("];

/// Tests by name.
fn tests() -> BTreeMap<String, Test> {
    let mut tests = BTreeMap::new();
    for source in sources() {
        let (mut word, mut is_test) = (String::new(), false);
        let mut within: Option<&mut Test> = None;
        for line in source.lines() {
            // A function ends where its closing brace stands at the line's beginning.
            if line == "}" {
                within = None;
            }
            if let Some(test) = &mut within {
                test.has_control |= CONTROL.iter().any(|name| line.contains(name));
                continue;
            }
            let line = line.trim();
            if let Some(text) = line.strip_prefix("/// ").filter(|_| word.is_empty()) {
                word = text.split(' ').next().unwrap_or_default().trim_end_matches('.').to_owned();
            } else if line == "#[test]" {
                is_test = true;
            } else if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
                if is_test {
                    let test = Test { word: word.clone(), has_control: false };
                    within = Some(tests.entry(name.to_owned()).or_insert(test));
                }
                (word, is_test) = (String::new(), false);
            } else if !line.starts_with("///") && !line.starts_with("#[") {
                (word, is_test) = (String::new(), false);
            }
        }
    }
    tests
}

/// Rows of the table: number, and the cells after it.
fn table() -> Vec<(String, Vec<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md");
    let text = fs::read_to_string(path).expect("docs/security.md");
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let is_number = |cell: &str| {
        cell.len() > 1
            && cell.starts_with(['R', 'E', 'C'])
            && cell[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    let lines = text.lines().filter(|line| line.starts_with("| ")).map(cells);
    lines.filter(|cells| is_number(&cells[0])).map(|cells| (cells[0].clone(), cells[1..].to_vec())).collect()
}

/// The names in backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_row_of_the_table_has_its_test() {
    let (table, tests) = (table(), tests());
    let numbers: Vec<_> = table.iter().map(|(number, _)| number.clone()).collect();
    assert_eq!(numbers.iter().cloned().collect::<BTreeSet<_>>(), rows(), "rows of the table");
    assert_eq!(numbers.len(), rows().len(), "a row is there twice");
    for (number, cells) in &table {
        assert!(
            cells.len() == 4 && cells.iter().all(|cell| !cell.is_empty()),
            "{number} has an empty cell: {cells:?}"
        );
        let names = quoted(&cells[2]);
        assert!(!names.is_empty(), "{number} names no test");
        for name in names {
            let Test { word, .. } =
                tests.get(name).unwrap_or_else(|| panic!("{number}: there is no test {name}"));
            // A test of this program is numbered as its row; those of clients are tests of other programs.
            assert!(number.starts_with('C') || word == number, "{number}: {name} is said to be {word}");
        }
    }
}

#[test]
fn every_row_says_what_stops_it_and_a_lock_is_taken_off_to_show_it() {
    let tests = tests();
    for (number, cells) in table() {
        let (stops, without) = cells[3].split_once(": ").unwrap_or((&cells[3], ""));
        assert!(stops.len() > 3 && without.len() > 3, "{number}: what stops it, and what is seen without?");
        let has_control = quoted(&cells[2]).iter().any(|name| tests[*name].has_control);
        let by_lock = cells[3].starts_with("lock");
        assert_eq!(by_lock, has_control, "{number}: said to be stopped by {stops}; control: {has_control}");
    }
}

#[test]
fn every_numbered_test_is_in_the_table() {
    let table: BTreeMap<_, _> = table().into_iter().collect();
    for (name, Test { word, .. }) in tests() {
        if !rows().contains(&word) {
            continue;
        }
        let names = table.get(&word).map(|cells| quoted(&cells[2]).contains(&name.as_str()));
        assert_eq!(names, Some(true), "{name} is not in row {word}");
    }
}

#[test]
fn every_hostile_object_is_part_of_a_test() {
    let sources = sources().concat();
    for object in objects::listed(&["hostile/"]) {
        let stem = object.trim_start_matches("hostile/").trim_end_matches(".o");
        let named = [format!("\"{stem}\""), format!("hostile/{stem}.o")]
            .iter()
            .any(|name| sources.contains(name.as_str()));
        assert!(named, "{object} is in no test");
    }
}
