//! `GET /openapi.json` describes what the service really answers: every member at its own path, with its type. Problems
//! have the members that `docs/http.md` lists for their kind, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;

use serde_json::Value;
use webrunner_tests::http::{Request, slug};
use webrunner_tests::jobs;
use webrunner_tests::openapi::Description;
use webrunner_tests::service::Service;
use webrunner_tests::wait;

const RUN: &str = "/{machine}/run";

/// Members of every problem.
const COMMON: [&str; 5] = ["type", "title", "status", "detail", "retry_after"];

#[track_caller]
fn holds(complaints: &[String]) {
    assert!(complaints.is_empty(), "openapi.json:\n{}", complaints.join("\n"));
}

#[test]
fn what_is_told_of_the_service_is_described() {
    let service = Service::with_flags(["--self-check", "3600"]);
    let description = Description::of(&service);
    wait::until("the first self-check has passed", || service.readiness()["self_check"]["state"] == "passed");
    for (path, target) in [
        ("/machine", "/machine"),
        ("/readyz", "/readyz"),
        ("/livez", "/livez"),
        ("/version", "/version"),
        ("/kernels", "/kernels"),
        ("/kernels/{name}", "/kernels/blis.sdot"),
        ("/problems", "/problems"),
        ("/problems/{slug}", "/problems/fault"),
    ] {
        let answer = service.get(target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        holds(&description.complaints("get", path, 200, &answer.json()));
    }
    for (path, target) in [("/kernels/{name}", "/kernels/blas.sdot"), ("/problems/{slug}", "/problems/none")]
    {
        holds(&description.complaints("get", path, 404, &service.get(target).problem()));
    }
}

#[test]
fn every_member_of_an_answer_is_described_at_its_path() {
    let service = Service::start();
    let description = Description::of(&service);
    for (object, query) in [
        ("good/sdot_clang_O2_pic.o", "kernel=sdot&_effort=quick"),
        ("good/chain_loop.o", "kernel=playground&iterations=100&_effort=quick&_counts=yes&_check=yes"),
        ("good/ddot_gcc_O2_pic.o", "kernel=blis.ddot&_cold=yes&_restore=yes&_guard=end&_ftz=yes"),
        ("good/chain100_stripped.o", "kernel=playground&_placements=1&_events=cycles"),
        ("checked/dot_zeroing.o", "kernel=sdot"),
        ("checked/dot_faulting.o", "kernel=sdot&_effort=quick&_check=yes"),
        ("checked/copy_one_wrong.o", "kernel=blis.scopy&_effort=quick&_check=yes"),
    ] {
        holds(&description.complaints("post", RUN, 200, &service.measure(object, query)));
    }
}

/// Members of a problem's row in `docs/http.md`, by slug.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http.md");
    let page = fs::read_to_string(page).expect("docs/http.md");
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| ")?.split(" | ").collect();
        let [status, slug, _, members] = cells[..] else { return None };
        status.parse::<u16>().ok()?;
        Some((slug.trim_matches('`').to_owned(), quoted(members)))
    });
    rows.collect()
}

/// What is wrong with a problem's description here and there.
fn complaints(
    description: &Description,
    documented: &BTreeMap<String, BTreeSet<String>>,
    problem: &Value,
) -> Vec<String> {
    let status = problem["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
    let mut found = description.complaints("post", RUN, status, problem);
    let kind = slug(problem);
    let row = documented.get(kind).unwrap_or_else(|| panic!("docs/http.md has no row for {kind}"));
    // One kind has the members of another beside its own.
    let others = row.contains("fault").then(|| &documented["fault"]);
    let is_known = |name: &str| {
        COMMON.contains(&name) || row.contains(name) || others.is_some_and(|others| others.contains(name))
    };
    let members = problem.as_object().expect("members").keys();
    found.extend(
        members.filter(|name| !is_known(name)).map(|name| format!("docs/http.md: {kind} has {name} too")),
    );
    found
}

#[test]
fn every_member_of_a_problem_is_described() {
    let service = Service::with_flags(["--cpu-limit", "1"]);
    let (description, documented) = (Description::of(&service), documented());
    let mut kinds = BTreeSet::new();
    let mut check = |problem: &Value| {
        kinds.insert(slug(problem).to_owned());
        holds(&complaints(&description, &documented, problem));
    };
    for (object, query) in [
        ("good/empty.o", "kernel=playground&x=%zz"),
        ("good/empty.o", "n=1"),
        ("good/empty.o", "kernel=playground&iterations=many"),
        ("good/empty.o", "kernel=playground&turns=1"),
        ("good/empty.o", "kernel=playground&_warm=yes"),
        ("good/empty.o", "kernel=playground&_effort=great"),
        ("good/empty.o", "kernel=playground&_events=no_such_event"),
        ("good/empty.o", "kernel=playground&_events=cpu/event=x/"),
        ("good/empty.o", "kernel=saxby"),
        ("bad/text_file.o", "kernel=playground"),
        ("good/several_functions_gcc_O2_pic.o", "kernel=playground&_symbol=fourth"),
        ("hostile/ud2.o", "kernel=playground"),
        ("hostile/null_read.o", "kernel=playground"),
        ("hostile/amx.o", "kernel=playground&_effort=quick"),
        ("hostile/syscall_getpid.o", "kernel=playground"),
        ("hostile/syscall_minus_one.o", "kernel=playground"),
        ("hostile/int80.o", "kernel=playground"),
        ("hostile/syscall_exit_9.o", "kernel=playground"),
        ("hostile/spin.o", "kernel=playground"),
    ] {
        check(&service.post(object, query).problem());
    }
    // These are problems where the CPU lacks AVX-512, told before the function is run or by it.
    for query in ["kernel=playground", "kernel=playground&_effort=quick"] {
        let answer = service.post("hostile/avx512.o", query);
        if answer.status != 200 {
            check(&answer.problem());
        }
    }
    let run = |name: &str| format!("/here/run?kernel=playground&x={name}");
    for request in [
        Request::post(&run(""), &vec![0; (1 << 20) + 1]),
        Request::post(&run(&"x".repeat(9000)), b""),
        Request::new("POST", &run("")).header("Content-Type", "text/plain"),
        Request::new("GET", "/here/run"),
        Request::new("GET", "/no/such/path"),
    ] {
        check(&request.send(service.address()).problem());
    }
    assert!(kinds.len() >= 18, "{kinds:?}");
}

#[test]
fn problems_of_a_service_that_is_busy_are_described() {
    let service = Service::with_flags(["--cores", "0", "--queue-size", "0", "--deadline", "1"]);
    let (description, documented) = (Description::of(&service), documented());
    let address = service.address();
    let spins =
        thread::spawn(move || jobs::request("hostile/spin.o", "kernel=playground").send(address).problem());
    service.spins();
    let full = service.post("good/chain1000.o", "kernel=playground").problem();
    let late = spins.join().expect("no panic");
    for (problem, kind) in [(&full, "queue-full"), (&late, "time-limit")] {
        assert_eq!(slug(problem), kind, "{problem}");
        holds(&complaints(&description, &documented, problem));
    }
}
