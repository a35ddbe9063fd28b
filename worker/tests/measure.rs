//! The harness against real machine code: where arguments arrive, what is found about functions that break the
//! convention, and that measuring ends with figures whatever the function does.
//!
//! Trusts that no two tests use the trampoline at once, which `Session` sees to. Times are never asserted.

use std::arch::global_asm;
use std::cell::UnsafeCell;

use webrunner_protocol::counts::{Counting, NotCountable};
use webrunner_protocol::ids::JobId;
use webrunner_protocol::job::Effort;
use webrunner_protocol::passes::EventCounts;
use webrunner_protocol::plan::Argument;
use webrunner_protocol::reply::{EntryPoint, Findings, Gate, Measurement, Outcome, Outputs, Phases, Reply};
use webrunner_worker::measure::{
    Counters, Host, Inputs, Measured, NoCounters, NoInputs, PreparedCall, Reading, Schedule, Session, flush,
    measure, rehearse,
};

macro_rules! function {
    ($name:ident, $($line:expr),+ $(,)?) => {
        global_asm!(
            ".p2align 4",
            concat!(".globl test_", stringify!($name)),
            concat!("test_", stringify!($name), ":"),
            $($line),+,
            // Not every function writes to it.
            "/* {seen} */",
            seen = sym SEEN,
        );
        #[allow(non_snake_case)]
        fn $name() -> u64 {
            unsafe extern "sysv64" {
                #[link_name = concat!("test_", stringify!($name))]
                fn code();
            }
            code as *const () as u64
        }
    };
}

/// What the functions below write down. Words 0 to 5: integer registers; 6 to 13: vector registers; 14: rax; 15: rsp;
/// 16: MXCSR; 17: x87 control word; 18: flags; 19: everything that should be zero, or-ed; 20 on: the stack at entry.
#[repr(transparent)]
struct Seen(UnsafeCell<[u64; 64]>);

// SAFETY: only the holder of the one `Session` calls the functions, and reads this before it gives the session back.
unsafe impl Sync for Seen {}

static SEEN: Seen = Seen(UnsafeCell::new([0; 64]));

// Writes down all it is given, and returns 42 in rax and 2.5f in xmm0.
function!(
    observer,
    "mov [rip + {seen} + 112], rax",
    "mov [rip + {seen}], rdi",
    "mov [rip + {seen} + 8], rsi",
    "mov [rip + {seen} + 16], rdx",
    "mov [rip + {seen} + 24], rcx",
    "mov [rip + {seen} + 32], r8",
    "mov [rip + {seen} + 40], r9",
    "movsd [rip + {seen} + 48], xmm0",
    "movsd [rip + {seen} + 56], xmm1",
    "movsd [rip + {seen} + 64], xmm2",
    "movsd [rip + {seen} + 72], xmm3",
    "movsd [rip + {seen} + 80], xmm4",
    "movsd [rip + {seen} + 88], xmm5",
    "movsd [rip + {seen} + 96], xmm6",
    "movsd [rip + {seen} + 104], xmm7",
    "mov [rip + {seen} + 120], rsp",
    "stmxcsr [rip + {seen} + 128]",
    "fnstcw [rip + {seen} + 136]",
    "pushfq",
    "pop qword ptr [rip + {seen} + 144]",
    "or r10, r11",
    ".irp register, 8, 9, 10, 11, 12, 13, 14, 15",
    "movq r11, xmm\\register",
    "or r10, r11",
    "psrldq xmm\\register, 8",
    "movq r11, xmm\\register",
    "or r10, r11",
    ".endr",
    "or [rip + {seen} + 152], r10",
    "lea r11, [rip + {seen} + 160]",
    "xor ecx, ecx",
    "2: mov rax, [rsp + 8 * rcx + 8]",
    "mov [r11 + 8 * rcx], rax",
    "inc ecx",
    "cmp ecx, 26",
    "jb 2b",
    "mov ecx, 0x40200000",
    "movd xmm0, ecx",
    "mov eax, 42",
    "ret",
);

// Adds up its two stack arguments and spoils them, as a callee may. Sets word 0 if the sum was ever another.
function!(
    spoiler,
    "mov rax, [rsp + 8]",
    "add rax, [rsp + 16]",
    "cmp rax, 15",
    "je 2f",
    "mov qword ptr [rip + {seen}], 1",
    "2: mov qword ptr [rsp + 8], -1",
    "mov qword ptr [rsp + 16], -1",
    "ret",
);

