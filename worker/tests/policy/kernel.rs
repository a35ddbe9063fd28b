//! The filter on this kernel: what can be done with a key, and that it cannot be done without.
//!
//! Each part runs in a process of its own (see [`alone`]). Once locked it allocates nothing and calls nothing but this
//! crate.

use std::arch::asm;
use std::ptr;

use webrunner_protocol::control::ExitStatus;
use webrunner_worker::sys::keyed::{self, Birth, Key};
use webrunner_worker::sys::memory::{self, Access, PAGE, Region};
use webrunner_worker::sys::{self, Errno, fd, process, stack};
use webrunner_worker::{lockdown, policy};

use crate::alone::{End, alone};
use crate::bpf::{self, Call, Verdict};

/// Does to this process what the zygote does: job memory, keys, filter.
pub(crate) fn lock() {
    memory::reserve().expect("job memory can be reserved");
    stack::ensure().expect("a stack for workers can be mapped");
    keyed::create().expect("keys can be made");
    lockdown::install_filter(lockdown::compile_filter().expect("the table compiles"))
        .expect("the filter can be installed");
}

/// Puts a socket at the job socket's number whose other end is open (and given), or closed, so that reading ends at once.
fn place_job_socket(keep_other_end: bool) -> i32 {
    let mut ends = [-1_i32; 2];
    // SAFETY: `ends` has room for two descriptors; no object owns what is at the job socket's number in a part.
    unsafe {
        assert_eq!(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()), 0);
        let other = libc::fcntl(ends[1], libc::F_DUPFD, 40);
        assert!(other >= 40);
        let ours = libc::fcntl(ends[0], libc::F_DUPFD, 40);
        assert_eq!(libc::dup2(ours, fd::JOB), fd::JOB);
        libc::close(ours);
        for end in ends.into_iter().filter(|&end| end != fd::JOB) {
            libc::close(end);
        }
        if !keep_other_end {
            libc::close(other);
        }
        other
    }
}

