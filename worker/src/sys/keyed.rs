//! System calls that carry a secret, so that the filter can tell the zygote's own from an object's.
//!
//! The seccomp filter is installed once and inherited (one filter per worker makes the kernel compile a program per
//! job, which has hung a machine: `docs/security.md`). It must therefore let the zygote fork while its children
//! cannot. The calls that only set-up needs are allowed only with a random 64-bit key in the sixth argument register,
//! which the kernel ignores for calls of five or fewer arguments.
//!
//! There are two keys. The *set-up key* allows what the zygote and a new-born worker do; a worker forgets it before it
//! reads a byte of its job. The *load key* allows `mprotect` inside the job's own memory; a worker forgets it after
//! loading, before it calls into the object. The zygote's lie in a page of their own that forks leave out; they pass to
//! the child in registers only, and lie there in a place of its own until they are forgotten. They must never be copied
//! anywhere else: they are loaded inside the `asm!` block that uses them.

use std::arch::asm;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::{Errno, check, stack};

/// Which key a call carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// For the zygote's loop and a worker's set-up.
    Setup,
    /// For opening and protecting a job's memory.
    Load,
}

impl Key {
    /// Stands in for the key in a filter until [`seal`] puts the real one there. High halves differ from low halves
    /// and both from anything a rule compares with.
    #[must_use]
    pub const fn placeholder(self) -> u64 {
        match self {
            Self::Setup => 0xf1a5_c0de_5e70_b0a1,
            Self::Load => 0xf1a5_c0de_10ad_b0a2,
        }
    }
}

#[repr(C)]
struct Vault {
    setup: u64,
    load: u64,
}

/// Where the keys are; null until [`create`]. Written by each worker at its birth, so placed with what it writes anyway.
#[unsafe(link_section = ".data.webrunner")]
static VAULT: AtomicPtr<Vault> = AtomicPtr::new(ptr::null_mut());

/// Where a worker has its keys; zero in the zygote.
#[unsafe(link_section = ".data.webrunner")]
static mut WORKER_VAULT: Vault = Vault { setup: 0, load: 0 };

fn slot(key: Key) -> *mut u64 {
    let vault = VAULT.load(Ordering::Relaxed);
    assert!(!vault.is_null(), "the key vault is created before any keyed call");
    // SAFETY: the pointer is to the zygote's page, which is never unmapped there, or to a worker's static; only addresses
    // are taken here.
    unsafe {
        match key {
            Key::Setup => &raw mut (*vault).setup,
            Key::Load => &raw mut (*vault).load,
        }
    }
}

/// Maps the vault and draws both keys.
///
/// # Errors
/// If the page cannot be mapped, left out of forks, or filled with random bytes.
pub fn create() -> io::Result<()> {
    // SAFETY: a new private mapping; nothing else refers to it.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the page was just mapped and is ours.
    let marked = unsafe {
        libc::madvise(page, 4096, libc::MADV_DONTFORK) == 0
            && libc::madvise(page, 4096, libc::MADV_DONTDUMP) == 0
    };
    if !marked {
        return Err(io::Error::last_os_error());
    }
    let bytes = size_of::<Vault>();
    // The call itself: a C library may draw in user space, from a state that stays in memory.
    // SAFETY: the page holds at least `bytes` writable bytes.
    if unsafe { libc::syscall(libc::SYS_getrandom, page, bytes, 0) } != bytes as libc::c_long {
        return Err(io::Error::last_os_error());
    }
    VAULT.store(page.cast(), Ordering::Relaxed);
    Ok(())
}

/// Puts the real keys in place of their placeholders, lets `install` take the program, and wipes it.
///
/// # Errors
/// Whatever `install` returns, or `InvalidData` if a placeholder was not found.
pub fn seal(
    program: &mut [seccompiler::sock_filter],
    install: impl FnOnce(&[seccompiler::sock_filter]) -> io::Result<()>,
) -> io::Result<()> {
    let found = [Key::Setup, Key::Load].map(|key| patch(program, key));
    let result = if found == [true, true] {
        install(program)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the filter has no place for a key"))
    };
    for instruction in program {
        // SAFETY: a valid, exclusive reference; volatile so that the wipe is not optimised away.
        unsafe { ptr::write_volatile(&raw mut instruction.k, 0) };
    }
    wipe_stack();
    result
}

