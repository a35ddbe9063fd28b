//! The one place from which the function under test is called, and the only state that call depends on.
//!
//! The function is hostile: on return no register can be relied on. So everything the trampoline needs afterwards lies
//! in one static, reached relative to `rip`, which a function that returns at all has given back. What a function may
//! write over that static hurts its own answer and nothing else.
//!
//! Every call of a batch takes the same steps, whether it goes to the function, to a built-in chain or to the empty
//! function: what the steps cost is then the same for all, and the fit takes it out. The steps are the same, but each
//! [`Target`] has a copy of them, aligned alike: a CPU predicts an indirect call from what led to it, and one call
//! instruction with changing targets was seen to be mispredicted call after call, for 13 cycles each.
//!
//! The function has a copy for each place in memory that it is measured at, for the same reason.
//!
//! State on entry: MXCSR 0x1F80 (0x9FC0 if denormals are to be flushed), x87 as after `fninit`, DF, AC and TF clear,
//! upper halves clean, `rsp` = 16n + 8, canaries in the callee-saved registers, zero in every other register that holds
//! no argument, `al` = vector arguments. Of these MXCSR, x87 and the flags are set once a batch, outside the timed
//! part. Registers that only AVX-512 has are left alone: touching them would change the state the function starts in.

use std::arch::naked_asm;
use std::cell::UnsafeCell;
use std::mem::offset_of;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use webrunner_protocol::limits::{MAX_ARGUMENTS, MAX_PLACEMENTS};

use super::call::{INTEGER_REGISTERS, PreparedCall, VECTOR_REGISTERS};

/// MXCSR of a fresh process: all exceptions masked, nearest rounding, no flushing of denormals.
pub(super) const ENTRY_MXCSR: u32 = 0x1F80;

/// The same with FTZ and DAZ: denormals are taken for zero, and results that would be denormal become zero.
pub(super) const FLUSHING_MXCSR: u32 = 0x9FC0;

/// What rbx, rbp, r12, r13, r14 and r15 hold at entry: no addresses, no small numbers, none the negative of another.
const CANARIES: [u64; 6] = [
    0x9E37_79B9_7F4A_7C15,
    0xC2B2_AE3D_27D4_EB4F,
    0x1656_67B1_9E37_79F9,
    0x85EB_CA77_C2B2_AE63,
    0x27D4_EB2F_1656_67C5,
    0xD6E8_FEB8_6659_FD93,
];

/// All that a batch reads and writes. Reads come first: the lines the function's arguments lie on are never written.
#[repr(C, align(64))]
struct Context {
    function: u64,
    stack_start: u64,
    stack_count: u64,
    vector_count: u64,
    integer: [u64; INTEGER_REGISTERS],
    vector: [u64; VECTOR_REGISTERS],
    stack: [u64; MAX_ARGUMENTS],
    canaries: [u64; 6],
    entry_mxcsr: u32,
    /// 1 where `vzeroupper` exists.
    avx: u32,
    /// 1 where `xgetbv` tells whether upper halves are dirty.
    tracks_upper: u32,
    written: Written,
}

/// What a batch writes.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Written {
    remaining: u64,
    rsp: u64,
    host_rsp: u64,
    start: u64,
    end: u64,
    rax: u64,
    xmm0: u64,
    flags: u64,
    callee_saved: [u64; 6],
    x87: [u32; 7],
    mxcsr: u32,
    host_mxcsr: u32,
    host_x87_control: u32,
    upper_halves: u32,
}

/// A static that only the holder of the [`Session`] touches.
#[repr(transparent)]
struct Shared(UnsafeCell<Context>);

// SAFETY: only methods of `Session` reach the cell, and `Session::open` gives out one `Session` at a time.
unsafe impl Sync for Shared {}

#[unsafe(link_section = ".data.webrunner")]
static CONTEXT: Shared = Shared(UnsafeCell::new(Context {
    function: 0,
    stack_start: 0,
    stack_count: 0,
    vector_count: 0,
    integer: [0; INTEGER_REGISTERS],
    vector: [0; VECTOR_REGISTERS],
    stack: [0; MAX_ARGUMENTS],
    canaries: CANARIES,
    entry_mxcsr: ENTRY_MXCSR,
    avx: 0,
    tracks_upper: 0,
    written: Written {
        remaining: 0,
        rsp: 0,
        host_rsp: 0,
        start: 0,
        end: 0,
        rax: 0,
        xmm0: 0,
        flags: 0,
        callee_saved: [0; 6],
        x87: [0; 7],
        mxcsr: 0,
        host_mxcsr: 0,
        host_x87_control: 0,
        upper_halves: 0,
    },
}));

