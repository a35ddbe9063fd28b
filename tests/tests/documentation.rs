//! What an answer holds is explained: no member of one, and no figure in it, that the documentation does not name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use webrunner_tests::service::Service;

/// Members whose own members are named by what was asked or run, or by the CPU, its kernel or its vendor.
const OPEN: [&str; 5] = ["parameters", "mix", "unknown", "mitigations", "events"];

/// Every word in `code` type of the two pages that explain an answer.
fn explained() -> BTreeSet<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut words = BTreeSet::new();
    for page in ["http.md", "measurement.md"] {
        let text = fs::read_to_string(docs.join(page)).expect("a page");
        let spans = text.split('`').skip(1).step_by(2);
        let word = |c: char| !(c.is_alphanumeric() || c == '_' || c == '-');
        words.extend(spans.flat_map(|span| span.split(word)).map(str::to_owned));
    }
    words
}

/// Adds the names of all members, those of members too.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                found.insert(name.clone());
                if !OPEN.contains(&name.as_str()) {
                    names(member, found);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|entry| names(entry, found)),
        _ => {}
    }
}

#[test]
fn every_member_of_an_answer_is_explained() {
    let (service, explained) = (Service::start(), explained());
    let queries = [
        ("good/sdot_gcc_O3_pic.o", "kernel=sdot&_cold=yes"),
        ("good/sdot_clang_O2_pic.o", "kernel=sdot&_effort=quick"),
        ("good/ddot_gcc_O2_pic.o", "kernel=blis.ddot&_effort=thorough"),
        ("checked/dot_zeroing.o", "kernel=sdot"),
    ];
    for (object, query) in queries {
        let answer = service.measure(object, query);
        let mut found = BTreeSet::new();
        names(&answer, &mut found);
        let figures = answer["results"].as_array().expect("figures");
        found.extend(figures.iter().filter_map(|figure| Some(figure["name"].as_str()?.to_owned())));
        let unexplained: Vec<_> = found.difference(&explained).filter(|name| !is_of_a_set(name)).collect();
        assert!(
            unexplained.is_empty(),
            "{object}: {unexplained:?} in neither docs/http.md nor docs/measurement.md"
        );
    }
}

#[test]
fn what_is_told_of_the_machine_is_explained() {
    let (service, explained) = (Service::start(), explained());
    for path in ["/machine", "/readyz", "/livez"] {
        let mut found = BTreeSet::new();
        names(&service.get(path).json(), &mut found);
        let unexplained: Vec<_> = found.difference(&explained).collect();
        assert!(
            unexplained.is_empty(),
            "{path}: {unexplained:?} in neither docs/http.md nor docs/measurement.md"
        );
    }
}

/// `DoubleFlops128` is explained with `SingleFlops128`.
fn is_of_a_set(name: &str) -> bool {
    name.starts_with("DoubleFlops")
}
