//! The program without HTTP: one measurement, the list of kernels, and how each ends.

use serde_json::Value;
use webrunner_tests::objects;
use webrunner_tests::service::{Ended, Launch};

/// Runs `webrunner run` on an object.
fn run(object: &str, words: &[&str]) -> Ended {
    let path = objects::path(object).to_string_lossy().into_owned();
    Launch::command(["run", path.as_str()].into_iter().chain(words.iter().copied())).run()
}

#[test]
fn a_measurement_is_shown_as_a_table() {
    let ended = run("good/chain1000.o", &["--kernel", "playground"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let lines: Vec<Vec<&str>> = ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["name", "value", "unit", "spread", "source"]);
    assert_eq!((lines[1][0], lines[1][2]), ("Cycles", "cycles"));
    assert!(lines[1][1].parse::<f64>().is_ok_and(|cycles| cycles > 0.0), "{}", ended.stdout);
    assert!(lines.iter().any(|line| line[0] == "quality:"), "{}", ended.stdout);
}

#[test]
fn a_measurement_can_be_had_as_json() {
    let ended =
        run("good/sdot_gas.o", &["--kernel", "sdot", "n=100", "--json", "incx=2", "--effort", "quick"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let answer: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!((&answer["schema"], &answer["kernel"]), (&1.into(), &"blis.sdot".into()));
    assert_eq!((&answer["parameters"]["n"], &answer["parameters"]["incx"]), (&100.into(), &2.into()));
    assert!(
        answer["warnings"][0]
            .as_str()
            .is_some_and(|doubt| doubt.ends_with("at standard effort they are checked."))
    );
}

#[test]
fn a_function_can_be_chosen_by_its_symbol() {
    let object = "good/several_functions_gcc_O2_pic.o";
    let ended = run(object, &["--kernel", "playground", "--symbol", "second", "--effort", "quick"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = run(object, &["--kernel", "playground"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.complaint().contains("choose one with _symbol; it has first, second, third"), "{ended:?}");
}

#[test]
fn wrong_words_are_told_apart_from_what_went_wrong() {
    for (words, complaint) in [
        (&["--kernel", "sdot", "n=-1"][..], "Parameter `n` must be a whole number from 0 to "),
        (&["--kernel", "sdot", "m=1"], "Kernel blis.sdot has no parameter `m`"),
        (&["--kernel", "sdto"], "Unknown kernel `sdto`; did you mean blis.sdot"),
        (
            &["--kernel", "qqqqqqqqqqqqq"],
            "Unknown kernel `qqqqqqqqqqqqq`; `webrunner kernels` and GET /kernels list those there are",
        ),
        (
            &["--kernel", "sdot", "--events", "r1c2", "--effort", "quick"],
            "--events takes standard or thorough effort",
        ),
        (&["--kernel", "sdot", "n"], "a parameter is written name=value, got `n`"),
        (&["--kernel", "sdot", "--effort", "most"], "--effort takes quick, standard or thorough"),
        (&[], "the following required arguments were not provided: --kernel <NAME>"),
    ] {
        let ended = run("good/sdot_gas.o", words);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.complaint().starts_with(complaint), "{ended:?}");
    }
}

#[test]
fn a_function_that_crashes_is_told_in_one_line() {
    let ended = run("hostile/ud2.o", &["--kernel", "playground"]);
    assert_eq!(ended.code, Some(1));
    let complaint = ended.complaint();
    assert!(
        complaint.starts_with("The function raised a signal: SIGILL (illegal instruction)"),
        "{complaint}"
    );
}

#[test]
fn a_system_call_is_told_in_one_line() {
    let ended = run("hostile/syscall_socket.o", &["--kernel", "playground"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.complaint().contains("called `socket` (number 41)"), "{ended:?}");
}

#[test]
fn an_object_that_is_not_there_is_named() {
    let ended = run("none.o", &["--kernel", "playground"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.complaint().contains("none.o: No such file"), "{ended:?}");
}

#[test]
fn kernels_are_listed_with_prototypes_and_parameters() {
    let ended = Launch::command(["kernels"]).run();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let sdot = ended.stdout.split("\n\n").find(|kernel| kernel.starts_with("blis.sdot: ")).expect("sdot");
    assert!(sdot.contains("\n    float sdot(size_t n, const float* x"), "{sdot}");
    assert!(sdot.contains("\n    n: uint64, 1024 by default"), "{sdot}");
}

#[test]
fn help_and_version_are_no_errors() {
    for word in ["--help", "--version"] {
        let ended = Launch::command([word]).run();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{word}");
        assert!(!ended.stdout.is_empty());
    }
    assert_eq!(Launch::command([]).run().code, Some(2));
}
