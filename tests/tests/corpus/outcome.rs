//! What a user sees of an attack: assertions on answers, and the words of the control.

use serde_json::{Value, json};
use webrunner_tests::http::{Answer, slug};

use crate::target::body;

/// Asserts that the lock refused this call, by name.
pub(crate) fn is_refused(answer: &Answer, call: &str) {
    let problem = body(answer);
    assert_eq!((answer.status, slug(&problem)), (422, "system-call-refused"), "{problem}");
    assert_eq!(problem["syscall"], call, "{problem}");
}

/// Whether the lock refused the call of this number.
pub(crate) fn refuses(answer: &Answer, number: u64) -> bool {
    let refusal = (answer.status == 422).then(|| answer.problem());
    refusal.is_some_and(|problem| {
        slug(&problem) == "system-call-refused" && problem["syscall_number"] == json!(number)
    })
}

/// Asserts that the process was ended for a call through the gate of another architecture, or that there is no such gate
/// here: then one of these signals was raised.
pub(crate) fn is_foreign_or(answer: &Answer, signals: &[&str]) {
    let problem = body(answer);
    assert_eq!(answer.status, 422, "{problem}");
    let unknown = |member: &str| problem.get(member) == Some(&Value::Null);
    let refused = slug(&problem) == "system-call-refused"
        && ["syscall", "syscall_number", "function_offset"].into_iter().all(unknown)
        && problem["x32"] == false;
    let raised = signals.iter().any(|signal| problem["signal"] == *signal);
    assert!(refused || raised, "{problem}");
}

/// Asserts that a signal was raised, with its code where that is told.
pub(crate) fn raises(answer: &Answer, signal: &str, code: Option<i64>) {
    let problem = body(answer);
    assert_eq!((answer.status, slug(&problem)), (422, "fault"), "{problem}");
    assert_eq!(problem["signal"], signal, "{problem}");
    assert!(code.is_none_or(|code| problem["code"] == code), "code {code:?} was expected: {problem}");
}

/// Asserts that the function ended its process with this code.
pub(crate) fn ends_with(answer: &Answer, code: i64) {
    assert_eq!(exit_code(answer), Some(code), "{}", body(answer));
}

/// The code the function ended its process with.
pub(crate) fn exit_code(answer: &Answer) -> Option<i64> {
    let problem = body(answer);
    if slug(&problem) == "kernel-exited" { problem["exit_code"].as_i64() } else { None }
}

/// Asserts that the problem is of this kind.
pub(crate) fn is(answer: &Answer, expected: &str) {
    let problem = body(answer);
    assert_eq!((answer.status, slug(&problem)), (422, expected), "{problem}");
}

/// Asserts that the function was measured.
pub(crate) fn is_measured(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// What comes of an attack where no lock is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Control {
    /// It does what it set out to do, and says so.
    Works,
    /// It ends the process with this code.
    Ends(i64),
    /// The kernel is asked and answers, as this host is set up: with success or an error of its own.
    Reaches,
}

impl Control {
    /// Asserts that it came about.
    pub(crate) fn holds(self, attack: &str, answer: &Answer) {
        let code = exit_code(answer);
        let as_said = match self {
            Self::Works => code == Some(0),
            Self::Ends(expected) => code == Some(expected),
            // 255 is what an attack says that came to nothing (objects/hostile/attack.h).
            Self::Reaches => code.is_some_and(|code| code < 255),
        };
        assert!(as_said, "{attack}, without the lock, was to be {self:?}: {}", body(answer));
    }
}
