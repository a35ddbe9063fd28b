//! The keys themselves: in the filter they are where they belong, and once forgotten they are nowhere.

use std::arch::asm;
use std::cell::UnsafeCell;
use std::ops::Range;

use seccompiler::sock_filter;
use webrunner_protocol::control::ExitStatus;
use webrunner_worker::policy;
use webrunner_worker::sys::keyed::{self, Key};
use webrunner_worker::sys::{memory, stack};

use crate::alone::{End, alone};
use crate::kernel::in_worker;
use crate::model::{PROGRAM, RULES};

const KEYS: [Key; 2] = [Key::Setup, Key::Load];

const fn halves(key: u64) -> (u32, u32) {
    ((key >> 32) as u32, key as u32)
}

/// Instructions that hold the high and the low half of `key`: the filter compares them two instructions apart.
fn places(program: &[sock_filter], key: u64) -> Vec<(usize, usize)> {
    let (high, low) = halves(key);
    let is_place = |&at: &usize| program[at].k == high && program[at + 2].k == low;
    (0..program.len() - 2).filter(is_place).map(|at| (at, at + 2)).collect()
}

fn key_at(program: &[sock_filter], (high, low): (usize, usize)) -> u64 {
    u64::from(program[high].k) << 32 | u64::from(program[low].k)
}

#[test]
fn sealing_puts_a_key_in_every_place_of_its_own_and_wipes_the_program() {
    let part = || {
        keyed::create().expect("keys can be made");
        let unsealed = policy::compile(&RULES).expect("the table compiles");
        let mut program = unsealed.clone();
        keyed::seal(&mut program, |sealed| {
            let keys = KEYS.map(|key| {
                let places = places(&unsealed, key.placeholder());
                let rules = RULES.iter().filter(|rule| rule.key == Some(key)).count();
                assert_eq!(places.len(), rules, "one comparison for each rule of {key:?}");
                let real = key_at(sealed, places[0]);
                assert!(places.iter().all(|&place| key_at(sealed, place) == real), "{key:?}");
                assert_ne!(real, key.placeholder());
                places.into_iter().for_each(|(high, low)| {
                    let (wanted_high, wanted_low) = halves(key.placeholder());
                    assert_eq!((unsealed[high].k, unsealed[low].k), (wanted_high, wanted_low));
                });
                real
            });
            assert_ne!(keys[0], keys[1]);
            let changed = sealed.iter().zip(&unsealed).filter(|(new, old)| new.k != old.k).count();
            let rules = RULES.iter().filter(|rule| rule.key.is_some()).count();
            assert_eq!(changed, 2 * rules, "nothing but the halves of keys is changed");
            for half in KEYS.map(|key| halves(key.placeholder())).iter().flat_map(|&(high, low)| [high, low])
            {
                assert!(sealed.iter().all(|instruction| instruction.k != half), "{half:#x} is left");
            }
            Ok(())
        })
        .expect("both keys have places");
        program.iter().all(|instruction| instruction.k == 0)
    };
    let end = alone("keys::sealing_puts_a_key_in_every_place_of_its_own_and_wipes_the_program", part);
    assert_eq!(end, End::Done);
}

#[test]
fn a_filter_without_a_place_for_a_key_is_not_installed() {
    let part = || {
        keyed::create().expect("keys can be made");
        let mut open = policy::rules(&[], 0);
        open.retain(|rule| rule.key != Some(Key::Load));
        let mut program = policy::compile(&open).expect("the table compiles");
        let sealed = keyed::seal(&mut program, |_| panic!("installed"));
        sealed.is_err() && program.iter().all(|instruction| instruction.k == 0)
    };
    let end = alone("keys::a_filter_without_a_place_for_a_key_is_not_installed", part);
    assert_eq!(end, End::Done);
}

#[test]
fn placeholders_are_found_by_either_half_and_compared_with_by_no_rule() {
    let (setup, load) = (halves(Key::Setup.placeholder()), halves(Key::Load.placeholder()));
    assert!(
        setup.1 != load.1 && setup.0 != setup.1 && load.0 != load.1 && setup.0 != load.1 && load.0 != setup.1
    );
    let pairs =
        places(&PROGRAM, Key::Setup.placeholder()).len() + places(&PROGRAM, Key::Load.placeholder()).len();
    for half in [setup.1, load.1] {
        assert!(PROGRAM.iter().any(|instruction| instruction.k == half));
    }
    let held = |half: u32| PROGRAM.iter().filter(|instruction| instruction.k == half).count();
    assert_eq!(held(setup.1) + held(load.1), pairs, "a low half stands only next to its high half");
}

