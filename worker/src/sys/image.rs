//! What the zygote's own executable costs its forks, and how most of that is saved.
//!
//! A fork does not copy page tables of file mappings, so each worker would fault its code in again, sixteen pages at a time, and
//! the kernel would take it apart again page by page at exit. Here code and constants are moved to anonymous
//! huge pages in one mapping, one page-table entry each, which a fork copies. Mappings no worker uses are given up. All of it is an
//! economy: where a step is refused, things stay as they were.

use std::ops::Range;
use std::ptr;

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

/// A mapping of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    range: Range<usize>,
    rights: String,
    name: String,
}

/// Makes forks of this process cheap. To be called once, before the filter; no clock may be read through the vDSO after.
/// Gives the C library's heap, for [`keep_from_forks`].
pub fn economise() -> Range<usize> {
    let mappings = mappings();
    unregister_rseq();
    drop_signal_stack();
    for mapping in &mappings {
        if ["[vdso]", "[vvar]", "[vvar_vclock]"].contains(&mapping.name.as_str()) {
            // SAFETY: nothing refers to these pages but the C library's clock calls, which are not made any more.
            unsafe { libc::munmap(mapping.range.start as *mut libc::c_void, mapping.range.len()) };
        }
    }
    let own = super::process::own_text().start;
    let file =
        mappings.iter().find(|mapping| mapping.range.contains(&own)).map_or("", |mapping| &mapping.name);
    if let Some(constant) = constant_part(&mappings, file) {
        move_to_huge_pages(&constant);
    }
    mappings.iter().find(|mapping| mapping.name == "[heap]").map_or(0..0, |mapping| mapping.range.clone())
}

/// Leaves the C library's heap out of forks. It holds its thread's locals, which no worker may use anyway: a function
/// under test can have moved the register they hang on. Rust's allocator has its own memory. To be called last: whatever is
/// forked after this cannot call into the C library.
pub fn keep_from_forks(heap: &Range<usize>) {
    if !heap.is_empty() {
        // SAFETY: the mapping stays as it is in this process.
        unsafe { libc::madvise(heap.start as *mut libc::c_void, heap.len(), libc::MADV_DONTFORK) };
    }
}

fn mappings() -> Vec<Mapping> {
    let text = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    text.lines().filter_map(parse).collect()
}

/// One line of `/proc/self/maps`: range, rights, offset, device, inode, name.
fn parse(line: &str) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let rights = words.next()?.to_owned();
    let name = words.nth(3).unwrap_or_default().to_owned();
    Some(Mapping { range: address(start)?..address(end)?, rights, name })
}

/// What no process ever writes of the executable: its code and its constants, if they have their huge pages to themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Constant {
    /// The huge pages.
    block: Range<usize>,
    /// What lies in them.
    parts: Vec<Range<usize>>,
}

/// Finds the constant part of `file`, which is the executable. `None` if it is not laid out as `build.rs` asks.
fn constant_part(mappings: &[Mapping], file: &str) -> Option<Constant> {
    let constant = |mapping: &&Mapping| {
        !file.is_empty() && mapping.name == file && ["r--p", "r-xp"].contains(&mapping.rights.as_str())
    };
    let parts: Vec<Range<usize>> =
        mappings.iter().filter(constant).map(|mapping| mapping.range.clone()).collect();
    let start = parts.iter().map(|part| part.start).min()? / HUGE * HUGE;
    let end = parts.iter().map(|part| part.end).max()?.next_multiple_of(HUGE);
    let alone = mappings.iter().all(|other| {
        parts.contains(&other.range) || other.range.end <= start || end <= other.range.start
    });
    alone.then_some(Constant { block: start..end, parts })
}