// Returns how often it was called.
function!(counting, "inc qword ptr [rip + {seen}]", "mov rax, [rip + {seen}]", "ret");

function!(empty, "ret");
function!(destroys_rbx_and_r13, "xor ebx, ebx", "not r13", "ret");
function!(
    destroys_everything,
    "mov rax, -1",
    ".irp register, rbx, rbp, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15",
    "mov \\register, rax",
    ".endr",
    ".irp register, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "pcmpeqd xmm\\register, xmm\\register",
    ".endr",
    "ret",
);
function!(pops_its_arguments, "ret 8");
function!(moves_the_stack, "pop rcx", "sub rsp, 4096", "jmp rcx");
function!(loses_the_stack, "pop rcx", "xor esp, esp", "jmp rcx");
function!(sets_the_direction_flag, "std", "ret");
function!(sets_alignment_check, "pushfq", "or dword ptr [rsp], 0x40000", "popfq", "ret");
function!(flushes_denormals, "mov dword ptr [rsp - 8], 0x9fc0", "ldmxcsr [rsp - 8]", "ret");
function!(raises_status_flags, "mov dword ptr [rsp - 8], 0x1fbf", "ldmxcsr [rsp - 8]", "ret");
function!(unmasks_exceptions, "mov dword ptr [rsp - 8], 0", "ldmxcsr [rsp - 8]", "ret");
function!(fills_the_x87_stack, ".rept 8", "fld1", ".endr", "ret");
function!(forgets_emms, "movd mm0, eax", "ret");
function!(rounds_x87_to_single, "mov word ptr [rsp - 8], 0x7f", "fldcw [rsp - 8]", "ret");
function!(dirties_upper_halves, "vxorps ymm3, ymm3, ymm3", "vcmptrueps ymm3, ymm3, ymm3", "ret");
function!(cleans_upper_halves, "vcmptrueps ymm3, ymm3, ymm3", "vzeroupper", "ret");

/// The one session of the process and a stack to call on.
struct Bench {
    session: Session,
    host: Host,
    stack: Vec<u128>,
}

impl Bench {
    /// Waits for the tests that run beside this one.
    fn new() -> Self {
        let mut session = loop {
            match Session::open() {
                Some(session) => break session,
                None => std::thread::yield_now(),
            }
        };
        // SAFETY: the session is held, so no function writes.
        unsafe { *SEEN.0.get() = [0; 64] };
        let host = Host::probe(&mut session, 2500.0);
        Self { session, host, stack: vec![0; 1024] }
    }

    /// Leaves room above the top for functions that read more of the stack than they were given.
    fn stack_top(&self) -> u64 {
        &raw const self.stack[900] as u64
    }

    fn run(&mut self, function: u64, arguments: &[Argument], schedule: &Schedule) -> Measured {
        let call =
            PreparedCall::new(arguments, &[], function, self.stack_top()).expect("a call that can be placed");
        // SAFETY: the functions above return, stay on the stack they are given, and write nowhere but there and to SEEN.
        unsafe { measure(&mut self.session, &call, schedule, &self.host, &mut NoCounters, &mut NoInputs) }
    }

    fn seen(&self) -> [u64; 64] {
        // SAFETY: the session is held and no call is running.
        unsafe { *SEEN.0.get() }
    }
}

fn quick() -> Schedule {
    Schedule::of(Effort::Quick)
}

/// Gated, but over in milliseconds whatever the machine does meanwhile.
fn short() -> Schedule {
    Schedule { wanted_rounds: 3, budget_us: 2e3, warm_up_us: 10.0, ..Schedule::of(Effort::Standard) }
}

fn findings_of(function: u64) -> Findings {
    let mut bench = Bench::new();
    let found = bench.run(function, &[Argument::Integer(1)], &quick()).findings;
    assert_eq!(found, bench.run(function, &[Argument::Integer(1)], &short()).findings);
    found
}

/// What a function that does nothing wrong is found to do, on this CPU.
fn nothing() -> Findings {
    findings_of(empty())
}

