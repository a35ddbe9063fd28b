//! What counting costs: analysis, the bound on its stack, the copy, one call of it and the totals, for two objects of
//! the tests.
//!
//! `cargo bench -p webrunner-worker --bench count` prints the median of many warm runs, in microseconds. A worker does it
//! once, cold, and pays for page faults besides: the answer's `count_us` tells how much. Nothing is asserted.

use std::time::Instant;

use webrunner_protocol::job::EntryRule;
use webrunner_protocol::plan::Argument;
use webrunner_worker::count::{
    Data, Text, analyse, code_bytes, instrument, read, set_budget, stack_use, totals,
};
use webrunner_worker::load::{Object, Rights};
use webrunner_worker::measure::{Host, PreparedCall, Session, call_once};

const CHAIN: &[u8] = include_bytes!("../../tests/objects/good/chain100.o");
const SDOT: &[u8] = include_bytes!("../../tests/objects/peachpy/sdot_peachpy.o");

const RUNS: usize = 1000;
const ROOM: usize = 1 << 20;

fn main() {
    let mut session = Session::open().expect("nothing else uses the trampoline");
    let host = Host::probe(&mut session, 2500.0);
    let numbers = vec![1.0f32; 1024];
    let one = Argument::Integer(1);
    let sdot = [Argument::Integer(1024), Argument::Pointer(0), one, Argument::Pointer(0), one];
    println!(
        "{:10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "object", "analyse", "stack", "copy", "call", "totals", "together"
    );
    for (name, object, arguments) in [("chain100", CHAIN, &sdot[..1]), ("sdot 1024", SDOT, &sdot[..])] {
        let mut times = [(); 5].map(|()| Vec::with_capacity(RUNS));
        let low = Low::new(object);
        for _ in 0..RUNS {
            for (all, time) in times.iter_mut().zip(once(&low, arguments, &numbers, &mut session, &host)) {
                all.push(time);
            }
        }
        let medians = times.map(|mut all| {
            all.sort_unstable_by(f64::total_cmp);
            all[RUNS / 2]
        });
        let [analysis, stack, copy, call, total] = medians;
        let together: f64 = medians.iter().sum();
        println!("{name:10} {analysis:8.2} {stack:8.2} {copy:8.2} {call:8.2} {total:8.2} {together:8.2}");
    }
}

/// A linked object in memory below 2 GiB, with room for its copy before it.
struct Low {
    room: u64,
    text: Text<'static>,
}

impl Low {
    fn new(bytes: &[u8]) -> Self {
        let object = Object::parse(bytes).expect("a good object");
        let entry = object.entry(&EntryRule { symbol: None, kernel: "none".into() }).expect("one function");
        let layout = object.layout();
        let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        let bytes = ROOM + layout.bytes as usize;
        // SAFETY: a new mapping.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        let base = start as usize + ROOM;
        let slices = layout.segments.iter().map(|segment| {
            let (at, bytes) = (base + segment.offset as usize, segment.bytes as usize);
            // SAFETY: segments lie apart, inside the mapping.
            unsafe { std::slice::from_raw_parts_mut(at as *mut u8, bytes) }
        });
        let mut slices: Vec<&'static mut [u8]> = slices.collect();
        object.link(base as u64, &mut slices).expect("values that fit");
        let is_text = |rights: Rights| rights == Rights::ReadExecute;
        let index = layout.segments.iter().position(|segment| is_text(segment.rights)).expect("text");
        let address = base as u64 + layout.segments[index].offset;
        let text = Text { bytes: slices.remove(index), address, entry: base as u64 + entry.offset };
        Self { room: start as u64, text }
    }
}

/// Microseconds of each step.
fn once(low: &Low, arguments: &[Argument], numbers: &[f32], session: &mut Session, host: &Host) -> [f64; 5] {
    let mut memory = [0u128; 1024];
    let top = memory.as_mut_ptr_range().end as u64;
    let mut from = Instant::now();
    let mut lap = || {
        let time = from.elapsed().as_secs_f64() * 1e6;
        from = Instant::now();
        time
    };
    let analysis = analyse(low.text, &[]);
    let analysed = lap();
    std::hint::black_box(stack_use(&analysis, low.text));
    let bounded = lap();
    let (data_at, code_at) = (low.room, low.room + ROOM as u64 / 2);
    // SAFETY: two parts of the mapping's room, which nothing else uses.
    let (data, code) = unsafe {
        let part = |at: u64, bytes| std::slice::from_raw_parts_mut(at as *mut u8, bytes);
        (part(data_at, Data::bytes(&analysis)), part(code_at, code_bytes(&analysis)))
    };
    data.fill(0);
    let copy = instrument(&analysis, low.text, (code, code_at), (&mut *data, data_at)).expect("small code");
    let copied = lap();
    set_budget(data, 1 << 30);
    let call =
        PreparedCall::new(arguments, &[numbers.as_ptr() as u64], copy.entry, top).expect("a call that fits");
    // SAFETY: a test object's function on a stack of its own.
    unsafe { call_once(session, &call, host) };
    let called = lap();
    let (ending, counters) = read(&analysis, data);
    std::hint::black_box((ending, totals(&analysis, &counters)));
    [analysed, bounded, copied, called, lap()]
}
