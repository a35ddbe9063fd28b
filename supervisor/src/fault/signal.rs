//! Signals in words: names, what their codes mean, what to do. Facts from sigaction(2) and signal(7).

pub(super) const SIGBUS: i32 = 7;
pub(super) const SIGSEGV: i32 = 11;
const SIGILL: i32 = 4;
const SIGTRAP: i32 = 5;
const SIGFPE: i32 = 8;

/// `si_code` of faults the kernel describes no further: general protection, `int3`, stack faults.
pub(super) const SI_KERNEL: i32 = 128;

/// `si_code` of SIGBUS for a misaligned access with AC set; x86 kernels give no address with it.
pub(super) const BUS_ADRALN: i32 = 1;

/// A signal's name, or its number for those without one.
#[must_use]
pub fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        SIGILL => "SIGILL",
        SIGTRAP => "SIGTRAP",
        6 => "SIGABRT",
        SIGBUS => "SIGBUS",
        SIGFPE => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        SIGSEGV => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

/// What a signal's code means.
pub(super) fn code_words(signal: i32, code: i32) -> &'static str {
    match (signal, code) {
        (SIGSEGV, 1) => "nothing is mapped there",
        (SIGSEGV, 2) => "that access is not permitted there",
        (SIGSEGV, 4) => "a protection key forbids it",
        (SIGSEGV, SI_KERNEL) => {
            "general protection: a non-canonical address, a misaligned vector access or a \
                                 privileged instruction"
        }
        (SIGBUS, BUS_ADRALN) => "misaligned address",
        (SIGBUS, 2) => "no memory behind that address",
        (SIGBUS, SI_KERNEL) => "stack segment fault: a non-canonical stack address",
        (SIGILL, 1..=3) => "illegal instruction",
        (SIGILL, 5 | 6) => "privileged instruction",
        (SIGFPE, 1) => "integer division by zero or overflow of a quotient",
        (SIGFPE, 2) => "integer overflow",
        (SIGFPE, 3) => "floating-point division by zero",
        (SIGFPE, 4) => "floating-point overflow",
        (SIGFPE, 5) => "floating-point underflow",
        (SIGFPE, 6) => "inexact floating-point result",
        (SIGFPE, 7) => "invalid floating-point operation",
        (SIGTRAP, 1 | SI_KERNEL) => "breakpoint",
        (SIGTRAP, 2) => "single step",
        _ => "no further description",
    }
}

/// What the client can do about it.
pub(super) fn advice(signal: i32, code: i32) -> &'static str {
    match (signal, code) {
        (SIGSEGV, SI_KERNEL) => "Check alignment of vector accesses and the addresses the function computes.",
        (SIGSEGV | SIGBUS, _) => "Check the function's bounds against the lengths of its arguments.",
        (SIGILL, _) => "Check that the object is built for this machine and that no jump leaves its code.",
        (SIGFPE, _) => "Check divisors, and MXCSR if the function unmasks exceptions.",
        (SIGTRAP, _) => "Remove breakpoints and uses of the trap flag.",
        _ => "Check what the function does there.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_signals_keep_their_number() {
        assert_eq!(signal_name(SIGSEGV), "SIGSEGV");
        assert_eq!(signal_name(64), "signal 64");
        assert_eq!(signal_name(-1), "signal -1");
    }
}
