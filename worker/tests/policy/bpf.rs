//! Runs seccomp programs as the kernel would: classic BPF over `struct seccomp_data`.
//!
//! Knows the instructions a filter may hold (`seccomp_check_filter` of the kernel) and panics on any other, on a jump
//! out of the program and on a load outside the data: the kernel would have refused such a program.

use seccompiler::sock_filter;

/// `AUDIT_ARCH_X86_64` of linux/audit.h.
pub(crate) const X86_64: u32 = 0xc000_003e;

/// A system call as a filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: u32,
    pub(crate) architecture: u32,
    pub(crate) arguments: [u64; 6],
}

impl Call {
    pub(crate) fn new(number: i64, arguments: [u64; 6]) -> Self {
        Self { number: number as u32, architecture: X86_64, arguments }
    }

    /// `struct seccomp_data` of linux/seccomp.h in words, little endian: the low half of an argument comes first.
    fn words(&self) -> [u32; 16] {
        const SOMEWHERE: u64 = 0x0040_1000;
        let mut words = [0; 16];
        (words[0], words[1]) = (self.number, self.architecture);
        for (index, value) in std::iter::once(SOMEWHERE).chain(self.arguments).enumerate() {
            (words[2 + 2 * index], words[3 + 2 * index]) = (value as u32, (value >> 32) as u32);
        }
        words
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow,
    Trap,
    KillProcess,
}

impl Verdict {
    fn of(value: u32) -> Self {
        match value {
            libc::SECCOMP_RET_ALLOW => Self::Allow,
            libc::SECCOMP_RET_TRAP => Self::Trap,
            libc::SECCOMP_RET_KILL_PROCESS => Self::KillProcess,
            other => panic!("the filter returned {other:#x}"),
        }
    }
}

/// What `program` says of `call`.
pub(crate) fn run(program: &[sock_filter], call: &Call) -> Verdict {
    let data = call.words();
    let (mut a, mut x, mut scratch, mut at) = (0_u32, 0_u32, [0_u32; 16], 0);
    loop {
        let instruction = &program[at];
        let (code, k) = (u32::from(instruction.code), instruction.k);
        at += 1;
        // Jumps and arithmetic on X instead of the constant have one bit more.
        let operand = if code & libc::BPF_X != 0 { x } else { k };
        match code & 7 {
            libc::BPF_LD if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                assert!(k.is_multiple_of(4), "a load at {k} is not of a word");
                a = data[k as usize / 4];
            }
            libc::BPF_LD => a = immediate(code, k, &scratch),
            libc::BPF_LDX => x = immediate(code, k, &scratch),
            libc::BPF_ST => scratch[k as usize] = a,
            libc::BPF_STX => scratch[k as usize] = x,
            libc::BPF_ALU => a = arithmetic(code & 0xf0, a, operand),
            libc::BPF_JMP if code & 0xf0 == libc::BPF_JA => at += k as usize,
            libc::BPF_JMP => {
                let taken = is_taken(code & 0xf0, a, operand);
                at += usize::from(if taken { instruction.jt } else { instruction.jf });
            }
            libc::BPF_RET => return Verdict::of(if code & 0x18 == libc::BPF_A { a } else { k }),
            _ if code == libc::BPF_MISC | libc::BPF_TAX => x = a,
            _ if code == libc::BPF_MISC | libc::BPF_TXA => a = x,
            _ => panic!("no filter holds instruction {code:#x}"),
        }
    }
}

fn immediate(code: u32, k: u32, scratch: &[u32; 16]) -> u32 {
    match code & 0xf8 {
        libc::BPF_IMM => k,
        libc::BPF_MEM => scratch[k as usize],
        _ => panic!("no filter holds load {code:#x}"),
    }
}

fn arithmetic(operation: u32, a: u32, operand: u32) -> u32 {
    match operation {
        libc::BPF_AND => a & operand,
        libc::BPF_OR => a | operand,
        libc::BPF_XOR => a ^ operand,
        libc::BPF_ADD => a.wrapping_add(operand),
        libc::BPF_SUB => a.wrapping_sub(operand),
        _ => panic!("arithmetic {operation:#x} is not known here"),
    }
}

fn is_taken(condition: u32, a: u32, operand: u32) -> bool {
    match condition {
        libc::BPF_JEQ => a == operand,
        libc::BPF_JGT => a > operand,
        libc::BPF_JGE => a >= operand,
        libc::BPF_JSET => a & operand != 0,
        _ => panic!("jump {condition:#x} is not known here"),
    }
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

#[test]
fn a_program_by_hand_is_run_as_written() {
    use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
    // Allows call 7 if the second argument's high half has bit 4 and its low half is anything.
    let program = [
        instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, 7),
        instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, 28),
        instruction(BPF_ALU | BPF_AND | BPF_K, 0, 0, 0x10),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0x10),
        instruction(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        instruction(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_TRAP),
    ];
    let verdict = |number, second| run(&program, &Call::new(number, [0, second, 0, 0, 0, 0]));
    assert_eq!(verdict(7, 0x10 << 32), Verdict::Allow);
    assert_eq!(verdict(7, 0xff << 32 | 5), Verdict::Allow);
    assert_eq!(verdict(7, 0x10), Verdict::Trap);
    assert_eq!(verdict(8, 0x10 << 32), Verdict::Trap);
}

#[test]
fn words_lie_where_the_kernel_puts_them() {
    let arguments = [1, 2, 3, 4, 5, 0x1122_3344_5566_7788];
    let call = Call::new(-1, arguments);
    // SAFETY: any bytes make a valid structure of integers, and the sizes are the same.
    let data: libc::seccomp_data = unsafe { std::mem::transmute(call.words()) };
    assert_eq!((data.nr, data.arch, data.args), (-1, X86_64, arguments));
}