/// Spreads a number so that nothing the search holds on to looks like a key (the finaliser of MurmurHash3).
fn disguise(value: u64) -> u64 {
    let value = (value ^ value >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let value = (value ^ value >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ value >> 33
}

/// Eight bytes at any address that can be read, the search's own stack too: Rust has no such load.
fn load(at: usize) -> u64 {
    let value;
    // SAFETY: the kernel listed the address as readable, and nothing was unmapped since.
    unsafe {
        asm!("mov {value}, [{at}]", value = out(reg) value, at = in(reg) at, options(nostack, readonly));
    };
    value
}

/// A key, disguised whole and by halves.
#[derive(Clone, Copy, Default)]
struct Wanted {
    whole: u64,
    high: u64,
    low: u64,
}

impl Wanted {
    fn new(program: &[sock_filter], (high, low): (usize, usize)) -> Self {
        Self {
            whole: disguise(key_at(program, (high, low))),
            high: disguise(program[high].k.into()),
            low: disguise(program[low].k.into()),
        }
    }

    /// Whether the key lies in `range`: as eight bytes anywhere, or as two aligned words within a cache line of each other.
    fn lies_in(&self, range: &Range<usize>) -> bool {
        let word = |at: usize| load(at) & u64::from(u32::MAX);
        let whole = || (range.start..range.end - 7).any(|at| disguise(load(at)) == self.whole);
        let near = |at: usize| {
            let around = at.saturating_sub(64).max(range.start)..(at + 64).min(range.end - 7);
            around.step_by(4).any(|other| disguise(word(other)) == self.high)
        };
        let mut words = (range.start..range.end - 7).step_by(4);
        whole() || words.any(|at| disguise(word(at)) == self.low && near(at))
    }
}

/// What this process can read, and what of that its forks can read as well.
struct Readable {
    here: Vec<Range<usize>>,
    in_forks: Vec<Range<usize>>,
}

/// Everything this process can read. To be called before the lock, so with room for what the stack may yet grow.
fn readable() -> Readable {
    std::hint::black_box([1_u8; 256 << 10]);
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("a process can read its own maps");
    let mut readable = Readable { here: Vec::new(), in_forks: Vec::new() };
    let mut last = None;
    for line in maps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let left_out = flags.split_ascii_whitespace().any(|flag| flag == "dc");
            if let (Some(range), false) = (last.take(), left_out) {
                readable.in_forks.push(range);
            }
        } else if let Some(range) = readable_range(line) {
            readable.here.push(range.clone());
            last = Some(range);
        }
    }
    readable
}

/// The range of a line that begins a mapping, if it can be read.
fn readable_range(line: &str) -> Option<Range<usize>> {
    if ["[vvar]", "[vvar_vclock]", "[vsyscall]"].iter().any(|name| line.ends_with(name)) {
        return None;
    }
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let range = address(start)?..address(end)?;
    words.next()?.starts_with('r').then_some(range)
}

/// Where [`save_registers`] puts them; a static, so that the search finds what is in it.
#[repr(C, align(64))]
struct Registers {
    extended: [u8; 4096],
    general: [u64; 14],
}

struct Saved(UnsafeCell<Registers>);

// SAFETY: written and read by the one thread of a part.
unsafe impl Sync for Saved {}

static SAVED: Saved = Saved(UnsafeCell::new(Registers { extended: [0; 4096], general: [0; 14] }));

/// Copies all registers to memory: the general ones as they are on entry, and the vector ones.
#[inline(never)]
fn save_registers() {
    /// x87, SSE, AVX and the three parts of AVX-512.
    const VECTORS: u32 = 0xe7;
    assert!(std::arch::is_x86_feature_detected!("xsave"));
    // SAFETY: the area is large enough for these parts and aligned as XSAVE asks; `general` has room for all stored.
    unsafe {
        let area = SAVED.0.get();
        asm!("mov [{to}], rax", "mov [{to} + 8], rcx", "mov [{to} + 16], rdx", "mov [{to} + 24], rbx",
             "mov [{to} + 32], rbp", "mov [{to} + 40], rsi", "mov [{to} + 48], r8", "mov [{to} + 56], r9",
             "mov [{to} + 64], r10", "mov [{to} + 72], r11", "mov [{to} + 80], r12", "mov [{to} + 88], r13",
             "mov [{to} + 96], r14", "mov [{to} + 104], r15", "xor edx, edx", "mov eax, {vectors}", "xsave64 [{area}]",
             to = in(reg) &raw mut (*area).general, area = in(reg) &raw mut (*area).extended,
             vectors = const VECTORS, out("eax") _, out("edx") _, options(nostack));
    }
}

/// Whether each key lies anywhere in memory or in a register.
fn search(wanted: &[Wanted; 2], ranges: &[Range<usize>]) -> [bool; 2] {
    save_registers();
    wanted.map(|key| ranges.iter().any(|range| key.lies_in(range)))
}

/// Locks the process as [`lockdown::install_filter`](webrunner_worker::lockdown::install_filter) does, and gives the
/// disguised keys and where to look for them.
fn lock_and_note_keys() -> ([Wanted; 2], Readable) {
    memory::reserve().expect("job memory can be reserved");
    stack::ensure().expect("a stack for workers can be mapped");
    keyed::create().expect("keys can be made");
    let rules = policy::rules(&memory::arenas(), stack::top());
    let mut program = policy::compile(&rules).expect("the table compiles");
    let places = KEYS.map(|key| places(&program, key.placeholder())[0]);
    let ranges = readable();
    let mut wanted = [Wanted::default(); 2];
    keyed::seal(&mut program, |sealed| {
        wanted = places.map(|place| Wanted::new(sealed, place));
        seccompiler::apply_filter(sealed).map_err(std::io::Error::other)
    })
    .expect("the filter can be installed");
    (wanted, ranges)
}

fn found_nowhere_once_forgotten() -> bool {
    let (wanted, ranges) = lock_and_note_keys();
    // In the vault, and found there: the search works.
    let zygote = search(&wanted, &ranges.here) == [true, true];
    let worker = in_worker(|| {
        let held = search(&wanted, &ranges.in_forks) == [true, true];
        keyed::forget(Key::Setup);
        let half = search(&wanted, &ranges.in_forks) == [false, true];
        keyed::forget(Key::Load);
        held && half && search(&wanted, &ranges.in_forks) == [false, false]
    });
    // The fork left no copy behind in the zygote either, but in the vault.
    let elsewhere = search(&wanted, &ranges.in_forks) == [false, false];
    let after = elsewhere && search(&wanted, &ranges.here) == [true, true];
    zygote && worker == Some(ExitStatus::Code(0)) && after
}

#[test]
fn a_forgotten_key_is_in_no_memory_and_no_register() {
    let end = alone("keys::a_forgotten_key_is_in_no_memory_and_no_register", found_nowhere_once_forgotten);
    assert_eq!(end, End::Done);
}
