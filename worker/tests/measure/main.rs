//! The harness against real machine code. Here are the functions it calls and the session they share.
//!
//! - `convention`: where arguments arrive, and what is found about functions that break the convention.
//! - `rounds`: measuring ends with figures whatever the function does, and calls it as often and as prepared as was asked.
//!
//! Trusts that no two tests use the trampoline at once, which `Session` sees to. Times are never asserted.

mod convention;
mod rounds;

use std::arch::global_asm;
use std::cell::UnsafeCell;

use webrunner_protocol::job::Effort;
use webrunner_protocol::plan::Argument;
use webrunner_worker::measure::{
    Host, Measured, NoCounters, NoInputs, PreparedCall, Schedule, Session, measure,
};

macro_rules! function {
    ($name:ident, $($line:expr),+ $(,)?) => {
        global_asm!(
            ".p2align 4",
            concat!(".globl test_", stringify!($name)),
            concat!("test_", stringify!($name), ":"),
            $($line),+,
            // Not every function writes to it.
            "/* {seen} */",
            seen = sym SEEN,
        );
        #[allow(non_snake_case)]
        fn $name() -> u64 {
            unsafe extern "sysv64" {
                #[link_name = concat!("test_", stringify!($name))]
                fn code();
            }
            code as *const () as u64
        }
    };
}

/// What the functions below write down. Words 0 to 5: integer registers; 6 to 13: vector registers; 14: rax; 15: rsp;
/// 16: MXCSR; 17: x87 control word; 18: flags; 19: everything that should be zero, or-ed; 20 on: the stack at entry.
#[repr(transparent)]
struct Seen(UnsafeCell<[u64; 64]>);

// SAFETY: only the holder of the one `Session` calls the functions, and reads this before it gives the session back.
unsafe impl Sync for Seen {}

static SEEN: Seen = Seen(UnsafeCell::new([0; 64]));

// Writes down all it is given, and returns 42 in rax and 2.5f in xmm0.
function!(
    observer,
    "mov [rip + {seen} + 112], rax",
    "mov [rip + {seen}], rdi",
    "mov [rip + {seen} + 8], rsi",
    "mov [rip + {seen} + 16], rdx",
    "mov [rip + {seen} + 24], rcx",
    "mov [rip + {seen} + 32], r8",
    "mov [rip + {seen} + 40], r9",
    "movsd [rip + {seen} + 48], xmm0",
    "movsd [rip + {seen} + 56], xmm1",
    "movsd [rip + {seen} + 64], xmm2",
    "movsd [rip + {seen} + 72], xmm3",
    "movsd [rip + {seen} + 80], xmm4",
    "movsd [rip + {seen} + 88], xmm5",
    "movsd [rip + {seen} + 96], xmm6",
    "movsd [rip + {seen} + 104], xmm7",
    "mov [rip + {seen} + 120], rsp",
    "stmxcsr [rip + {seen} + 128]",
    "fnstcw [rip + {seen} + 136]",
    "pushfq",
    "pop qword ptr [rip + {seen} + 144]",
    "or r10, r11",
    ".irp register, 8, 9, 10, 11, 12, 13, 14, 15",
    "movq r11, xmm\\register",
    "or r10, r11",
    "psrldq xmm\\register, 8",
    "movq r11, xmm\\register",
    "or r10, r11",
    ".endr",
    "or [rip + {seen} + 152], r10",
    "lea r11, [rip + {seen} + 160]",
    "xor ecx, ecx",
    "2: mov rax, [rsp + 8 * rcx + 8]",
    "mov [r11 + 8 * rcx], rax",
    "inc ecx",
    "cmp ecx, 26",
    "jb 2b",
    "mov ecx, 0x40200000",
    "movd xmm0, ecx",
    "mov eax, 42",
    "ret",
);

