//! Hardware events through the interface: what is refused, what is absent and why, and what is counted where it can be.
//!
//! Most machines that run these tests have no hardware counters. What needs some says that it was skipped; the rest
//! holds on both. That workers count real groups is tested with events the kernel counts in software
//! (`counting_workers`).

use serde_json::{Value, json};
use webrunner_tests::http::Answer;
use webrunner_tests::objects;
use webrunner_tests::service::{Launch, Service};

const CHAIN: &str = "good/chain1000.o";

fn with_events(service: &Service, list: &str) -> Answer {
    service.post(CHAIN, &format!("kernel=playground&_format=json&_events={list}"))
}

fn problem(service: &Service, list: &str, slug: &str) -> Value {
    let answer = with_events(service, list);
    assert_eq!((answer.status, answer.slug().as_str()), (400, slug), "{list}: {}", answer.text());
    answer.problem()
}

/// What `GET /machine` says of the cores that jobs with events of their own run on.
fn counting(service: &Service) -> Value {
    let machine = service.get("/machine").json();
    machine["hardware_events"][0].clone()
}

fn has_pmu(service: &Service) -> bool {
    counting(service)["pmu"].is_string()
}

/// Two events of this machine's table, by alias and name.
fn two_events(service: &Service) -> Vec<(String, String)> {
    let table = counting(service)["table"]["events"].clone();
    let events = table.as_object().expect("events by alias").clone();
    let own = events.into_iter().filter(|(alias, _)| alias != "cycles" && alias != "instructions");
    own.take(2).map(|(alias, name)| (alias, name.as_str().expect("a name").to_owned())).collect()
}

fn listed(list: &Value, name: &str) -> bool {
    list.as_array().expect("a list").iter().any(|member| member["name"] == name)
}

#[test]
fn the_machine_tells_which_table_it_uses_and_what_became_of_each_usual_event() {
    let service = Service::start();
    let counting = counting(&service);
    assert!(counting["table"]["id"].is_string() && counting["table"]["source"].is_string(), "{counting}");
    assert!(counting["table"]["legacy"].is_boolean(), "{counting}");
    let usual = counting["usual"].as_array().expect("names").len();
    let in_passes: usize = counting["passes"]
        .as_array()
        .expect("passes")
        .iter()
        .map(|pass| pass.as_array().map_or(0, Vec::len))
        .sum();
    let refused = counting["refused"].as_array().expect("refusals");
    assert!(
        refused.iter().all(|event| event["reason"].as_str().is_some_and(|why| !why.is_empty())),
        "{counting}"
    );
    if has_pmu(&service) {
        assert_eq!(in_passes + refused.len(), usual, "{counting}");
    } else {
        assert_eq!((in_passes, refused.len()), (0, 0), "{counting}");
        assert!(usual > 0);
    }
}

#[test]
fn an_unknown_event_is_refused_with_names_like_it() {
    let service = Service::start();
    let (alias, _) = two_events(&service).remove(0);
    let body = problem(&service, &format!("{alias}_"), "unknown-event");
    assert_eq!(body["event"], format!("{alias}_"));
    assert!(body["near"].as_array().is_some_and(|near| near.contains(&alias.clone().into())), "{body}");
    assert_eq!(body["table"], counting(&service)["table"]["id"]);
}

#[test]
fn a_raw_event_that_cannot_be_read_says_what_was_expected() {
    let service = Service::start();
    for list in [
        "cpu/event=1",
        "cpu/umask=1/",
        "cpu/event=1,config1=7/",
        "cpu/event=1,any=1/",
        "uncore_imc/event=1/",
        "msr/tsc/",
        "r2001a1",
        "cpu/event=99999999999999999999/",
    ] {
        let body = problem(&service, list, "bad-event");
        assert!(body["expected"].as_str().is_some_and(|expected| expected.contains("event=N")), "{body}");
        assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 40), "{body}");
    }
}

#[test]
fn lists_that_make_no_sense_are_refused() {
    let service = Service::start();
    problem(&service, "", "bad-option");
    problem(&service, ",,", "bad-option");
    let many: Vec<String> = (1..=65).map(|code| format!("r{code:x}00")).collect();
    problem(&service, &many.join(","), "bad-option");
    let (alias, _) = two_events(&service).remove(0);
    problem(&service, &format!("{alias}&_effort=quick"), "bad-option");
}

#[test]
fn every_event_asked_for_is_counted_or_absent_by_name() {
    let service = Service::start();
    let events = two_events(&service);
    let list: Vec<&str> = events.iter().map(|(alias, _)| alias.as_str()).chain(["r1c2"]).collect();
    let answer = with_events(&service, &list.join(","));
    let names: Vec<&str> = events.iter().map(|(_, name)| name.as_str()).chain(["r1c2"]).collect();
    if !has_pmu(&service) {
        assert_eq!((answer.status, answer.slug().as_str()), (422, "no-counters"), "{}", answer.text());
        assert_eq!(answer.problem()["events"], json!(names));
        // Both are counted by other means, or not at all, wherever they are asked for.
        assert_eq!(with_events(&service, "cycles,instructions").status, 200);
        return;
    }
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    for name in names {
        let (counted, absent) = (listed(&answer["results"], name), listed(&answer["absent"], name));
        assert!(counted != absent, "{name}: counted {counted}, absent {absent}: {answer}");
    }
}

#[test]
fn the_command_line_takes_events_too() {
    let object = objects::path(CHAIN).to_string_lossy().into_owned();
    let run = |events: &str| {
        Launch::command(["run", object.as_str(), "--kernel", "playground", "--json", "--events", events])
            .run()
    };
    let ended = run("r1c2");
    if ended.code == Some(0) {
        let answer: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        assert!(listed(&answer["results"], "r1c2") != listed(&answer["absent"], "r1c2"), "{answer}");
    } else {
        assert!(ended.complaint().contains("leave _events out"), "{ended:?}");
        assert!(!has_pmu(&Service::start()), "{ended:?}");
    }
    let ended = run("no_such_event_at_all");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.complaint().contains("has no event `no_such_event_at_all`"), "{ended:?}");
}

#[test]
fn with_counters_cycles_are_counted_and_instructions_agree_with_the_block_count() {
    let service = Service::start();
    if !has_pmu(&service) {
        println!("skipped: this machine has no hardware counters");
        return;
    }
    let answer = service.measure(CHAIN, "kernel=playground");
    let figure = |name: &str, source: &str| {
        let results = answer["results"].as_array().expect("figures");
        results.iter().find(|figure| figure["name"] == name && figure["source"] == source).cloned()
    };
    if figure("Cycles", "pmu").is_none() {
        println!("skipped: the counters of this machine are taken by somebody else: {}", answer["absent"]);
        return;
    }
    assert!(figure("TscCycles", "tsc-chain").is_some(), "{answer}");
    let retired = figure("RetiredInstructions", "pmu").and_then(|figure| figure["value"].as_f64());
    assert_eq!(retired.map(f64::round), Some(1003.0), "{answer}");
}