/// The system call itself, with all six arguments and no key but what is in them.
pub(crate) fn raw(number: u64, arguments: [u64; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the parts call this with calls that are refused, or whose pointers are null or to their own memory.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
             in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// Forks with the key, does `work` in the child and tells how that ended.
pub(crate) fn in_worker(work: impl FnOnce() -> bool) -> Option<ExitStatus> {
    extern "C" fn live<W: FnOnce() -> bool>(work: usize) -> ! {
        // SAFETY: the address of the parent's `Option`, of which this process has its own copy.
        let work = unsafe { (*(work as *mut Option<W>)).take() };
        sys::exit(if work.is_some_and(|work| work()) { 0 } else { 1 })
    }
    fn birth<W: FnOnce() -> bool>(work: &mut Option<W>) -> Birth {
        Birth { live: live::<W>, argument: ptr::from_mut(work) as usize }
    }
    // SAFETY: the child goes on with this thread alone, takes no lock, allocates nothing and exits; a test's own stack is
    // not left out of forks.
    match unsafe { keyed::fork(birth(&mut Some(work))) } {
        Ok(pid) => {
            let (reaped, status) = reap();
            (reaped == pid).then_some(status)
        }
        Err(_) => None,
    }
}

/// Waits for a child to end.
fn reap() -> (i32, ExitStatus) {
    loop {
        if let Ok(Some((pid, status, _))) = process::reap() {
            return (pid, status);
        }
        let pause = libc::timespec { tv_sec: 0, tv_nsec: 100_000 };
        // SAFETY: nothing is polled, and the time limit lives through the call.
        let _ =
            unsafe { keyed::call(Key::Setup, libc::SYS_ppoll, [0, 0, (&raw const pause) as usize, 0, 0]) };
    }
}

const REFUSED: Option<ExitStatus> = Some(ExitStatus::Signal(libc::SIGSYS));

#[test]
fn the_set_up_key_forks_workers_that_hold_both_keys() {
    let end = alone("kernel::the_set_up_key_forks_workers_that_hold_both_keys", || {
        lock();
        let with_keys = in_worker(|| {
            let page = memory::IMAGE_ARENA.start..memory::IMAGE_ARENA.start + PAGE;
            // SAFETY: nothing was opened before in this process.
            process::limit(libc::RLIMIT_NPROC, 0, 0).is_ok() && unsafe { Region::open(page) }.is_ok()
        });
        let forgetful = in_worker(|| {
            keyed::forget(Key::Setup);
            process::limit(libc::RLIMIT_NPROC, 0, 0).is_ok()
        });
        // What the children forgot the zygote still has.
        let again = in_worker(|| true);
        (with_keys, forgetful, again) == (Some(ExitStatus::Code(0)), REFUSED, Some(ExitStatus::Code(0)))
    });
    assert_eq!(end, End::Done);
}

#[test]
fn a_fork_is_refused_once_the_set_up_key_is_forgotten() {
    let end = alone("kernel::a_fork_is_refused_once_the_set_up_key_is_forgotten", || {
        lock();
        keyed::forget(Key::Setup);
        in_worker(|| true).is_some()
    });
    assert_eq!(end, End::Refused);
}

#[test]
fn the_load_key_opens_and_protects_job_memory() {
    let end = alone("kernel::the_load_key_opens_and_protects_job_memory", || {
        lock();
        let arenas = memory::arenas();
        let good = arenas.iter().all(|arena| {
            let first = arena.range.start..arena.range.start + PAGE;
            let last = arena.range.end - 2 * PAGE..arena.range.end;
            // SAFETY: neither range was opened before.
            let (Ok(mut first), Ok(last)) = (unsafe { (Region::open(first), Region::open(last)) }) else {
                return false;
            };
            first.bytes_mut()[PAGE - 1] = 0xc3;
            first.protect(Access::ReadExecute).is_ok() && last.protect(Access::Read).is_ok()
        });
        let refused_here = arenas.iter().all(|arena| {
            let (start, end) = (arena.range.start, arena.range.end);
            let wrong = [
                start - PAGE..start,
                end..end + PAGE,
                end - PAGE..end + PAGE,
                start + 1..start + PAGE,
                start..start,
                start..start + arena.longest + PAGE,
            ];
            // SAFETY: none of these is opened.
            wrong.into_iter().all(|range| unsafe { Region::open(range) }.err() == Some(Errno(libc::EINVAL)))
        });
        good && refused_here
    });
    assert_eq!(end, End::Done);
}

#[test]
fn the_longest_range_at_the_end_of_an_arena_ends_in_memory_that_is_reserved() {
    let end =
        alone("kernel::the_longest_range_at_the_end_of_an_arena_ends_in_memory_that_is_reserved", || {
            lock();
            memory::arenas().iter().all(|arena| {
                let arguments = [arena.range.end - PAGE, arena.longest, libc::PROT_READ as usize, 0, 0];
                // SAFETY: memory that nothing uses. The kernel refuses a range that is not mapped throughout.
                unsafe { keyed::call(Key::Load, libc::SYS_mprotect, arguments) }.is_ok()
            })
        });
    assert_eq!(end, End::Done);
}

#[test]
fn job_memory_stays_as_it_is_once_the_load_key_is_forgotten() {
    let end = alone("kernel::job_memory_stays_as_it_is_once_the_load_key_is_forgotten", || {
        lock();
        keyed::forget(Key::Load);
        // The set-up key is still there and does not help.
        let page = memory::IMAGE_ARENA.start..memory::IMAGE_ARENA.start + PAGE;
        // SAFETY: nothing was opened before in this process.
        unsafe { Region::open(page) }.is_ok()
    });
    assert_eq!(end, End::Refused);
}

#[test]
fn memory_outside_the_arenas_is_refused_with_the_key() {
    static OWN: u64 = 1;
    let end = alone("kernel::memory_outside_the_arenas_is_refused_with_the_key", || {
        lock();
        let page = (&raw const OWN) as usize / PAGE * PAGE;
        // SAFETY: the page may be read already.
        unsafe { keyed::call(Key::Load, libc::SYS_mprotect, [page, PAGE, libc::PROT_READ as usize, 0, 0]) }
            .is_ok()
    });
    assert_eq!(end, End::Refused);
}

#[test]
fn a_worker_without_keys_can_read_its_job_answer_and_end() {
    let end = alone("kernel::a_worker_without_keys_can_read_its_job_answer_and_end", || {
        let other = place_job_socket(true);
        // SAFETY: `other` is a descriptor of this part's own.
        unsafe {
            assert_eq!(libc::write(other, b"job".as_ptr().cast(), 3), 3);
            assert_eq!(libc::shutdown(other, libc::SHUT_WR), 0);
        }
        lock();
        keyed::forget(Key::Setup);
        keyed::forget(Key::Load);
        let mut job = [0; 4];
        sys::read(fd::JOB, &mut job) == Ok(3)
            && &job == b"job\0"
            && sys::read(fd::JOB, &mut job) == Ok(0)
            && sys::write(fd::JOB, b"reply") == Ok(5)
            && sys::end_of_writing(fd::JOB).is_ok()
            && sys::write(fd::JOB, b"more") == Err(Errno(libc::EPIPE))
    });
    assert_eq!(end, End::Done);
}

#[test]
fn the_kernel_and_the_evaluator_agree_on_every_call_without_a_key() {
    /// `uretprobe` and `uprobe`: let past every filter by the kernels that have them, and of no use outside a probe.
    const UNFILTERED: [u64; 2] = [335, 336];
    let end = alone("kernel::the_kernel_and_the_evaluator_agree_on_every_call_without_a_key", || {
        let program = policy::compile(&policy::rules(&[], 0)).expect("the table compiles");
        place_job_socket(false);
        lock();
        let null = [0; 6];
        let job = [fd::JOB as u64, 0, 0, 0, 0, 0];
        let shut = [fd::JOB as u64, 1, 1 << 20, 0, 0, 0];
        [null, job, shut].into_iter().all(|arguments| {
            (0..1024).filter(|number| !UNFILTERED.contains(number)).all(|number| {
                let ended = in_worker(|| {
                    keyed::forget(Key::Setup);
                    keyed::forget(Key::Load);
                    raw(number, arguments);
                    true
                });
                let verdict = bpf::run(&program, &Call::new(number as i64, arguments));
                // Should the call be exit_group, its code is the first argument.
                let code = if number == libc::SYS_exit_group as u64 { arguments[0] as i32 } else { 0 };
                ended == if verdict == Verdict::Allow { Some(ExitStatus::Code(code)) } else { REFUSED }
            })
        })
    });
    assert_eq!(end, End::Done);
}

#[test]
fn calls_of_the_x32_table_and_numbers_that_are_none_are_refused_here_too() {
    let end = alone("kernel::calls_of_the_x32_table_and_numbers_that_are_none_are_refused_here_too", || {
        place_job_socket(false);
        lock();
        let x32 = (0..1024).map(|number| number | 1 << 30);
        let none = [u64::from(u32::MAX), u64::MAX, 1 << 31, 1 << 20];
        x32.chain(none).all(|number| {
            in_worker(|| {
                raw(number, [fd::JOB as u64, 0, 0, 0, 0, 0]);
                true
            }) == REFUSED
        })
    });
    assert_eq!(end, End::Done);
}

#[test]
fn the_gate_of_32_bit_programs_kills() {
    let end = alone("kernel::the_gate_of_32_bit_programs_kills", || {
        lock();
        // 1 is `exit` there, 4 `write`, 20 `getpid`, 252 `exit_group`. A trap would look the same here; that it is no
        // trap is what the evaluator says. A kernel without that gate answers with a fault.
        [1, 4, 20, 252].into_iter().all(|number: u32| {
            let ended = in_worker(|| {
                // SAFETY: the process is killed, or at worst makes a call that takes what it finds in registers.
                unsafe { asm!("int 0x80", inout("eax") number => _, options(nostack)) };
                true
            });
            matches!(ended, Some(ExitStatus::Signal(libc::SIGSYS | libc::SIGSEGV)))
        })
    });
    assert_eq!(end, End::Done);
}

#[test]
fn a_guessed_key_is_refused() {
    let end = alone("kernel::a_guessed_key_is_refused", || {
        lock();
        let guesses = [1, u64::MAX, Key::Setup.placeholder(), Key::Load.placeholder(), 0];
        guesses.into_iter().all(|key| {
            in_worker(|| {
                raw(libc::SYS_close as u64, [90, 0, 0, 0, 0, key]);
                true
            }) == REFUSED
        })
    });
    assert_eq!(end, End::Done);
}
