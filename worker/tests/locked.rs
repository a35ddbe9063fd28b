//! Measuring in a process that may do nothing but learn its own CPU time and exit, with memory that is only handed out.
//!
//! The program of these tests has an allocator of its own, as a locked worker has: glibc's would ask the kernel.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use webrunner_protocol::job::Effort;
use webrunner_protocol::reply::Findings;
use webrunner_worker::measure::{
    Host, Measured, NoCounters, NoInputs, PreparedCall, Schedule, Session, measure, rehearse,
};

const ARENA: usize = 32 << 20;

/// Hands out an arena from its start and takes nothing back.
#[repr(C, align(4096))]
struct Bump {
    arena: UnsafeCell<[u8; ARENA]>,
    used: AtomicUsize,
}

// SAFETY: `used` only grows and is claimed atomically, so no byte of the arena is handed out twice.
unsafe impl Sync for Bump {}

// SAFETY: each block lies in the arena, is aligned as asked, and overlaps no other.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Room for the worst start; a block so claimed is never shared.
        let claim = layout.size() + layout.align();
        let start = self.used.fetch_add(claim, Ordering::Relaxed).next_multiple_of(layout.align());
        if start + layout.size() > ARENA {
            return std::ptr::null_mut();
        }
        // SAFETY: the offset was just found to lie in the arena.
        unsafe { self.arena.get().cast::<u8>().add(start) }
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static MEMORY: Bump = Bump { arena: UnsafeCell::new([0; ARENA]), used: AtomicUsize::new(0) };

/// The function to measure.
#[unsafe(naked)]
extern "sysv64" fn seventeen() {
    std::arch::naked_asm!("push 17", "pop rax", "ret")
}

#[test]
fn measuring_asks_the_kernel_for_nothing_but_its_own_cpu_time_and_takes_little_memory() {
    const MOST_MEMORY: usize = 2 << 20;
    let mut session = Session::open().expect("the only session of this program");
    let host = Host::probe(&mut session, 2500.0);
    let mut stack = vec![0u128; 256];
    let top = stack.as_mut_ptr_range().end as u64;
    let call =
        PreparedCall::new(&[], &[], seventeen as *const () as u64, top).expect("a call without arguments");
    for effort in Effort::ALL {
        let schedule = Schedule { budget_us: 3e3, ..Schedule::of(effort) };
        let status = in_a_locked_child(|| {
            let before = MEMORY.used.load(Ordering::Relaxed);
            // SAFETY: the stack is 4 KiB that nothing else uses.
            unsafe { rehearse(&mut session, top, &host) };
            // SAFETY: the function uses 16 bytes of that stack.
            let measured =
                unsafe { measure(&mut session, &call, &schedule, &host, &mut NoCounters, &mut NoInputs) };
            let memory = MEMORY.used.load(Ordering::Relaxed) - before;
            is_plausible(&measured) && memory <= MOST_MEMORY
        });
        assert_eq!(status, Some(0), "{effort:?}");
    }
}

#[test]
fn the_lock_of_these_tests_does_stop_a_system_call() {
    // SAFETY: getppid takes nothing and changes nothing.
    let status = in_a_locked_child(|| unsafe { libc::syscall(libc::SYS_getppid) } > 0);
    assert_eq!(status, None);
}

fn is_plausible(measured: &Measured) -> bool {
    measured.returned.integer == 17
        && measured.cycles.isolated.iter().all(|cycles| cycles.is_finite())
        && !measured.cycles.isolated.is_empty()
        && measured.findings == Findings { dirty_upper: measured.findings.dirty_upper, ..Findings::default() }
}

/// Runs `work` in a child that may only learn its own CPU time and exit. Gives its exit code, 0 where `work` was true;
/// `None` if it was killed.
///
/// A filter and not strict mode, which takes away the time stamp counter as well.
fn in_a_locked_child(work: impl FnOnce() -> bool) -> Option<i32> {
    let own_cpu_time = libc::CLOCK_THREAD_CPUTIME_ID as u64;
    let is_own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, own_cpu_time);
    let own = SeccompRule::new(vec![is_own.expect("a sound condition")]).expect("a sound rule");
    let rules = [(libc::SYS_exit, Vec::new()), (libc::SYS_clock_gettime, vec![own])].into();
    let (kill, allow) = (SeccompAction::KillProcess, SeccompAction::Allow);
    let filter = SeccompFilter::new(rules, kill, allow, TargetArch::x86_64).expect("a sound filter");
    let program: BpfProgram = filter.try_into().expect("a filter that compiles");
    // SAFETY: the child installs the filter, works and exits; none of these needs a thread or lock of the parent.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0, "fork failed");
        if child == 0 {
            let locked = seccompiler::apply_filter(&program).is_ok();
            libc::syscall(libc::SYS_exit, if locked && work() { 0 } else { 1 });
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
    }
}
