//! Signal handlers that report and exit: the way a function under test ends when it does not return.
//!
//! They run on their own stack, in a process whose every writable byte and every register the function may have set to
//! what it likes. So: no thread-local storage, no lock, no allocation, no return (a forged signal frame is refused with
//! the rest of `rt_sigreturn`). The entry clears AC and DF before any compiled code runs.

use std::arch::naked_asm;
use std::io;
use std::ptr;

/// Signals that are handled: the synchronous ones, a refused system call, and the CPU time limit.
pub const HANDLED: [i32; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS, libc::SIGXCPU];

/// What the kernel said about a signal.
#[derive(Debug, Clone, Copy)]
pub struct Signal {
    /// Signal number.
    pub number: i32,
    /// `si_code`
    pub code: i32,
    /// `si_addr`
    pub address: u64,
    /// `si_syscall`; meaningful for SIGSYS only.
    pub system_call: i32,
    /// Instruction pointer.
    pub ip: u64,
    /// Selector of the code segment.
    pub code_segment: u16,
}

/// Bytes of the stack the handlers run on; AVX-512 state alone takes 3 KiB of a frame.
const STACK_BYTES: usize = 64 << 10;

#[repr(align(4096))]
struct HandlerStack {
    _bytes: [u8; STACK_BYTES],
}

static mut STACK: HandlerStack = HandlerStack { _bytes: [0; STACK_BYTES] };

/// Installs the handlers and their stack; both are inherited by workers.
///
/// # Errors
/// If the kernel refuses.
pub fn install() -> io::Result<()> {
    let stack = libc::stack_t { ss_sp: (&raw mut STACK).cast(), ss_flags: 0, ss_size: STACK_BYTES };
    // SAFETY: the stack is static; nothing else uses it.
    if unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for signal in HANDLED {
        // SAFETY: an all-zero sigaction is a valid one.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = entry as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
        // SAFETY: `action` is valid and its handler never returns; a full mask keeps handlers from nesting.
        let refused = unsafe {
            libc::sigfillset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, ptr::null_mut())
        };
        if refused != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Clears the flags a function may have set, then goes on in Rust.
#[unsafe(naked)]
unsafe extern "C" fn entry() {
    naked_asm!("pushfq", "and dword ptr [rsp], {clear}", "popfq", "jmp {handler}",
        // AC (bit 18), NT (14), DF (10), TF (8)
        clear = const !0x0004_4500_i32, handler = sym handler)
}

/// # Safety
/// Called by the kernel with its own pointers only.
unsafe extern "C" fn handler(
    number: i32,
    info: *const libc::siginfo_t,
    context: *const libc::ucontext_t,
) -> ! {
    // SAFETY: the kernel wrote both structures on this stack just now. si_addr and si_syscall are read at their fixed
    // places in the union, whatever the signal: the bytes are there.
    let signal = unsafe {
        Signal {
            number,
            code: (*info).si_code,
            address: info.cast::<u64>().add(2).read(),
            system_call: info.cast::<i32>().add(6).read(),
            ip: (*context).uc_mcontext.gregs[libc::REG_RIP as usize] as u64,
            // The lowest of the four selectors that share a word.
            code_segment: (*context).uc_mcontext.gregs[libc::REG_CSGSFS as usize] as u16,
        }
    };
    crate::fault::report(signal)
}