#[test]
fn arguments_of_every_class_arrive_where_the_convention_puts_them() {
    let mut bench = Bench::new();
    let mut arguments: Vec<_> = (1..=8).map(|value| Argument::Integer(value << 40)).collect();
    arguments.extend((1..=9).map(|value| Argument::Double(f64::from(value) / 3.0)));
    arguments.push(Argument::Float(0.1));
    arguments.push(Argument::Integer(u64::MAX));
    bench.run(observer(), &arguments, &quick());
    let seen = bench.seen();
    assert_eq!(seen[..6], [1, 2, 3, 4, 5, 6].map(|value| value << 40));
    assert_eq!(seen[6..14], [1., 2., 3., 4., 5., 6., 7., 8.].map(|value: f64| (value / 3.0).to_bits()));
    let on_the_stack = [7 << 40, 8 << 40, 3f64.to_bits(), 0.1f32.to_bits().into(), u64::MAX];
    assert_eq!(seen[20..25], on_the_stack);
    assert_eq!(seen[14], 8, "al holds the number of vector registers used");
}

#[test]
fn a_float_arrives_in_the_low_lane_of_its_register() {
    let mut bench = Bench::new();
    bench.run(observer(), &[Argument::Float(-0.75), Argument::Integer(9)], &quick());
    assert_eq!(bench.seen()[6], u64::from((-0.75f32).to_bits()));
    assert_eq!(bench.seen()[0], 9);
}

#[test]
fn the_state_on_entry_is_the_same_for_any_number_of_arguments() {
    for count in [0, 1, 6, 7, 8, 13] {
        let mut bench = Bench::new();
        bench.run(observer(), &vec![Argument::Integer(3); count], &short());
        let seen = bench.seen();
        assert_eq!(seen[15] % 16, 8, "rsp with {count} arguments");
        assert_eq!(seen[16], 0x1F80, "MXCSR");
        assert_eq!(seen[17], 0x37F, "x87 control word");
        assert_eq!(seen[18] & 0x4_0500, 0, "AC, DF and TF");
        assert_eq!(seen[19], 0, "registers without an argument");
    }
}

#[test]
fn stack_arguments_are_written_afresh_for_every_call() {
    let mut bench = Bench::new();
    let mut arguments = vec![Argument::Integer(0); 6];
    arguments.extend([Argument::Integer(7), Argument::Integer(8)]);
    let measured = bench.run(spoiler(), &arguments, &short());
    assert_eq!(measured.returned.integer, 15);
    assert_eq!(bench.seen()[0], 0, "a later call saw other arguments");
}

#[test]
fn what_the_first_call_returns_is_kept() {
    let measured = Bench::new().run(observer(), &[], &quick());
    assert_eq!(measured.returned.integer, 42);
    assert_eq!(measured.returned.vector, u64::from(2.5f32.to_bits()));
    assert_eq!(Bench::new().run(counting(), &[], &short()).returned.integer, 1);
}

#[test]
fn a_function_that_keeps_the_convention_has_no_findings() {
    let nothing = nothing();
    assert_eq!(nothing, Findings { dirty_upper: nothing.dirty_upper, ..Findings::default() });
    assert_ne!(nothing.dirty_upper, Some(true));
    for function in [raises_status_flags(), spoiler(), observer()] {
        assert_eq!(findings_of(function), nothing);
    }
}

#[test]
fn changed_callee_saved_registers_are_found_one_by_one() {
    assert_eq!(findings_of(destroys_rbx_and_r13()), Findings { clobbered: 0b00_1001, ..nothing() });
    assert_eq!(findings_of(destroys_everything()), Findings { clobbered: 0b11_1111, ..nothing() });
}

#[test]
fn a_stack_pointer_that_comes_back_wrong_is_found_and_survived() {
    for function in [pops_its_arguments(), moves_the_stack(), loses_the_stack()] {
        assert_eq!(findings_of(function), Findings { stack_pointer: true, ..nothing() });
    }
}

#[test]
fn flags_that_come_back_set_do_not_reach_the_harness() {
    assert_eq!(findings_of(sets_the_direction_flag()), Findings { direction_flag: true, ..nothing() });
    assert_eq!(findings_of(sets_alignment_check()), nothing());
}

#[test]
fn changed_floating_point_control_is_found_and_undone() {
    for function in [flushes_denormals(), unmasks_exceptions()] {
        assert_eq!(findings_of(function), Findings { mxcsr: true, ..nothing() });
    }
    let denormal = std::hint::black_box(f64::MIN_POSITIVE) / 2.0;
    assert!(denormal > 0.0, "the harness itself still has denormals");
}

#[test]
fn an_x87_unit_that_is_not_as_it_was_is_found() {
    for function in [fills_the_x87_stack(), forgets_emms(), rounds_x87_to_single()] {
        assert_eq!(findings_of(function), Findings { x87: true, ..nothing() });
    }
}

