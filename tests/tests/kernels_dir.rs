//! A kernel takes a file and no code: what lies in a directory can be called, and may replace what is built in.

use std::fs;

use serde_json::json;
use tempfile::TempDir;
use webrunner_tests::objects;
use webrunner_tests::service::{Launch, Service};

/// A directory with one specification.
fn directory(text: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("one.xml"), text).expect("a file");
    folder
}

fn serve(folder: &TempDir) -> Service {
    Launch::command(["serve", "--listen", "127.0.0.1:0", "--kernels", &folder.path().to_string_lossy()])
        .start()
}

/// `good/chain_loop.o` returns 8 times its argument.
const TURNS: &str = r#"<kernel name="turns" namespace="mine" summary="Eight for each turn">
  <query><parameter name="turns" type="uint32" default="3" max="1000"/></query>
  <call returns="uint64_t"><argument name="n" type="uint64_t" value="2 * turns"/></call>
  <work flop="turns"/>
</kernel>"#;

#[test]
fn a_kernel_in_a_file_is_called_as_it_says() {
    let folder = directory(TURNS);
    let service = serve(&folder);
    let answer = service.measure("good/chain_loop.o", "kernel=turns&_effort=quick");
    assert_eq!((&answer["kernel"], &answer["returned"]), (&json!("mine.turns"), &json!(48)));
    let answer = service.measure("good/chain_loop.o", "kernel=mine.turns&turns=5&_effort=quick");
    assert_eq!((&answer["parameters"], &answer["returned"]), (&json!({ "turns": 5 }), &json!(80)));
}

#[test]
fn a_kernel_in_a_file_has_its_own_ranges_and_is_described() {
    let folder = directory(TURNS);
    let service = serve(&folder);
    let problem = service.post("good/chain_loop.o", "kernel=turns&turns=1001").problem();
    assert_eq!((&problem["status"], &problem["parameter"]), (&json!(400), &json!("turns")));
    let described = service.get("/kernels/mine.turns").json();
    assert_eq!(described["prototype"], "uint64_t turns(uint64_t n);");
    assert_eq!(described["parameters"][0]["max"], 1000);
}

#[test]
fn a_kernel_in_a_file_replaces_the_one_that_is_built_in() {
    let folder = directory(
        r#"<kernel name="playground"><call returns="uint64_t"><argument name="n" type="uint64_t" value="7"/></call></kernel>"#,
    );
    let service = serve(&folder);
    let answer = service.measure("good/chain_loop.o", "kernel=playground&_effort=quick");
    assert_eq!((&answer["returned"], &answer["parameters"]), (&json!(56), &json!({})));
    assert_eq!(service.get("/kernels/blis.sdot").status, 200);
}

#[test]
fn the_command_line_takes_kernels_from_a_file_too() {
    let folder = directory(TURNS);
    let (object, kernels) =
        (objects::path("good/chain_loop.o"), folder.path().to_string_lossy().into_owned());
    let object = object.to_string_lossy();
    let ended =
        Launch::command(["run", &object, "--kernel", "turns", "--kernels", &kernels, "turns=1", "--json"])
            .run();
    let answer: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(answer["returned"], 16);
    assert!(Launch::command(["kernels", "--kernels", &kernels]).run().stdout.contains("mine.turns: Eight"));
}
