//! Faults in words: which signal, where in the function, at what data, by which instruction.
//!
//! Everything in a [`Fault`] is a claim of a process whose memory the function may have overwritten. Numbers are shown as
//! numbers and code is only disassembled, so the worst a forged fault does is mislead whoever forged it.

mod place;
mod signal;
mod system_call;

use serde_json::{Value, json};
use webrunner_protocol::fault::{CodeMode, DataPlace, Fault, FaultCause};

pub use self::place::CallNames;
pub use self::signal::signal_name;
pub use self::system_call::{SystemCallReport, system_call_name};
use crate::machine::isa;

/// A signal the function raised, described.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultReport {
    fault: Fault,
    signal: i32,
    code: i32,
    address: Option<u64>,
    /// What lies at `address`, in words.
    data: Option<String>,
}

impl FaultReport {
    /// Describes a fault; a cause that is no signal is described as signal 0.
    #[must_use]
    pub fn new(fault: &Fault, names: &CallNames<'_>) -> Self {
        let (signal, code, address, place) = match fault.cause {
            FaultCause::Signal { signal, code, address, place } => (signal, code, address, place),
            FaultCause::SystemCall { .. } | FaultCause::CpuTime => (0, 0, 0, DataPlace::Elsewhere),
        };
        // Only these carry a data address; a general-protection fault and an alignment check carry none.
        let has_address = match signal {
            signal::SIGSEGV => code != signal::SI_KERNEL,
            signal::SIGBUS => code != signal::SI_KERNEL && code != signal::BUS_ADRALN,
            _ => false,
        };
        Self {
            fault: *fault,
            signal,
            code,
            address: has_address.then_some(address),
            data: has_address.then(|| place::data_words(place, names)),
        }
    }

    /// The instruction as text, read in the mode it was run in; `None` where it cannot be told.
    fn instruction(&self) -> Option<String> {
        isa::disassemble(self.fault.instruction.as_slice(), self.fault.mode, self.fault.ip)
    }

    /// The same, or a word for it; and a word for its mode where that is not the usual one.
    #[must_use]
    pub fn instruction_words(&self) -> String {
        let text = self.instruction().map_or_else(|| "an instruction".to_owned(), |text| format!("`{text}`"));
        match self.fault.mode {
            CodeMode::Bits64 => text,
            CodeMode::Bits32 => format!("{text} (32-bit code)"),
        }
    }

    /// What happened, as a sentence that says what to do.
    #[must_use]
    pub fn sentence(&self) -> String {
        let name = signal_name(self.signal);
        let what = signal::code_words(self.signal, self.code);
        let at = match (self.address, &self.data) {
            (Some(address), Some(data)) => format!(" at {address:#x}, {data}"),
            _ => String::new(),
        };
        let ip = place::code_words(self.fault.ip_place);
        format!(
            "{name} ({what}){at}, raised by {} {ip}. {}",
            self.instruction_words(),
            signal::advice(self.signal, self.code)
        )
    }

    /// Members of the problem body.
    #[must_use]
    pub fn members(&self) -> Value {
        let bytes = self.fault.instruction.as_slice();
        json!({
            "signal": signal_name(self.signal),
            "signal_number": self.signal,
            "code": self.code,
            "code_text": signal::code_words(self.signal, self.code),
            "address": self.address.map(hex),
            "place": self.data,
            "instruction_pointer": hex(self.fault.ip),
            "function_offset": place::function_offset(self.fault.ip_place),
            "instruction_bytes": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
            "instruction": self.instruction(),
            "code_bits": self.fault.mode.bits(),
        })
    }
}

fn hex(address: u64) -> String {
    format!("{address:#x}")
}

#[cfg(test)]
mod tests {
    use webrunner_protocol::fault::{CodePlace, InstructionBytes};
    use webrunner_protocol::plan::{Argument, Buffer, CallPlan, Direction, ElementType, Fill, ReturnType};

    use super::*;

    fn plan() -> CallPlan {
        let buffer = Buffer {
            elements: 16,
            element: ElementType::Float,
            offset: 0,
            fill: Fill::Zero,
            direction: Direction::In,
        };
        CallPlan {
            arguments: vec![Argument::Integer(16), Argument::Pointer(0)],
            buffers: vec![buffer],
            returns: ReturnType::Void,
        }
    }

    fn fault(cause: FaultCause, code: &[u8]) -> Fault {
        Fault {
            cause,
            ip: 0x2000,
            ip_place: CodePlace::Object { function_offset: 0x12 },
            mode: CodeMode::Bits64,
            instruction: InstructionBytes::new(code),
        }
    }

    #[test]
    fn a_read_past_a_buffer_names_the_argument_and_the_distance() {
        let place = DataPlace::NearBuffer { buffer: 0, offset: 68 };
        let cause = FaultCause::Signal { signal: 11, code: 1, address: 0x10044, place };
        let plan = plan();
        let names = CallNames::new("void f(size_t n, const float* x)", &plan);
        // movss xmm0, [rsi]
        let report = FaultReport::new(&fault(cause, &[0xf3, 0x0f, 0x10, 0x06]), &names);
        let sentence = report.sentence();
        assert!(
            sentence.starts_with(
                "SIGSEGV (nothing is mapped there) at 0x10044, 4 bytes past the end of x (64 bytes), \
                 raised by `movss xmm0, [rsi]` at offset 0x12 of the function."
            ),
            "{sentence}"
        );
        assert_eq!(report.members()["instruction_bytes"], "f30f1006");
        assert_eq!(report.members()["function_offset"], 0x12);
    }

    #[test]
    fn a_general_protection_fault_claims_no_address() {
        let cause = FaultCause::Signal { signal: 11, code: 128, address: 0, place: DataPlace::Null };
        let report = FaultReport::new(&fault(cause, &[0xf4]), &CallNames::default());
        assert_eq!(report.members()["address"], Value::Null);
        assert!(report.sentence().contains("`hlt`"), "{}", report.sentence());
    }

    #[test]
    fn code_of_32_bits_is_read_as_such_and_said_to_be() {
        let cause = FaultCause::Signal { signal: 11, code: 1, address: 0, place: DataPlace::Null };
        // Of 64 bits these bytes are a load from an address of eight bytes, of which four are missing.
        let fault = Fault { mode: CodeMode::Bits32, ..fault(cause, &[0xa1, 0, 0, 0, 0]) };
        let report = FaultReport::new(&fault, &CallNames::default());
        assert!(
            report.sentence().contains("raised by `mov eax, [0]` (32-bit code)"),
            "{}",
            report.sentence()
        );
        assert_eq!(report.members()["code_bits"], 32);
    }

    #[test]
    fn an_alignment_check_claims_no_null_pointer() {
        let cause = FaultCause::Signal { signal: 7, code: 1, address: 0, place: DataPlace::Null };
        let report = FaultReport::new(&fault(cause, &[0x8b, 0x00]), &CallNames::default());
        assert_eq!(report.members()["address"], Value::Null);
        assert!(
            report.sentence().starts_with("SIGBUS (misaligned address), raised by"),
            "{}",
            report.sentence()
        );
    }

    #[test]
    fn bytes_that_are_no_instruction_do_not_stop_the_description() {
        let cause = FaultCause::Signal { signal: 4, code: 2, address: 0x2000, place: DataPlace::Elsewhere };
        for bytes in [&[][..], &[0x62], &[0x06; 15]] {
            let report = FaultReport::new(&fault(cause, bytes), &CallNames::default());
            assert_eq!(report.members()["instruction"], Value::Null);
            assert!(report.sentence().contains("an instruction"));
        }
    }
}