#[test]
fn dirty_upper_halves_are_found_where_the_cpu_can_tell() {
    if !std::arch::is_x86_feature_detected!("avx") {
        return;
    }
    let nothing = nothing();
    let dirty = nothing.dirty_upper.map(|_| true);
    assert_eq!(findings_of(dirties_upper_halves()), Findings { dirty_upper: dirty, ..nothing });
    assert_eq!(findings_of(cleans_upper_halves()), nothing);
}

#[test]
fn every_schedule_gives_a_reply_that_passes_its_check() {
    for schedule in [quick(), short(), Schedule { most_rounds: 0, budget_us: 0.0, ..short() }] {
        for function in [empty(), observer(), destroys_everything()] {
            let measured = Bench::new().run(function, &[], &schedule);
            assert!(measured.cycles.calls_per_round >= 1);
            assert_eq!(as_reply(measured).check(JobId(7)), Ok(()), "{schedule:?}");
        }
    }
}

#[test]
fn gated_rounds_are_reported_or_counted_as_dropped() {
    let schedule = Schedule { most_rounds: 20, wanted_rounds: 1000, budget_us: 1e9, ..short() };
    let cycles = Bench::new().run(observer(), &[], &schedule).cycles;
    assert_eq!(cycles.isolated.len() + cycles.dropped as usize, 20);
    assert_eq!(cycles.throughput.len(), cycles.isolated.len());
    assert_ne!(cycles.gate, Gate::Ungated);
}

#[test]
fn a_budget_of_nothing_still_gives_one_round() {
    let cycles = Bench::new().run(empty(), &[], &Schedule { budget_us: 0.0, ..short() }).cycles;
    assert_eq!((cycles.isolated.len(), cycles.gate, cycles.dropped), (1, Gate::Ungated, 0));
}

#[test]
fn a_function_that_is_long_enough_is_called_once() {
    let mut bench = Bench::new();
    let schedule = Schedule { first_call_alone_us: 0.0, ..short() };
    let cycles = bench.run(counting(), &[], &schedule).cycles;
    assert_eq!((cycles.isolated.len(), cycles.gate, cycles.calls_per_round), (1, Gate::Ungated, 1));
    assert_eq!(bench.seen()[0], 1);
}

/// Counts its own readings, twice: as they are, and ten times over.
struct Readings(u64);

impl Counters for Readings {
    fn len(&self) -> usize {
        2
    }

    fn read(&mut self, readings: &mut [Reading]) -> bool {
        self.0 += 1;
        readings[0].value = self.0;
        readings[1].value = self.0 * 10;
        true
    }
}

#[test]
fn counters_are_read_around_the_functions_batches_and_summed_over_their_calls() {
    for schedule in [quick(), Schedule { most_rounds: 12, wanted_rounds: 1000, budget_us: 1e9, ..short() }] {
        let mut bench = Bench::new();
        let call = PreparedCall::new(&[], &[], empty(), bench.stack_top()).expect("a call without arguments");
        let mut counters = Readings(0);
        // SAFETY: the function only returns.
        let measured = unsafe {
            measure(&mut bench.session, &call, &schedule, &bench.host, &mut counters, &mut NoInputs)
        };
        let [one, ten] = measured.counters[..] else { panic!("{:?}", measured.counters) };
        assert_eq!((one.event, ten.event), (0, 1));
        assert!(one.count >= 1 && one.count <= counters.0 / 2);
        assert_eq!(ten.count, 10 * one.count);
        assert!(one.calls >= one.count && one.calls == ten.calls);
    }
}

/// A word that the function under test changes, and what it was asked for.
struct Word {
    restored: u32,
    flushed: u32,
}

impl Inputs for Word {
    fn restore(&mut self) {
        self.restored += 1;
        // SAFETY: the session is held and no batch is running.
        unsafe { (*SEEN.0.get())[0] = 0 };
    }

    fn flush(&mut self, host: &Host) {
        self.flushed += 1;
        // SAFETY: as above.
        let seen = unsafe { &*SEEN.0.get() };
        flush(&seen[0].to_ne_bytes(), host);
    }
}

#[test]
fn inputs_are_restored_before_each_batch_of_a_round_and_flushed_before_each_cold_call() {
    let mut bench = Bench::new();
    let call = PreparedCall::new(&[], &[], counting(), bench.stack_top()).expect("a call without arguments");
    let schedule = Schedule {
        restore: true,
        cold_calls: 7,
        cold_budget_us: 1e9,
        most_rounds: 5,
        budget_us: 1e9,
        wanted_rounds: 1000,
        ..short()
    };
    let mut word = Word { restored: 0, flushed: 0 };
    // SAFETY: the function only counts in SEEN.
    let measured =
        unsafe { measure(&mut bench.session, &call, &schedule, &bench.host, &mut NoCounters, &mut word) };
    assert_eq!(measured.cycles.cold.map(|cold| cold.calls), Some(7));
    assert_eq!((word.restored, word.flushed), (2 * 5 + 7, 7), "two batches a round");
    assert_eq!(bench.seen()[0], 1, "one call since the last time");
}

