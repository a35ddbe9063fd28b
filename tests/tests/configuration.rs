//! Settings: where they may stand, what goes over what, what is refused, and that they are shown as they are.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use webrunner_tests::service::{Ended, Launch};

/// A configuration file in a folder of its own.
fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("webrunner.toml");
    fs::write(&path, text).expect("a file");
    (folder, path)
}

/// `webrunner config` with a file and further flags.
fn config(path: &Path, flags: &[&str]) -> Launch {
    let path = path.to_string_lossy();
    Launch::command(["config", "--config", &path].into_iter().chain(flags.iter().copied()))
}

/// The words of the line about a setting: its value, and where that came from.
fn shown(ended: &Ended, name: &str) -> (String, String) {
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let line = ended.stdout.lines().find(|line| line.starts_with(&format!("{name} ="))).expect("a line");
    let (value, origin) = line.split_once("  # ").expect("an origin");
    (value.trim().trim_start_matches(&format!("{name} = ")).to_owned(), origin.to_owned())
}

#[test]
fn flags_go_over_the_environment_and_that_over_the_file() {
    let (_folder, path) = file("# jobs\nqueue-size = 5\ndeadline = 6\ncores = \"0-0\"\n");
    let launch = config(&path, &["--queue-size", "7"]).with_variable("WEBRUNNER_DEADLINE", "8");
    let ended = launch.with_variable("WEBRUNNER_QUEUE_SIZE", "9").run();
    let from = |line: u32| format!("{}:{line}", path.display());
    assert_eq!(shown(&ended, "queue-size"), ("7".into(), "flag".into()));
    assert_eq!(shown(&ended, "deadline"), ("8".into(), "environment".into()));
    assert_eq!(shown(&ended, "cores"), ("\"0-0\"".into(), from(4)));
    assert_eq!(shown(&ended, "cpu-limit"), ("3".into(), "default".into()));
}

#[test]
fn what_is_shown_is_a_file_that_sets_the_same() {
    let (_folder, path) = file("queue-size = 5\naccess-log = 'a \"b\" c'\nrequire-isolation = \"best\"\n");
    let first = config(&path, &["--port", "80"]).run();
    let (_other, copy) = file(&first.stdout);
    let second = config(&copy, &[]).run();
    for name in ["listen", "queue-size", "access-log", "require-isolation", "log-filter"] {
        assert_eq!(shown(&first, name).0, shown(&second, name).0);
    }
    assert_eq!(shown(&second, "listen").0, "\"127.0.0.1:80\"");
}

#[test]
fn a_service_does_as_its_file_says() {
    let (_folder, path) = file("listen = \"127.0.0.1:0\"\nqueue-size = 5\n");
    let path = path.to_string_lossy();
    let service = Launch::command(["serve"]).with_variable("WEBRUNNER_CONFIG", &path).start();
    assert_eq!(service.readiness()["queue_capacity"], 5);
}

#[test]
fn the_environment_counts_for_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "<kernel name=\"mine\"><call returns=\"int32_t\"><argument name=\"n\" type=\"int32_t\" value=\"1\"/></call></kernel>";
    fs::write(folder.path().join("mine.xml"), text).expect("a file");
    let kernels = folder.path().to_string_lossy();
    let ended = Launch::command(["kernels"]).with_variable("WEBRUNNER_KERNELS", &kernels).run();
    assert!(ended.stdout.contains("mine: "), "{ended:?}");
}

#[test]
fn what_is_no_setting_is_refused_with_the_nearest_one() {
    let (_folder, path) = file("deadline = 1\nqueue_size = 5\n");
    let ended = config(&path, &[]).run();
    assert_eq!(ended.code, Some(2));
    let expected = format!("{}:2: there is no setting queue_size; did you mean queue-size?", path.display());
    assert_eq!(ended.complaint(), expected);
    let ended = Launch::command(["serve"]).with_variable("WEBRUNNER_QUEUESIZE", "5").run();
    assert_eq!(ended.code, Some(2));
    let expected = "there is no setting WEBRUNNER_QUEUESIZE; did you mean WEBRUNNER_QUEUE_SIZE?";
    assert_eq!(ended.complaint(), expected);
}

#[test]
fn every_refusal_says_what_to_do() {
    for (text, complaint) in [
        (&b"port = 80\n"[..], ":1: there is no setting port; `webrunner serve --help` lists those there are"),
        (b"\n[serve]\ndeadline = 1\n", ":2: there is no setting serve; settings stand in no table"),
        (b"deadline = 1\ndeadline = 2\n", ":2: duplicate key deadline; keep one"),
        (b"deadline = 1\nworker = \"\xff\"\n", ":2: not UTF-8; save the file as such"),
    ] {
        let (_folder, path) = file("");
        fs::write(&path, text).expect("a file");
        let ended = config(&path, &[]).run();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_eq!(ended.complaint(), format!("{}{complaint}", path.display()));
    }
}

