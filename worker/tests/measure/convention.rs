//! Where arguments arrive, what state a function finds, and what is found about one that leaves another behind.

use webrunner_protocol::reply::Findings;

use super::*;

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