/// Notes how often the function was called before its inputs were first restored, which is before its first round.
struct CallsBefore(Option<u64>);

impl Inputs for CallsBefore {
    fn restore(&mut self) {
        // SAFETY: the session is held and no batch is running.
        let calls = unsafe { (*SEEN.0.get())[0] };
        self.0.get_or_insert(calls);
    }

    fn flush(&mut self, _: &Host) {}
}

#[test]
fn a_function_of_wide_vectors_runs_before_its_batches_are_sized() {
    // The first call and one for each of six sizes: batches of no length are of one call.
    const FEW: u64 = 7;
    let calls_before = |wide_vectors| {
        let mut bench = Bench::new();
        let call =
            PreparedCall::new(&[], &[], counting(), bench.stack_top()).expect("a call without arguments");
        let schedule = Schedule {
            wide_vectors,
            warm_up_us: 20e3,
            batch_us: 0.0,
            most_rounds: 1,
            restore: true,
            ..short()
        };
        let mut inputs = CallsBefore(None);
        // SAFETY: the function only counts in SEEN.
        unsafe { measure(&mut bench.session, &call, &schedule, &bench.host, &mut NoCounters, &mut inputs) };
        inputs.0.expect("a round")
    };
    assert!(calls_before(false) <= FEW);
    assert!(calls_before(true) > FEW);
}

#[test]
fn a_function_is_measured_at_each_of_its_places_in_turn() {
    let mut bench = Bench::new();
    let places = [empty(), counting(), observer()];
    let call = PreparedCall::new(&[], &[], places[0], bench.stack_top()).expect("a call without arguments");
    let call = call.also_at(&places[1..]);
    let schedule = Schedule { most_rounds: 12, budget_us: 1e9, wanted_rounds: 1000, ..short() };
    // SAFETY: the functions write to SEEN at most.
    let measured =
        unsafe { measure(&mut bench.session, &call, &schedule, &bench.host, &mut NoCounters, &mut NoInputs) };
    let offsets: Vec<_> = measured.cycles.placements.iter().map(|place| u64::from(place.offset)).collect();
    assert_eq!(offsets, places.map(|address| address % 64));
    let seen = bench.seen();
    assert!(seen[15] != 0, "the third place was never called");
}

#[test]
fn denormals_are_flushed_where_that_is_asked() {
    let mut bench = Bench::new();
    let call = PreparedCall::new(&[], &[], observer(), bench.stack_top()).expect("a call without arguments");
    let call = call.flushing_denormals();
    // SAFETY: the function writes to SEEN alone.
    let measured =
        unsafe { measure(&mut bench.session, &call, &quick(), &bench.host, &mut NoCounters, &mut NoInputs) };
    assert_eq!(bench.seen()[16], 0x9FC0);
    assert!(!measured.findings.mxcsr);
}

#[test]
fn a_rehearsal_leaves_no_trace_in_the_measurement_that_follows() {
    let mut bench = Bench::new();
    let stack_top = bench.stack_top();
    // SAFETY: the stack is this test's own.
    unsafe { rehearse(&mut bench.session, stack_top, &bench.host) };
    let measured = bench.run(counting(), &[], &quick());
    assert_eq!((measured.returned.integer, measured.findings.clobbered), (1, 0));
}

#[test]
fn there_is_one_session_at_a_time() {
    let bench = Bench::new();
    assert!(Session::open().is_none());
    drop(bench);
}

fn as_reply(measured: Measured) -> Reply {
    Reply {
        job: JobId(7),
        outcome: Outcome::Measured(Box::new(Measurement {
            entry: EntryPoint { symbol: None, offset: 0 },
            returned: measured.returned,
            cycles: measured.cycles,
            counters: measured.counters,
            events: EventCounts { passes: measured.passes, refused: Vec::new() },
            counts: Counting::Impossible(NotCountable::TooLong),
            code: None,
            findings: measured.findings,
            phases: Phases::default(),
            outputs: Outputs::NotAsked,
        })),
    }
}