/// Puts a copy on huge pages in the place of the constant part; leaves it where it is if there are none to be had.
///
/// All of it becomes one mapping, which may be executed: a fork copies mappings one by one. The constants hold no
/// secret and no process can write them, so nothing is lost by that.
fn move_to_huge_pages(constant: &Constant) {
    let Constant { block, parts } = constant;
    let bytes = block.len();
    // SAFETY: a new mapping, large enough to hold an aligned block wherever it lies.
    let space = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes + HUGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if space == libc::MAP_FAILED {
        return;
    }
    let copy = (space as usize).next_multiple_of(HUGE);
    // SAFETY: the copy lies in the new mapping, and the parts are readable and inside `block`. The kernel swaps the two
    // in one step; code that runs from there goes on in bytes that are the same.
    unsafe {
        let advised = libc::madvise(copy as *mut libc::c_void, bytes, libc::MADV_HUGEPAGE) == 0;
        for part in parts {
            let to = (copy + (part.start - block.start)) as *mut u8;
            ptr::copy_nonoverlapping(part.start as *const u8, to, part.len());
        }
        let swapped = advised
            && is_huge(copy)
            && libc::mprotect(copy as *mut libc::c_void, bytes, libc::PROT_READ | libc::PROT_EXEC) == 0
            && libc::mremap(
                copy as *mut libc::c_void,
                bytes,
                bytes,
                libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
                block.start as *mut libc::c_void,
            ) != libc::MAP_FAILED;
        // What is left: the ends of the space, and the copy too if it was not used.
        let kept = if swapped { copy..copy + bytes } else { copy..copy };
        libc::munmap(space, kept.start - space as usize);
        libc::munmap(kept.end as *mut libc::c_void, space as usize + bytes + HUGE - kept.end);
    }
}

/// Whether the kernel gave a huge page to the mapping that begins at `address`.
fn is_huge(address: usize) -> bool {
    let text = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let start = format!("{address:x}-");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&start));
    lines.find(|line| line.starts_with("AnonHugePages:")).is_some_and(|line| !line.contains(" 0 kB"))
}

/// Gives up the stack on which the standard library would report a stack overflow of this program's own.
fn drop_signal_stack() {
    const GUARD: usize = super::memory::PAGE;
    let none = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    let mut old = none;
    // SAFETY: valid structures; no signal handler is running.
    let known = unsafe { libc::sigaltstack(&raw const none, &raw mut old) } == 0;
    if known && old.ss_flags & libc::SS_DISABLE == 0 && !old.ss_sp.is_null() {
        let start = old.ss_sp as usize - GUARD;
        // SAFETY: the standard library maps this stack with one guard page below it, for this use alone, which has ended.
        unsafe { libc::munmap(start as *mut libc::c_void, old.ss_size + GUARD) };
    }
}

/// Takes back the C library's registration for restartable sequences: the kernel would write to it, and so copy a page,
/// in every worker. Does nothing where the C library has none.
fn unregister_rseq() {
    const UNREGISTER: i32 = 1;
    /// `RSEQ_SIG` of the C library on x86.
    const SIGNATURE: u32 = 0x5305_3053;
    let (offset, size): (usize, usize);
    let thread: usize;
    // SAFETY: both symbols are weak: where the C library lacks them their address is 0, which is checked.
    unsafe {
        std::arch::asm!(
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
        // Whatever size is advertised, the first registration is of 32 bytes.
        libc::syscall(libc::SYS_rseq, area, 32_u32, UNREGISTER, SIGNATURE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_taken_apart() {
        let line = "7f08acc5f000-7f08acd91000 r-xp 0005e000 fe:00 5399375                    /usr/bin/worker";
        let mapping = parse(line).unwrap();
        assert_eq!((mapping.range.len(), mapping.rights.as_str()), (0x13_2000, "r-xp"));
        assert_eq!(mapping.name, "/usr/bin/worker");
        assert_eq!(parse("no such line"), None);
    }

    #[test]
    fn a_constant_part_that_shares_its_huge_pages_is_left_alone() {
        let at = |start: usize, end: usize, rights: &str| Mapping {
            range: start..end,
            rights: rights.into(),
            name: "worker".into(),
        };
        let constants = at(HUGE, HUGE + 4096, "r--p");
        let code = at(2 * HUGE + 4096, 2 * HUGE + 8192, "r-xp");
        let data = |start| at(start, start + 4096, "rw-p");
        let found = constant_part(&[constants.clone(), code.clone(), data(3 * HUGE)], "worker").unwrap();
        assert_eq!(found.block, HUGE..3 * HUGE);
        assert_eq!(found.parts, [constants.range.clone(), code.range.clone()]);
        assert_eq!(constant_part(&[constants, code, data(3 * HUGE - 4096)], "worker"), None);
    }
}