#[test]
fn a_variable_of_the_build_is_no_mistake_and_those_of_kubernetes_are() {
    let (_folder, path) = file("");
    let with = |name: &str| config(&path, &[]).with_variable(name, "tcp://10.0.0.1:8081").run();
    assert_eq!(with("WEBRUNNER_REVISION").code, Some(0));
    for name in ["WEBRUNNER_PORT", "WEBRUNNER_SERVICE_HOST", "WEBRUNNER_REVISIONS"] {
        let ended = with(name);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.complaint().starts_with(&format!("there is no setting {name}; ")), "{ended:?}");
    }
}

#[test]
fn files_that_a_service_could_not_take_are_told_behind_the_settings() {
    for (flag, value) in [("--tokens", "/no/such/tokens"), ("--kernels", "/no/such/kernels")] {
        let (_folder, path) = file("");
        let ended = config(&path, &[flag, value]).run();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.contains(value), "{ended:?}");
        assert!(
            ended.stderr.contains(value) && ended.stderr.contains(&format!("with {flag}: No such")),
            "{ended:?}"
        );
    }
}

#[test]
fn values_that_make_no_sense_are_refused_by_where_they_stand() {
    for (text, complaint) in [
        ("\nqueue-size = 5000\n", ":2: queue-size takes 0 to 4096, got 5000"),
        ("drain-limit = 0\n", ":1: drain-limit takes 1 to 3600, got 0"),
        ("cores = [1, 2]\n", ":1: cores takes a string, a number, true or false, got a value of type array"),
        ("cores = \"x\"\n", ":1: cores: `x` is no core number or range; write a list such as 1,3-5"),
        (
            "listen = \"unix:relative\"",
            ":1: listen takes an address and a port such as 127.0.0.1:8081, or unix: and an absolute path, got `unix:relative`",
        ),
    ] {
        let (_folder, path) = file(text);
        let ended = Launch::command(["serve", "--config", &path.to_string_lossy()]).run();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_eq!(ended.complaint(), format!("{}{complaint}", path.display()));
    }
    let ended = Launch::command(["serve"]).with_variable("WEBRUNNER_REQUIRE_ISOLATION", "some").run();
    assert_eq!(ended.complaint(), "WEBRUNNER_REQUIRE_ISOLATION takes full or best, got `some`");
}

#[test]
fn a_file_that_is_no_toml_is_refused_by_its_line() {
    let (_folder, path) = file("deadline = 1\nqueue-size = = 5\n");
    let ended = config(&path, &[]).run();
    assert_eq!(ended.code, Some(2));
    assert!(ended.complaint().starts_with(&format!("{}:2: ", path.display())), "{ended:?}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let ended = Launch::command(["config", "--config", "/no/such/file"]).run();
    assert_eq!(ended.code, Some(1));
    let expected = "cannot read the configuration /no/such/file; name another with --config: No such file";
    assert!(ended.complaint().starts_with(expected), "{ended:?}");
}

/// What `webrunner generate` writes.
fn generated() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = Launch::command(["generate", &folder.path().to_string_lossy()]).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    folder
}

#[test]
fn the_limits_a_setting_is_documented_with_are_those_it_has() {
    let table = fs::read_to_string(generated().path().join("settings.md")).expect("a table");
    let mut limited = 0;
    for row in table.lines() {
        let limits = row.split('(').filter_map(|rest| rest.split_once(')')?.0.split_once(" to ")).next();
        let Some((least, most)) = limits else { continue };
        let name = row.split('`').nth(1).expect("a name");
        let taken = |value: &str| {
            let (_folder, path) = file(&format!("{name} = {value}\n"));
            config(&path, &[]).run()
        };
        let beyond = (most.parse::<u64>().expect("a number") + 1).to_string();
        let complaint = format!("{name} takes {least} to {most}, got {beyond}");
        assert!(taken(&beyond).complaint().ends_with(&complaint), "{:?}", taken(&beyond));
        for value in [least, most] {
            assert_eq!(taken(value).code, Some(0), "{name} = {value}");
        }
        limited += 1;
    }
    assert!(limited >= 8, "{table}");
}

#[test]
fn every_command_says_how_it_ends_in_its_help_and_on_its_page() {
    let help = Launch::command(["--help"]).run().stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.map_while(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let (folder, mut count) = (generated(), 0);
    for name in commands {
        let page = folder.path().join(format!("man/webrunner-{name}.1"));
        let page = fs::read_to_string(page).unwrap_or_else(|error| panic!("{name}: {error}"));
        for text in [Launch::command([name, "--help"]).run().stdout, page] {
            let status = text.split("Exit status: ").nth(1).unwrap_or_else(|| panic!("{name}: {text}"));
            assert!(
                status.starts_with("0 ") && status.contains(", 1 ") && status.contains(", 2 "),
                "{status}"
            );
        }
        count += 1;
    }
    assert!(count >= 7, "{help}");
}

#[test]
fn the_documentation_has_the_settings_there_are() {
    let table = fs::read_to_string(generated().path().join("settings.md")).expect("a table");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = fs::read_to_string(page).expect("docs/operations.md");
    assert!(page.contains(&table), "docs/operations.md must hold this table:\n{table}");
}
