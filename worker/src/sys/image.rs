//! What the zygote's own executable costs its forks, and how most of that is saved.
//!
//! A fork does not copy page tables of file mappings, so each worker would fault its code in again, sixteen pages at a
//! time, and the kernel would take it apart again page by page at exit. Here code and constants are moved to anonymous
//! huge pages in one mapping, one page-table entry each, which a fork copies. What workers write, their stack included,
//! is gathered in another. Mappings no worker uses are given up or left out of forks. All of it is an economy: where a
//! step is refused, things stay as they were.

use std::ops::Range;
use std::ptr;

use super::memory::PAGE;
use super::{rseq, stack};

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
/// Gives what is the zygote's alone, for [`keep_from_forks`].
pub fn economise() -> Vec<Range<usize>> {
    grow_stack();
    let mappings = mappings();
    // The C library's area lies in memory that workers do not have.
    rseq::take_over();
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
    if let Some(variables) = variable_part(&mappings, file) {
        gather(&variables);
    }
    let own = |mapping: &&Mapping| ["[heap]", "[stack]"].contains(&mapping.name.as_str());
    mappings.iter().filter(own).map(|mapping| mapping.range.clone()).collect()
}

/// Leaves the zygote's stack and the C library's heap out of forks. The heap holds its thread's locals, which no worker
/// may use anyway: a function under test can have moved the register they hang on. Rust's allocator has its own memory.
/// To be called last: whatever is forked after this has a stack of its own and cannot call into the C library.
pub fn keep_from_forks(own: &[Range<usize>]) {
    for range in own {
        // SAFETY: the mapping stays as it is in this process.
        unsafe { libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTFORK) };
    }
}

/// Uses more of the stack than the zygote ever will, so that its mapping has grown to its full size.
#[inline(never)]
fn grow_stack() {
    std::hint::black_box([1_u8; 128 << 10]);
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
    let alone = mappings
        .iter()
        .all(|other| parts.contains(&other.range) || other.range.end <= start || end <= other.range.start);
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

/// What processes write of the executable: its initialised data, and the zero-filled data that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    data: Range<usize>,
    zeroed: Range<usize>,
}

/// Finds the variable part of `file`, which is the executable. `None` if it is not laid out as usual, or if there is no
/// room for a stack below it.
fn variable_part(mappings: &[Mapping], file: &str) -> Option<Variable> {
    let data = &mappings
        .iter()
        .find(|mapping| !file.is_empty() && mapping.name == file && mapping.rights == "rw-p")?
        .range;
    let zeroed = &mappings
        .iter()
        .find(|mapping| {
            mapping.range.start == data.end && mapping.name.is_empty() && mapping.rights == "rw-p"
        })?
        .range;
    // A page more, that stays unmapped.
    let below = data.start.checked_sub(stack::BYTES + PAGE)?..data.start;
    let free = mappings.iter().all(|other| other.range.end <= below.start || below.end <= other.range.start);
    free.then(|| Variable { data: data.clone(), zeroed: zeroed.clone() })
}

/// Moves the variable part and, below it, a stack for workers to one anonymous mapping in its old place: one mapping for a
/// fork to copy instead of three, in as few page tables as can be.
fn gather(variables: &Variable) {
    let Variable { data, zeroed } = variables;
    let whole = data.start - stack::BYTES..zeroed.end;
    // Everything that allocates comes before the copy: the allocator's own state is among what is copied.
    let Some(touched) = touched_pages(zeroed) else { return };
    // SAFETY: a new mapping.
    let space = unsafe {
        libc::mmap(
            ptr::null_mut(),
            whole.len(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if space == libc::MAP_FAILED {
        return;
    }
    let copy = |from: usize, bytes: usize| {
        let to = space as usize + (from - whole.start);
        // SAFETY: the bytes are this program's own, readable, and have their place in the new mapping. No reference to
        // them is used for writing meanwhile: this process has one thread, and neither copying nor the call below writes
        // to a static.
        unsafe { ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
    };
    copy(data.start, data.len());
    for (page, _) in touched.iter().enumerate().filter(|&(_, &touched)| touched & 1 != 0) {
        copy(zeroed.start + page * PAGE, PAGE);
    }
    // SAFETY: what is replaced was copied, page by page; pages left out were never touched and are zero here too.
    let moved = unsafe {
        libc::mremap(
            space,
            whole.len(),
            whole.len(),
            libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
            whole.start as *mut libc::c_void,
        )
    };
    if moved == libc::MAP_FAILED {
        // SAFETY: the copy was not used.
        unsafe { libc::munmap(space, whole.len()) };
    } else {
        stack::use_below(data.start);
    }
}

/// One byte for each page, odd if the page was ever touched; `None` if the kernel does not say.
fn touched_pages(range: &Range<usize>) -> Option<Vec<u8>> {
    let mut pages = vec![0_u8; range.len() / PAGE];
    // SAFETY: there is a byte for each page of the range.
    let known =
        unsafe { libc::mincore(range.start as *mut libc::c_void, range.len(), pages.as_mut_ptr()) } == 0;
    known.then_some(pages)
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
    const GUARD: usize = PAGE;
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

    #[test]
    fn a_variable_part_is_data_with_zeroes_behind_and_room_for_a_stack_below() {
        let at = |start: usize, end: usize, name: &str| Mapping {
            range: start..end,
            rights: "rw-p".into(),
            name: name.into(),
        };
        let (data, zeroed) = (at(2 * HUGE, 2 * HUGE + PAGE, "worker"), at(2 * HUGE + PAGE, 3 * HUGE, ""));
        let found = variable_part(&[data.clone(), zeroed.clone()], "worker").unwrap();
        assert_eq!((found.data, found.zeroed), (data.range.clone(), zeroed.range.clone()));
        let below = at(2 * HUGE - stack::BYTES - PAGE, 2 * HUGE - stack::BYTES, "");
        assert_eq!(variable_part(&[below, data.clone(), zeroed], "worker"), None);
        assert_eq!(variable_part(&[data, at(2 * HUGE + 2 * PAGE, 3 * HUGE, "")], "worker"), None);
    }
}