// Adds up its two stack arguments and spoils them, as a callee may. Sets word 0 if the sum was ever another.
function!(
    spoiler,
    "mov rax, [rsp + 8]",
    "add rax, [rsp + 16]",
    "cmp rax, 15",
    "je 2f",
    "mov qword ptr [rip + {seen}], 1",
    "2: mov qword ptr [rsp + 8], -1",
    "mov qword ptr [rsp + 16], -1",
    "ret",
);

// Returns how often it was called.
function!(counting, "inc qword ptr [rip + {seen}]", "mov rax, [rip + {seen}]", "ret");

function!(empty, "ret");
function!(destroys_rbx_and_r13, "xor ebx, ebx", "not r13", "ret");
function!(
    destroys_everything,
    "mov rax, -1",
    ".irp register, rbx, rbp, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15",
    "mov \\register, rax",
    ".endr",
    ".irp register, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "pcmpeqd xmm\\register, xmm\\register",
    ".endr",
    "ret",
);
function!(pops_its_arguments, "ret 8");
function!(moves_the_stack, "pop rcx", "sub rsp, 4096", "jmp rcx");
function!(loses_the_stack, "pop rcx", "xor esp, esp", "jmp rcx");
function!(sets_the_direction_flag, "std", "ret");
function!(sets_alignment_check, "pushfq", "or dword ptr [rsp], 0x40000", "popfq", "ret");
function!(flushes_denormals, "mov dword ptr [rsp - 8], 0x9fc0", "ldmxcsr [rsp - 8]", "ret");
function!(raises_status_flags, "mov dword ptr [rsp - 8], 0x1fbf", "ldmxcsr [rsp - 8]", "ret");
function!(unmasks_exceptions, "mov dword ptr [rsp - 8], 0", "ldmxcsr [rsp - 8]", "ret");
function!(fills_the_x87_stack, ".rept 8", "fld1", ".endr", "ret");
function!(forgets_emms, "movd mm0, eax", "ret");
function!(rounds_x87_to_single, "mov word ptr [rsp - 8], 0x7f", "fldcw [rsp - 8]", "ret");
function!(dirties_upper_halves, "vxorps ymm3, ymm3, ymm3", "vcmptrueps ymm3, ymm3, ymm3", "ret");
function!(cleans_upper_halves, "vcmptrueps ymm3, ymm3, ymm3", "vzeroupper", "ret");

/// The one session of the process and a stack to call on.
struct Bench {
    session: Session,
    host: Host,
    stack: Vec<u128>,
}

impl Bench {
    /// Waits for the tests that run beside this one.
    fn new() -> Self {
        let mut session = loop {
            match Session::open() {
                Some(session) => break session,
                None => std::thread::yield_now(),
            }
        };
        // SAFETY: the session is held, so no function writes.
        unsafe { *SEEN.0.get() = [0; 64] };
        let host = Host::probe(&mut session, 2500.0);
        Self { session, host, stack: vec![0; 1024] }
    }

    /// Leaves room above the top for functions that read more of the stack than they were given.
    fn stack_top(&self) -> u64 {
        &raw const self.stack[900] as u64
    }

    fn run(&mut self, function: u64, arguments: &[Argument], schedule: &Schedule) -> Measured {
        let call =
            PreparedCall::new(arguments, &[], function, self.stack_top()).expect("a call that can be placed");
        // SAFETY: the functions above return, stay on the stack they are given, and write nowhere but there and to SEEN.
        unsafe { measure(&mut self.session, &call, schedule, &self.host, &mut NoCounters, &mut NoInputs) }
    }

    fn seen(&self) -> [u64; 64] {
        // SAFETY: the session is held and no call is running.
        unsafe { *SEEN.0.get() }
    }
}

fn quick() -> Schedule {
    Schedule::of(Effort::Quick)
}

/// Gated, but over in milliseconds whatever the machine does meanwhile.
fn short() -> Schedule {
    Schedule { wanted_rounds: 3, budget_us: 2e3, warm_up_us: 10.0, ..Schedule::of(Effort::Standard) }
}