static TAKEN: AtomicBool = AtomicBool::new(false);

/// The right to use the trampoline. There is one: its state is a static, see the module.
#[derive(Debug)]
pub struct Session(());

/// What a batch calls, and how its calls follow each other: with a fence before and after each, so that nothing of one
/// overlaps the next, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The function under test, at the place of this number.
    Function(u8),
    /// The same, with fences at the ends of the batch only.
    BackToBack(u8),
    /// [`SHORT_CHAIN`](super::builtin::SHORT_CHAIN) additions.
    ShortChain,
    /// [`LONG_CHAIN`](super::builtin::LONG_CHAIN) additions.
    LongChain,
    /// Nothing but a return.
    Empty,
}

/// What the last call of a batch left behind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub(super) rax: u64,
    pub(super) xmm0: u64,
    pub(super) rsp: u64,
    pub(super) flags: u64,
    pub(super) mxcsr: u32,
    pub(super) x87_control: u16,
    pub(super) x87_tags: u16,
    /// Result of `xgetbv`; 0 where that is not asked.
    pub(super) upper_halves: u32,
    /// Bit 0 rbx, 1 rbp, 2 r12, 3 r13, 4 r14, 5 r15.
    pub(super) clobbered: u8,
}

impl Session {
    /// Takes the trampoline; `None` while another `Session` exists in this process.
    #[must_use]
    pub fn open() -> Option<Self> {
        if TAKEN.swap(true, Ordering::Acquire) { None } else { Some(Self(())) }
    }

    /// Addresses of what each call reads and writes beside what the function does.
    #[must_use]
    pub fn memory(&self) -> Range<usize> {
        let start = CONTEXT.0.get() as usize;
        start..start + size_of::<Context>()
    }

    /// Writes to the trampoline's state without changing it, so that its page is there when a measurement begins.
    pub fn touch(&mut self) {
        let context = self.context();
        // SAFETY: a valid exclusive reference; volatile so that the write is made.
        unsafe { std::ptr::write_volatile(&raw mut context.stack_count, context.stack_count) };
    }

    /// Puts a call's arguments and stack in place for the batches to come.
    pub(super) fn load(&mut self, call: &PreparedCall, avx: bool, tracks_upper: bool) {
        let context = self.context();
        context.stack_start = call.stack_start();
        context.stack_count = call.stack_count as u64;
        context.vector_count = call.vector_count as u64;
        context.integer = call.integer;
        context.vector = call.vector;
        context.stack = call.stack;
        context.entry_mxcsr = call.mxcsr;
        context.avx = avx.into();
        context.tracks_upper = tracks_upper.into();
    }

    /// Calls the code at `function` `calls` times in the way of `target` and gives the ticks from before the first call
    /// to after the last.
    ///
    /// # Safety
    /// `function` must be code that may be called with the arguments loaded last, on the stack loaded last; the stack
    /// must be writable memory that nothing else uses. Whatever that code does is done to this process. With 0
    /// calls neither is used.
    pub(super) unsafe fn batch(&mut self, target: Target, function: u64, calls: u64) -> u64 {
        let context = self.context();
        context.function = function;
        context.written.remaining = calls;
        // SAFETY: the context is filled in, `self` is the only one to use it, and the caller vouches for the function.
        unsafe {
            match target {
                Target::Function(1) => second_function_batch(),
                Target::Function(2) => third_function_batch(),
                Target::Function(3) => fourth_function_batch(),
                Target::Function(_) => function_batch(),
                Target::BackToBack(1) => second_back_to_back_batch(),
                Target::BackToBack(2) => third_back_to_back_batch(),
                Target::BackToBack(3) => fourth_back_to_back_batch(),
                Target::BackToBack(_) => back_to_back_batch(),
                Target::ShortChain => short_chain_batch(),
                Target::LongChain => long_chain_batch(),
                Target::Empty => empty_batch(),
            }
        }
        let written = self.written();
        written.end.saturating_sub(written.start)
    }

    /// What the last call of the last batch left behind.
    pub(super) fn left(&self) -> Left {
        let written = self.written();
        let mut clobbered = 0;
        for (bit, (found, expected)) in written.callee_saved.iter().zip(CANARIES).enumerate() {
            clobbered |= u8::from(*found != expected) << bit;
        }
        Left {
            rax: written.rax,
            xmm0: written.xmm0,
            rsp: written.rsp,
            flags: written.flags,
            mxcsr: written.mxcsr,
            x87_control: written.x87[0] as u16,
            x87_tags: written.x87[2] as u16,
            upper_halves: written.upper_halves,
            clobbered,
        }
    }

    fn context(&mut self) -> &mut Context {
        // SAFETY: `self` is the only session, borrowed mutably; no batch runs while the reference lives.
        unsafe { &mut *CONTEXT.0.get() }
    }

