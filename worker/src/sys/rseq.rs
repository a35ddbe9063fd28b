//! Notices that the core was taken from this process, without a system call: restartable sequences, used as a bell.
//!
//! A process may tell the kernel of an area (`rseq(2)`) in which it names a critical section by the address of a
//! descriptor. Before the process runs again after the core was taken from it, or after a signal, the kernel looks at
//! that address, and where the instruction pointer is in no critical section, it clears it. The descriptor here is of a
//! section that is never entered, so all that happens is that the address is gone: [`armed`] then gives false.
//!
//! The zygote registers the area and its workers inherit it with the fork, so the filter need not allow the call. The
//! kernel writes to these 32 bytes and nothing else, of the process's own memory; they share a page with what a worker
//! writes anyway, so that no page more is copied for each. A function under test may name a section of its own: the
//! kernel then moves its instruction pointer within its own process, or ends it, which it can do by itself.

use std::arch::{asm, global_asm};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// `RSEQ_SIG` of the C library on x86: stands before the place where an interrupted section would go on.
const SIGNATURE: u32 = 0x5305_3053;

/// Whatever size is advertised, the first registration is of 32 bytes.
const AREA_BYTES: u32 = 32;

/// `struct rseq` of linux/rseq.h.
#[repr(C, align(32))]
struct Area {
    cpu_id_start: u32,
    cpu_id: u32,
    section: u64,
    flags: u32,
    node_id: u32,
    mm_cid: u32,
    padding: u32,
}
const _: () = assert!(size_of::<Area>() == AREA_BYTES as usize);

/// `struct rseq_cs` of linux/rseq.h.
#[repr(C, align(32))]
struct Section {
    version: u32,
    flags: u32,
    start: u64,
    bytes: u64,
    abort: u64,
}

#[repr(transparent)]
struct Shared<T>(UnsafeCell<T>);

// SAFETY: one thread; the kernel writes to the area only while that thread does not run.
unsafe impl<T> Sync for Shared<T> {}

#[unsafe(link_section = ".data.webrunner")]
static AREA: Shared<Area> = Shared(UnsafeCell::new(Area {
    cpu_id_start: 0,
    // RSEQ_CPU_ID_UNINITIALIZED
    cpu_id: u32::MAX,
    section: 0,
    flags: 0,
    node_id: 0,
    mm_cid: 0,
    padding: 0,
}));

#[unsafe(link_section = ".data.webrunner")]
static SECTION: Shared<Section> =
    Shared(UnsafeCell::new(Section { version: 0, flags: 0, start: 0, bytes: 0, abort: 0 }));

static REGISTERED: AtomicBool = AtomicBool::new(false);

// A section of one instruction, which nothing ever executes, and the place it would be left to.
global_asm!(
    ".pushsection .text.webrunner_rseq, \"ax\", @progbits",
    ".p2align 4",
    ".globl webrunner_rseq_start",
    ".hidden webrunner_rseq_start",
    "webrunner_rseq_start:",
    "ud2",
    ".long {signature}",
    ".globl webrunner_rseq_abort",
    ".hidden webrunner_rseq_abort",
    "webrunner_rseq_abort:",
    "ud2",
    ".popsection",
    signature = const SIGNATURE,
);

// SAFETY: the assembly above defines both symbols, and only their addresses are taken: nobody calls them.
unsafe extern "C" {
    fn webrunner_rseq_start();
    fn webrunner_rseq_abort();
}

/// Takes the C library's registration back and puts this module's in its place. To be called once, before the filter.
///
/// Where the kernel does not know restartable sequences, [`is_registered`] stays false and nothing else changes.
pub fn take_over() {
    unregister_c_library();
    // SAFETY: one thread, which has not armed anything yet; the kernel checks the area, which lives for ever.
    let registered = unsafe {
        *SECTION.0.get() = Section {
            version: 0,
            flags: 0,
            start: webrunner_rseq_start as *const () as u64,
            // Of `ud2`.
            bytes: 2,
            abort: webrunner_rseq_abort as *const () as u64,
        };
        libc::syscall(libc::SYS_rseq, AREA.0.get(), AREA_BYTES, 0, SIGNATURE) == 0
    };
    REGISTERED.store(registered, Ordering::Relaxed);
}

/// Whether the kernel tells.
#[must_use]
pub fn is_registered() -> bool {
    REGISTERED.load(Ordering::Relaxed)
}

/// From here on [`armed`] gives true until the core is taken away.
pub fn arm() {
    // SAFETY: a field of a static that only this thread and the kernel write; volatile because the kernel reads it.
    unsafe { ptr::write_volatile(&raw mut (*AREA.0.get()).section, SECTION.0.get() as u64) };
}

/// Whether the process has kept its core since [`arm`]; always false where nothing is registered.
#[must_use]
pub fn armed() -> bool {
    // SAFETY: as in `arm`.
    is_registered() && unsafe { ptr::read_volatile(&raw const (*AREA.0.get()).section) } != 0
}

/// Takes back the C library's registration, which names an area in its own heap. Does nothing where it has none.
fn unregister_c_library() {
    const UNREGISTER: i32 = 1;
    let (offset, size): (usize, usize);
    let thread: usize;
    // SAFETY: both symbols are weak: where the C library lacks them their address is 0, which is checked.
    unsafe {
        asm!(
            ".weak __rseq_offset", ".weak __rseq_size",
            "mov {o}, qword ptr [rip + __rseq_offset@GOTPCREL]",
            "mov {s}, qword ptr [rip + __rseq_size@GOTPCREL]",
            "mov {t}, qword ptr fs:[0]",
            o = out(reg) offset, s = out(reg) size, t = out(reg) thread, options(nostack, readonly));
    }
    if offset == 0 || size == 0 {
        return;
    }
    // SAFETY: addresses of the C library's constants, of the types its header gives them. The kernel checks the area.
    unsafe {
        let area = thread.wrapping_add_signed(*(offset as *const isize));
        libc::syscall(libc::SYS_rseq, area, AREA_BYTES, UNREGISTER, SIGNATURE);
    }
}
