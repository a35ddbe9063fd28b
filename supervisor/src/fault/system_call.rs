//! A refused system call, by name.

use serde_json::{Value, json};
use syscalls::Sysno;
use webrunner_protocol::fault::Fault;

use super::place;

/// Set in the number of a call made through the x32 table.
const X32_BIT: i32 = 0x4000_0000;

/// A system call the filter refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemCallReport {
    number: i32,
    name: Option<&'static str>,
    x32: bool,
    place: String,
    function_offset: Option<i64>,
}

/// The name of a system call, of those in the kernel's table; the same for a call through the x32 table.
#[must_use]
pub fn system_call_name(number: i32) -> Option<&'static str> {
    let plain = if is_x32(number) { number & !X32_BIT } else { number };
    usize::try_from(plain).ok().and_then(Sysno::new).map(|call| call.name())
}

fn is_x32(number: i32) -> bool {
    number > 0 && number & X32_BIT != 0
}

impl SystemCallReport {
    /// Describes the call with this number; `fault` says where it was made.
    #[must_use]
    pub fn new(number: i32, fault: &Fault) -> Self {
        Self {
            number,
            name: system_call_name(number),
            x32: is_x32(number),
            place: place::code_words(fault.ip_place),
            function_offset: place::function_offset(fault.ip_place),
        }
    }

    /// What happened and what to do.
    #[must_use]
    pub fn sentence(&self) -> String {
        let name = self.name.map_or_else(|| "an unknown call".to_owned(), |name| format!("`{name}`"));
        let table = if self.x32 { ", x32 table" } else { "" };
        format!(
            "The function called {name} (number {}{table}) {}; a kernel may make no system call at all.",
            self.number, self.place
        )
    }

    /// Members of the problem body; of a call by the 32-bit gate nothing is known but that it was not one of the x32 table.
    #[must_use]
    pub fn members(call: Option<&Self>) -> Value {
        json!({
            "syscall": call.and_then(|call| call.name),
            "syscall_number": call.map(|call| call.number),
            "x32": call.is_some_and(|call| call.x32),
            "function_offset": call.and_then(|call| call.function_offset),
        })
    }
}

#[cfg(test)]
mod tests {
    use webrunner_protocol::fault::{CodeMode, CodePlace, FaultCause, InstructionBytes};

    use super::*;

    fn report(number: i32) -> SystemCallReport {
        let fault = Fault {
            cause: FaultCause::SystemCall { number },
            ip: 0,
            ip_place: CodePlace::Object { function_offset: 5 },
            mode: CodeMode::Bits64,
            instruction: InstructionBytes::default(),
        };
        SystemCallReport::new(number, &fault)
    }

    #[test]
    fn a_call_is_named_with_its_number() {
        let sentence = report(2).sentence();
        assert!(sentence.starts_with("The function called `open` (number 2) at offset 0x5"), "{sentence}");
    }

    #[test]
    fn a_call_through_the_x32_table_is_named_and_marked() {
        let members = SystemCallReport::members(Some(&report(0x4000_0000 | 39)));
        assert_eq!((members["syscall"].as_str(), members["x32"].as_bool()), (Some("getpid"), Some(true)));
    }

    #[test]
    fn numbers_that_name_no_call_are_still_described() {
        for number in [-1, i32::MIN, i32::MAX, 100_000] {
            assert_eq!(SystemCallReport::members(Some(&report(number)))["syscall"], Value::Null);
            assert!(report(number).sentence().contains("an unknown call"));
        }
    }
}