    fn written(&self) -> Written {
        // SAFETY: `self` is the only session and no batch is running, so nothing writes to the cell now.
        unsafe { (*CONTEXT.0.get()).written }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

/// Defines a batch; `$fence` stands before and after each call.
macro_rules! batch {
    ($(#[$attribute:meta])* $name:ident, $fence:literal) => {
        $(#[$attribute])*
        ///
        /// # Safety
        /// As for [`Session::batch`]; the context must be filled in and in nobody else's hands.
        #[unsafe(naked)]
        unsafe extern "sysv64" fn $name() {
            naked_asm!(
                "push rbx",
                "push rbp",
                "push r12",
                "push r13",
                "push r14",
                "push r15",
                "push 2",
                "popfq",
                "mov [rip + {context} + {host_rsp}], rsp",
                "stmxcsr [rip + {context} + {host_mxcsr}]",
                "fnstcw [rip + {context} + {host_x87_control}]",
                // The state on entry.
                "ldmxcsr [rip + {context} + {entry_mxcsr}]",
                "fninit",
                "test byte ptr [rip + {context} + {avx}], 1",
                "jz 2f",
                "vzeroall",
                "jmp 3f",
                "2:",
                "xorps xmm0, xmm0",
                "xorps xmm1, xmm1",
                "xorps xmm2, xmm2",
                "xorps xmm3, xmm3",
                "xorps xmm4, xmm4",
                "xorps xmm5, xmm5",
                "xorps xmm6, xmm6",
                "xorps xmm7, xmm7",
                "xorps xmm8, xmm8",
                "xorps xmm9, xmm9",
                "xorps xmm10, xmm10",
                "xorps xmm11, xmm11",
                "xorps xmm12, xmm12",
                "xorps xmm13, xmm13",
                "xorps xmm14, xmm14",
                "xorps xmm15, xmm15",
                "3:",
                "mov rbx, [rip + {context} + {canaries}]",
                "mov rbp, [rip + {context} + {canaries} + 8]",
                "mov r12, [rip + {context} + {canaries} + 16]",
                "mov r13, [rip + {context} + {canaries} + 24]",
                "mov r14, [rip + {context} + {canaries} + 32]",
                "mov r15, [rip + {context} + {canaries} + 40]",
                // Stores made before the batch must not drain into it.
                "mfence",
                "lfence",
                "rdtsc",
                "lfence",
                "shl rdx, 32",
                "add rax, rdx",
                "mov [rip + {context} + {start}], rax",
                "cmp qword ptr [rip + {context} + {remaining}], 0",
                "je 8f",
                ".p2align 6",
                "4:",
                // An SSE load with dirty upper halves is slow on some CPUs, and the next call is to start clean.
                "test byte ptr [rip + {context} + {avx}], 1",
                "jz 5f",
                "vzeroupper",
                "5:",
                // A callee owns its stack arguments, so they are written afresh for each call.
                "mov rsp, [rip + {context} + {stack_start}]",
                "mov rcx, [rip + {context} + {stack_count}]",
                "lea r11, [rip + {context} + {stack} - 8]",
                "test rcx, rcx",
                "jz 7f",
                "6:",
                "push qword ptr [r11 + 8 * rcx]",
                "dec rcx",
                "jnz 6b",
                "7:",
                "mov rdi, [rip + {context} + {integer}]",
                "mov rsi, [rip + {context} + {integer} + 8]",
                "mov rdx, [rip + {context} + {integer} + 16]",
                "mov rcx, [rip + {context} + {integer} + 24]",
                "mov r8, [rip + {context} + {integer} + 32]",
                "mov r9, [rip + {context} + {integer} + 40]",
                "movq xmm0, qword ptr [rip + {context} + {vector}]",
                "movq xmm1, qword ptr [rip + {context} + {vector} + 8]",
                "movq xmm2, qword ptr [rip + {context} + {vector} + 16]",
                "movq xmm3, qword ptr [rip + {context} + {vector} + 24]",
                "movq xmm4, qword ptr [rip + {context} + {vector} + 32]",
                "movq xmm5, qword ptr [rip + {context} + {vector} + 40]",
                "movq xmm6, qword ptr [rip + {context} + {vector} + 48]",
                "movq xmm7, qword ptr [rip + {context} + {vector} + 56]",
                "mov eax, [rip + {context} + {vector_count}]",
                "xor r10d, r10d",
                "xor r11d, r11d",
                $fence,
                "call qword ptr [rip + {context} + {function}]",
                $fence,
                "mov [rip + {context} + {rsp}], rsp",
                "dec qword ptr [rip + {context} + {remaining}]",
                "jnz 4b",
                "8:",
                "mov [rip + {context} + {rax}], rax",
                "lfence",
                "rdtsc",
                "shl rdx, 32",
                "add rax, rdx",
                "mov [rip + {context} + {end}], rax",
                // What the last call left, before anything of it is touched. Every access is aligned: AC may be set.
                "movq qword ptr [rip + {context} + {xmm0}], xmm0",
                "mov [rip + {context} + {callee_saved}], rbx",
                "mov [rip + {context} + {callee_saved} + 8], rbp",
                "mov [rip + {context} + {callee_saved} + 16], r12",
                "mov [rip + {context} + {callee_saved} + 24], r13",
                "mov [rip + {context} + {callee_saved} + 32], r14",
                "mov [rip + {context} + {callee_saved} + 40], r15",
                "mov rsp, [rip + {context} + {host_rsp}]",
                "pushfq",
                "pop qword ptr [rip + {context} + {flags}]",
                "push 2",
                "popfq",
                "stmxcsr [rip + {context} + {mxcsr}]",
                "ldmxcsr [rip + {context} + {host_mxcsr}]",
                "fnstenv [rip + {context} + {x87}]",
                "fninit",
                "fldcw [rip + {context} + {host_x87_control}]",
                "test byte ptr [rip + {context} + {tracks_upper}], 1",
                "jz 9f",
                "mov ecx, 1",
                "xgetbv",
                "mov [rip + {context} + {upper_halves}], eax",
                "9:",
                "test byte ptr [rip + {context} + {avx}], 1",
                "jz 2f",
                "vzeroupper",
                "2:",
                "pop r15",
                "pop r14",
                "pop r13",
                "pop r12",
                "pop rbp",
                "pop rbx",
                "ret",
                context = sym CONTEXT,
                function = const offset_of!(Context, function),
                stack_start = const offset_of!(Context, stack_start),
                stack_count = const offset_of!(Context, stack_count),
                vector_count = const offset_of!(Context, vector_count),
                integer = const offset_of!(Context, integer),
                vector = const offset_of!(Context, vector),
                stack = const offset_of!(Context, stack),
                canaries = const offset_of!(Context, canaries),
                entry_mxcsr = const offset_of!(Context, entry_mxcsr),
                avx = const offset_of!(Context, avx),
                tracks_upper = const offset_of!(Context, tracks_upper),
                remaining = const offset_of!(Context, written.remaining),
                rsp = const offset_of!(Context, written.rsp),
                host_rsp = const offset_of!(Context, written.host_rsp),
                start = const offset_of!(Context, written.start),
                end = const offset_of!(Context, written.end),
                rax = const offset_of!(Context, written.rax),
                xmm0 = const offset_of!(Context, written.xmm0),
                flags = const offset_of!(Context, written.flags),
                callee_saved = const offset_of!(Context, written.callee_saved),
                x87 = const offset_of!(Context, written.x87),
                mxcsr = const offset_of!(Context, written.mxcsr),
                host_mxcsr = const offset_of!(Context, written.host_mxcsr),
                host_x87_control = const offset_of!(Context, written.host_x87_control),
                upper_halves = const offset_of!(Context, written.upper_halves),
            )
        }
    };
}

const _: () = assert!(MAX_PLACEMENTS == 4, "there is a batch for each place a function may have");

batch!(
    /// Runs the batch of the context: [`Target::Function`].
    function_batch,
    "lfence"
);
batch!(
    /// Runs the batch of the context: [`Target::Function`].
    second_function_batch,
    "lfence"
);
batch!(
    /// Runs the batch of the context: [`Target::Function`].
    third_function_batch,
    "lfence"
);
batch!(
    /// Runs the batch of the context: [`Target::Function`].
    fourth_function_batch,
    "lfence"
);
batch!(
    /// Runs the batch of the context: [`Target::BackToBack`].
    back_to_back_batch,
    ""
);
batch!(
    /// Runs the batch of the context: [`Target::BackToBack`].
    second_back_to_back_batch,
    ""
);
batch!(
    /// Runs the batch of the context: [`Target::BackToBack`].
    third_back_to_back_batch,
    ""
);
batch!(
    /// Runs the batch of the context: [`Target::BackToBack`].
    fourth_back_to_back_batch,
    ""
);
batch!(
    /// Runs the batch of the context: [`Target::ShortChain`].
    short_chain_batch,
    "lfence"
);
batch!(
    /// Runs the batch of the context: [`Target::LongChain`].
    long_chain_batch,
    "lfence"
);
batch!(
    /// Runs the batch of the context: [`Target::Empty`].
    empty_batch,
    "lfence"
);