/// Replaces both halves of a placeholder. seccompiler compares 64 bits as two 32-bit immediates, high half first.
fn patch(program: &mut [seccompiler::sock_filter], key: Key) -> bool {
    let (high, low) = ((key.placeholder() >> 32) as u32, key.placeholder() as u32);
    let halves = slot(key).cast::<u32>();
    let mut found = false;
    for at in 1..program.len() {
        if program[at].k != low {
            continue;
        }
        // The high half is compared by the nearest earlier instruction that holds it.
        let Some(before) = (at.saturating_sub(4)..at).rev().find(|&i| program[i].k == high) else { continue };
        // SAFETY: `slot` points to the two halves of a key in the vault, low half first.
        unsafe {
            copy_half(halves, &mut program[at].k);
            copy_half(halves.add(1), &mut program[before].k);
        }
        found = true;
    }
    found
}

/// Copies half a key through a register that is cleared at once: a copy the compiler knows of could be spilled.
///
/// # Safety
/// `from` may be read.
unsafe fn copy_half(from: *const u32, to: &mut u32) {
    // SAFETY: the caller vouches for `from`; `to` is an exclusive reference.
    unsafe {
        asm!("mov {half:e}, [{from}]", "mov [{to}], {half:e}", "xor {half:e}, {half:e}",
             half = out(reg) _, from = in(reg) from, to = in(reg) to, options(nostack));
    }
}

/// Overwrites the stack below the caller, where a key may have been spilled.
#[inline(never)]
fn wipe_stack() {
    let mut space = [0_u8; 16 << 10];
    // SAFETY: a local array; volatile so that the wipe stays.
    unsafe { ptr::write_volatile(&raw mut space, [0; 16 << 10]) };
}

/// Destroys this process's copy of a key; calls that need it are refused from here on.
pub fn forget(key: Key) {
    // SAFETY: `slot` points into a vault, which is writable.
    unsafe { ptr::write_volatile(slot(key), 0) };
}

/// Makes a system call of up to five arguments with a key in the sixth.
///
/// # Safety
/// As the call itself: pointers among the arguments must be good for what it does with them.
///
/// # Errors
/// The kernel's error number. Without the key the call raises SIGSYS and does not return.
pub unsafe fn call(key: Key, number: i64, arguments: [usize; 5]) -> Result<usize, Errno> {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the caller vouches for the arguments; r9 holds the key only between the first and the last instruction.
    unsafe {
        asm!("mov r9, [r9]", "syscall", "xor r9d, r9d",
             inlateout("r9") slot(key) => _, inlateout("rax") number as isize => result,
             in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    check(result)
}

/// How a forked process begins.
#[derive(Debug, Clone, Copy)]
pub struct Birth {
    /// What it does.
    pub live: extern "C" fn(usize) -> !,
    /// What it is told.
    pub argument: usize,
}

/// Flags of the one kind of fork there is.
pub const FORK_FLAGS: usize = libc::SIGCHLD as usize;

/// Forks a process that begins on [`stack`], holding both keys, which reach it in registers. Gives its number as the
/// zygote's namespace has it.
///
/// # Safety
/// Only in a process with one thread. `live` must use nothing that forks leave out: this function's caller's stack may be
/// among it.
///
/// # Errors
/// The kernel's error number.
pub unsafe fn fork(birth: Birth) -> Result<i32, Errno> {
    let result: isize;
    // SAFETY: the child has a stack of its own and never comes back from here. Without the flags that would give them a
    // meaning, the kernel ignores the fourth and fifth argument, r10 and r8; nor is there a third.
    // r9, r12 and r13 are cleared before either side goes on.
    unsafe {
        asm!("mov r12, [r15]", "mov r13, [r15 + 8]", "mov r9, r12",
             "syscall",
             "xor r9d, r9d",
             "test rax, rax", "jnz 2f",
             "mov [r14], r12", "mov [r14 + 8], r13", "mov [rip + {vault}], r14",
             "xor r12d, r12d", "xor r13d, r13d",
             "mov rdi, r10", "call r8", "ud2",
             "2:", "xor r12d, r12d", "xor r13d, r13d",
             vault = sym VAULT,
             in("r15") slot(Key::Setup), in("r14") &raw mut WORKER_VAULT, out("r9") _, out("r12") _, out("r13") _,
             inlateout("rax") libc::SYS_clone as isize => result,
             in("rdi") FORK_FLAGS, in("rsi") stack::top(), in("rdx") 0_usize,
             in("r10") birth.argument, in("r8") birth.live,
             lateout("rcx") _, lateout("r11") _);
    }
    Ok(check(result)? as i32)
}
