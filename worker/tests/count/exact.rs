//! Counts that can be worked out by hand.

use std::arch::global_asm;

use webrunner_protocol::counts::{LoopTurns, NotCountable};
use webrunner_protocol::plan::Argument;
use webrunner_worker::count::{Ending, Features};

use crate::machine::{Program, Run};

macro_rules! code {
    ($name:ident, $($line:expr),+ $(,)?) => {
        global_asm!(
            concat!(".globl test_count_", stringify!($name), ", test_count_", stringify!($name), "_end"),
            concat!(".hidden test_count_", stringify!($name), ", test_count_", stringify!($name), "_end"),
            concat!("test_count_", stringify!($name), ":"),
            $($line),+,
            concat!("test_count_", stringify!($name), "_end:"),
        );
        fn $name() -> Program {
            unsafe extern "sysv64" {
                #[link_name = concat!("test_count_", stringify!($name))]
                fn start();
                #[link_name = concat!("test_count_", stringify!($name), "_end")]
                fn end();
            }
            let (start, end) = (start as *const () as usize, end as *const () as usize);
            // SAFETY: the assembler put one label behind the other, in readable text.
            Program::of_code(unsafe { std::slice::from_raw_parts(start as *const u8, end - start) })
        }
    };
}

code!(turns, "mov rax, rdi", "2: add rsi, 1", "dec rax", "jnz 2b", "ret");
// Instructions, 3n + 2 with the moves; the flags of `cmp` live over a block's end, all of them.
code!(
    flags_and_registers,
    "mov rcx, 77",
    "mov r8, 0x1234",
    "cmp edi, esi",
    "jmp 2f",
    "2: pushfq",
    "pop rax",
    "jmp 3f",
    "3: and eax, 0x8d5",
    "shl rcx, 32",
    "or rax, rcx",
    "ret",
);
code!(red_zone, "mov [rsp - 8], rdi", "jmp 2f", "2: jmp 3f", "3: mov rax, [rsp - 8]", "ret");
code!(copies, "mov rcx, rdx", "rep movsb", "mov eax, 5", "ret");
// Backwards, by the lower half of rcx alone, whose upper half is not zero.
code!(
    copies_back,
    "mov rcx, 0x700000000",
    "or rcx, rdx",
    "lea rdi, [rdi + 8 * rdx - 8]",
    "lea rsi, [rsi + 8 * rdx - 8]",
    "std",
    "rep movs qword ptr es:[edi], qword ptr ds:[esi]",
    "cld",
    "mov rax, rcx",
    "ret",
);
// The flags of the comparison and what is left in rcx: both must come out of the copy as they do of the original.
code!(
    finds,
    "mov rcx, rdx",
    "mov eax, 7",
    "repne scasb",
    "sete al",
    "movzx eax, al",
    "shl rcx, 8",
    "or rax, rcx",
    "ret",
);
code!(compares, "mov rcx, rdx", "repe cmpsw", "setb al", "movzx eax, al", "ret");
code!(fills, "mov rcx, rdx", "rep stosd", "mov rcx, rdx", "rep lodsq", "mov ecx, 0", "rep stosb", "ret");
code!(fills_in_turns, "mov eax, 3", "2: mov rcx, rdx", "rep stosb", "dec eax", "jnz 2b", "ret");
code!(
    x87,
    "fld1",
    "fld1",
    "fadd st(0), st(1)",
    "fmulp",
    "fld qword ptr [rdi]",
    "fdivp",
    "fsqrt",
    "fisub dword ptr [rdi]",
    "fabs",
    "fstp st(0)",
    "ret",
);
code!(dot_products, "dpps xmm0, xmm1, 0xff", "dppd xmm0, xmm1, 0xff", "ret");
code!(
    cache_control,
    "clflush [rdi]",
    "prefetcht0 [rdi]",
    "prefetchnta [rdi]",
    "prefetchw [rdi]",
    ".byte 0x0f, 0x1c, 0x07",
    "nop dword ptr [rdi]",
    "ret",
);
code!(
    fibonacci,
    "cmp rdi, 2",
    "jae 2f",
    "mov rax, rdi",
    "ret",
    "2: push rbx",
    "push rdi",
    "dec rdi",
    "call test_count_fibonacci",
    "mov rbx, rax",
    "pop rdi",
    "sub rdi, 2",
    "call test_count_fibonacci",
    "add rax, rbx",
    "pop rbx",
    "ret",
);
code!(
    short_branches,
    "mov rcx, rdi",
    "xor eax, eax",
    "2: inc rax",
    "loop 2b",
    "jrcxz 3f",
    "ud2",
    "3: mov ecx, 1",
    "jecxz 4f",
    "add rax, 100",
    "4: ret",
);
code!(
    pushes_its_target,
    "lea rax, [rip + 2f]",
    "push rax",
    "stc",
    "ret",
    "ud2",
    "2: setc al",
    "movzx eax, al",
    "ret"
);
code!(pops_its_return, "pop rdx", "mov eax, 9", "jmp rdx");
code!(
    through_registers,
    "lea rcx, [rip + 3f]",
    "xor eax, eax",
    "mov r9d, 3",
    "2: stc",
    "call rcx",
    "dec r9d",
    "jnz 2b",
    "lea rdx, [rip + 4f]",
    "push rdx",
    "jmp qword ptr [rsp]",
    "3: adc rax, 10",
    "ret 0",
    "4: add rsp, 8",
    "ret",
);
code!(drops_arguments, "push 1", "push 2", "call 2f", "mov eax, 4", "ret", "2: mov rax, [rsp + 8]", "ret 16");
code!(
    constants_in_text,
    "movsd xmm0, [rip + 2f]",
    "addsd xmm0, [rip + 2f]",
    "cmp dword ptr [rip + 2f + 4], 0x40080000",
    "sete al",
    "movzx eax, al",
    "ret",
    "2: .quad 0x4008000000000000",
);
code!(
    floating_point,
    "vxorps ymm0, ymm0, ymm0",
    "vfmadd231ps ymm0, ymm0, [rdi]",
    "vfmadd231sd xmm0, xmm0, xmm0",
    "addps xmm0, xmm1",
    "vmulpd ymm0, ymm0, ymm0",
    "sqrtss xmm0, xmm0",
    "haddpd xmm0, xmm0",
    "fld1",
    "fstp st(0)",
    "pxor xmm2, xmm2",
    "vzeroupper",
    "ret",
);
code!(
    memory,
    "push rdi",
    "pop rax",
    "add [rsi], rax",
    "lea rcx, [rsi + 8]",
    "prefetcht0 [rcx]",
    "movaps xmm0, [rcx + 8]",
    "ret"
);
code!(
    gathers,
    "vpcmpeqd ymm2, ymm2, ymm2",
    "vpxor xmm1, xmm1, xmm1",
    "vgatherdps ymm0, [rdi + 4 * ymm1], ymm2",
    "vzeroupper",
    "ret"
);
// 75 mnemonics in 76 instructions.
#[rustfmt::skip]
code!(
    many_mnemonics,
    "nop", "nop", "mov ecx, 1", "xchg ecx, edx", "add ecx, 1", "adc ecx, 1", "sub ecx, 1", "sbb ecx, 1",
    "and ecx, 1", "or ecx, 1", "xor ecx, 1", "not ecx", "neg ecx", "inc ecx", "dec ecx", "cmp ecx, 1",
    "test ecx, 1", "shl ecx, 1", "shr ecx, 1", "sar ecx, 1", "rol ecx, 1", "ror ecx, 1", "rcl ecx, 1",
    "rcr ecx, 1", "imul ecx, ecx", "mul ecx", "bswap ecx", "bsf ecx, edx", "bsr ecx, edx", "bt ecx, 1",
    "bts ecx, 1", "btr ecx, 1", "btc ecx, 1", "lea ecx, [rdx]", "movzx ecx, dl", "movsx ecx, dl",
    "movsxd rcx, edx", "cdqe", "cwde", "cbw", "cdq", "cqo", "cwd", "clc", "stc", "cmc", "cld", "lahf", "sahf",
    "seto cl", "setno cl", "setb cl", "setae cl", "sete cl", "setne cl", "setbe cl", "seta cl", "sets cl",
    "setns cl", "setp cl", "setnp cl", "setl cl", "setge cl", "setle cl", "setg cl", "cmovo ecx, edx",
    "cmovno ecx, edx", "cmovb ecx, edx", "cmovae ecx, edx", "cmove ecx, edx", "cmovne ecx, edx",
    "cmovbe ecx, edx", "cmova ecx, edx", "cmovs ecx, edx", "xadd ecx, edx", "ret",
);
code!(counts_zeros, "lzcnt eax, edi", "tzcnt ecx, edi", "add eax, ecx", "ret");
// Jumps to a place that no instruction names.
code!(jumps_past, "lea rax, [rip - 7]", "add rax, 14", "jmp rax", "nop", "nop", "ret");
code!(returns_past, "lea rax, [rip - 7]", "add rax, 14", "push rax", "ret", "nop", "nop", "ret");
code!(jumps_out, "mov rax, rdi", "jmp rax");
code!(skips_a_bad_end, "test rdi, rdi", "jz 2f", "mov eax, 3", "ret", "2: .byte 0x06");
code!(transaction, "test rdi, rdi", "jz 2f", "ret", "2: xbegin 3f", "xend", "3: ret");
code!(jumps_into_itself, "test rdi, rdi", "jz 2f + 1", "2: mov eax, 0xc3", "ret");
// Tested at its head: the last test fails. It calls what lies before it, and leaves by a jump back to yet other code.
code!(
    loops_and_calls,
    "jmp 4f",
    "2: mov eax, 9",
    "ret",
    "3: nop",
    "ret",
    "4: call 3b",
    "5: sub rdi, 1",
    "jb 6f",
    "call 3b",
    "jmp 5b",
    "6: jmp 2b",
);
// A dispatch in a loop: to its cases through a register, back from them by jumps.
code!(
    dispatches,
    "lea r8, [rip + 3f]",
    "lea r9, [rip + 4f]",
    "xor eax, eax",
    "2: dec rdi",
    "js 5f",
    "test edi, 1",
    "mov rdx, r8",
    "cmovz rdx, r9",
    "jmp rdx",
    "3: inc eax",
    "jmp 2b",
    "4: add eax, 3",
    "jmp 2b",
    "5: ret",
);
code!(endless, "2: inc rax", "jmp 2b");
code!(endless_returns, "lea rax, [rip + test_count_endless_returns]", "push rax", "ret");

fn integer(value: u64) -> [Argument; 1] {
    [Argument::Integer(value)]
}

fn count(program: &Program, value: u64) -> Run {
    program.count(&integer(value), &[])
}

#[test]
fn a_loop_of_n_turns_takes_three_n_and_two_instructions() {
    let program = turns();
    for n in [1, 1000, 1_000_000] {
        let counts = count(&program, n).counts;
        assert_eq!((counts.instructions, counts.branches), (3 * n + 2, n + 1));
        assert_eq!((counts.loads, counts.load_bytes, counts.stores), (1, 8, 0), "ret reads its address");
        assert_eq!((counts.loops.len(), counts.loops[0].offset, counts.loops[0].count), (1, 3, n));
        assert_eq!(counts.classes.general, counts.instructions);
    }
}

#[test]
fn what_is_called_or_jumped_to_at_last_is_no_loop() {
    for n in [0, 1, 1000] {
        let run = count(&loops_and_calls(), n);
        let loops: Vec<_> = run.counts.loops.iter().map(|turns| (turns.offset, turns.count)).collect();
        assert_eq!((loops, run.counts.calls), (vec![(15, n + 1)], n + 1));
    }
}

#[test]
fn a_loop_is_found_through_an_indirect_jump() {
    let run = count(&dispatches(), 10);
    assert_eq!(run.returned, 5 + 5 * 3);
    assert_eq!(run.counts.loops, [LoopTurns { offset: 16, count: 11 }]);
}

#[test]
fn registers_and_all_arithmetic_flags_survive_counting() {
    for (left, right) in
        [(1u64, 2u64), (2, 1), (5, 5), (0x8000_0000, 1), (0x7fff_ffff, 0xffff_ffff), (0x10, 1)]
    {
        let arguments = [Argument::Integer(left), Argument::Integer(right)];
        let program = flags_and_registers();
        let run = program.count(&arguments, &[]);
        assert_eq!(
            (run.counts.instructions, run.returned),
            program.step(&arguments, &[]),
            "{left:#x} {right:#x}"
        );
        assert_eq!(run.returned >> 32, 77);
    }
}

#[test]
fn the_red_zone_survives_counting() {
    let run = count(&red_zone(), 0x1234_5678_9abc);
    assert_eq!((run.returned, run.counts.instructions), (0x1234_5678_9abc, 5));
}

#[test]
fn a_repeated_string_instruction_is_one_instruction_that_moves_all_its_elements() {
    for n in [0, 1, 100] {
        let (from, mut to) = ([7u8; 100], [0u8; 100]);
        let arguments = [Argument::Pointer(0), Argument::Pointer(1), Argument::Integer(n)];
        let run = copies().count(&arguments, &[to.as_mut_ptr() as u64, from.as_ptr() as u64]);
        assert_eq!((run.counts.instructions, run.counts.loads, run.counts.stores), (4, 2, 1));
        let moved = (run.counts.load_bytes, run.counts.store_bytes, run.counts.string_elements);
        assert_eq!(moved, (n + 8, n, n), "ret reads its address");
        assert_eq!((run.returned, to.iter().filter(|byte| **byte == 7).count()), (5, n as usize));
    }
}

#[test]
fn elements_are_counted_whichever_way_they_lie_and_however_they_are_addressed() {
    // Addresses of 32 bits: from what lies low, to itself.
    let program = copies_back();
    let low = program.low_words(10);
    let arguments = [Argument::Pointer(0), Argument::Pointer(0), Argument::Integer(10)];
    let run = program.count(&arguments, &[low]);
    assert_eq!((run.counts.load_bytes, run.counts.store_bytes, run.counts.string_elements), (88, 80, 10));
    assert_eq!(run.returned, program.step(&arguments, &[low]).1, "the copy leaves in rcx what the CPU does");
    let mut words = [1u64; 16];
    let arguments = [Argument::Pointer(0), Argument::Pointer(1), Argument::Integer(4)];
    let words = words.as_mut_ptr() as u64;
    let counts = fills().count(&arguments, &[words, words + 64]).counts;
    assert_eq!((counts.load_bytes, counts.store_bytes, counts.string_elements), (4 * 8 + 8, 4 * 4, 8));
    let counts = fills_in_turns().count(&arguments, &[words, words]).counts;
    assert_eq!((counts.store_bytes, counts.string_elements, counts.instructions), (12, 12, 14));
}

#[test]
fn a_comparison_that_ends_early_counts_what_it_read() {
    let text = *b"webrun\x07ner";
    let arguments = |n| [Argument::Pointer(0), Argument::Pointer(1), Argument::Integer(n)];
    let buffers = [text.as_ptr() as u64; 2];
    for (n, read) in [(10, 7), (6, 6), (0, 0)] {
        let run = finds().count(&arguments(n), &buffers);
        assert_eq!((run.counts.load_bytes, run.counts.string_elements), (read + 8, read), "{n}");
        assert_eq!(run.returned, finds().step(&arguments(n), &buffers).1, "flags and rcx, {n}");
    }
    let (left, right) = ([1u16, 2, 3, 4, 5], [1u16, 2, 3, 9, 5]);
    let buffers = [left.as_ptr() as u64, right.as_ptr() as u64];
    let run = compares().count(&arguments(5), &buffers);
    assert_eq!((run.counts.load_bytes, run.counts.string_elements), (4 * 4 + 8, 4));
    assert_eq!(run.returned, compares().step(&arguments(5), &buffers).1);
}

#[test]
fn arithmetic_on_the_x87_registers_is_floating_point() {
    let numbers = [4.0f64];
    let counts = x87().count(&[Argument::Pointer(0)], &[numbers.as_ptr() as u64]).counts;
    assert_eq!((counts.x87_flops, counts.single_flops, counts.double_flops), (5, [0; 4], [0; 4]));
    if std::arch::is_x86_feature_detected!("sse4.1") {
        let counts = count(&dot_products(), 0).counts;
        assert_eq!((counts.single_flops, counts.double_flops), ([0, 8, 0, 0], [0, 4, 0, 0]));
    }
}

#[test]
fn what_only_tells_the_caches_something_reads_nothing() {
    let line = [0u8; 64];
    let counts = cache_control().count(&[Argument::Pointer(0)], &[line.as_ptr() as u64]).counts;
    assert_eq!((counts.loads, counts.load_bytes, counts.stores), (1, 8, 0), "ret reads its address");
}

#[test]
fn lists_that_are_cut_say_what_they_leave_out() {
    // Loops of one turn, one after the other: `dec al; jnz` to itself, with al 1.
    let turns = [0xb0, 0x01, 0xfe, 0xc8, 0x75, 0xfc];
    let counts = count(&Program::of_code(&[turns.repeat(20), vec![0xc3]].concat()), 0).counts;
    assert_eq!((counts.loops.len(), counts.unlisted.loops), (16, 4));
    assert_eq!((counts.unlisted.mnemonics, counts.unlisted.instructions), (0, 0));
    let counts = count(&many_mnemonics(), 0).counts;
    let listed: u64 = counts.mix.iter().map(|entry| entry.count).sum();
    assert_eq!((counts.mix.len(), listed, counts.instructions), (64, 65, 76));
    assert_eq!((counts.unlisted.mnemonics, counts.unlisted.instructions), (11, 11));
}

#[test]
fn recursion_is_counted_call_by_call() {
    let run = count(&fibonacci(), 10);
    // 177 calls for the tenth number: 88 of 13 instructions and two calls each, 89 of 4.
    assert_eq!(run.returned, 55);
    assert_eq!(run.counts.calls, 176);
    assert_eq!(run.counts.instructions, 88 * 13 + 89 * 4);
}

#[test]
fn branches_that_cannot_reach_far_are_counted_as_themselves() {
    let run = count(&short_branches(), 5);
    assert_eq!((run.returned, run.counts.instructions), (105, 2 + 10 + 1 + 4));
}

#[test]
fn indirect_branches_and_returns_into_the_text_go_on_in_the_copy() {
    assert_eq!(count(&pushes_its_target(), 0).returned, 1, "flags survive translation");
    assert_eq!(count(&pushes_its_target(), 0).counts.instructions, 7);
    assert_eq!(count(&pops_its_return(), 0).returned, 9);
    let run = count(&through_registers(), 0);
    assert_eq!((run.returned, run.counts.instructions), (33, 3 + 3 * 6 + 5));
    assert_eq!(run.counts.calls, 3);
}

#[test]
fn a_return_that_drops_arguments_leaves_the_stack_as_it_should() {
    let run = count(&drops_arguments(), 0);
    assert_eq!((run.returned, run.counts.instructions), (4, 7));
}

#[test]
fn constants_in_the_text_are_found_from_the_copy() {
    let run = count(&constants_in_text(), 0);
    assert_eq!((f64::from_bits(run.vector), run.returned), (6.0, 1));
    assert_eq!((run.counts.double_flops, run.counts.load_bytes), ([1, 0, 0, 0], 8 + 8 + 4 + 8));
}

#[test]
fn floating_point_operations_are_told_apart_by_width_and_type() {
    if !std::arch::is_x86_feature_detected!("fma") {
        return;
    }
    let numbers = [1.0f32; 8];
    let counts = floating_point().count(&[Argument::Pointer(0)], &[numbers.as_ptr() as u64]).counts;
    assert_eq!((counts.single_flops, counts.double_flops), ([1, 4, 16, 0], [2, 2, 4, 0]));
    let classes = counts.classes;
    assert_eq!((classes.avx, classes.sse, classes.x87_mmx, classes.general), (5, 4, 2, 1));
}

#[test]
fn loads_and_stores_are_counted_with_their_bytes() {
    #[repr(align(16))]
    struct Words([u64; 4]);
    let words = Words([0; 4]);
    let arguments = [Argument::Integer(1), Argument::Pointer(0)];
    let counts = memory().count(&arguments, &[words.0.as_ptr() as u64]).counts;
    // pop, add, movaps, ret; push, add.
    assert_eq!((counts.loads, counts.load_bytes), (4, 8 + 8 + 16 + 8));
    assert_eq!((counts.stores, counts.store_bytes), (2, 16));
}

#[test]
fn a_gather_is_one_load_of_all_its_lanes() {
    if !std::arch::is_x86_feature_detected!("avx2") {
        return;
    }
    let numbers = [1.0f32; 8];
    let counts = gathers().count(&[Argument::Pointer(0)], &[numbers.as_ptr() as u64]).counts;
    assert_eq!((counts.loads, counts.load_bytes), (2, 32 + 8));
}

#[test]
fn zeros_that_older_cpus_count_otherwise_are_among_what_is_needed() {
    let names = |features: Features| -> Vec<_> {
        features.names().iter().map(|name| name.as_str().to_owned()).collect()
    };
    let facts = counts_zeros().analysis.facts;
    assert_eq!(names(facts.needs), ["bmi1", "abm"]);
    // Compilers write `rep bsf` for any CPU, where both mean the same.
    assert_eq!(names(facts.requires), ["abm"]);
}

#[test]
fn a_branch_to_nowhere_known_is_told_by_offsets_in_the_text() {
    for (program, value, offset, target) in
        [(jumps_past(), 0, 11, Some(14)), (returns_past(), 0, 12, Some(14)), (jumps_out(), 0x1234, 3, None)]
    {
        let stopped = program.count_within(100, &integer(value), &[]).unwrap().ending;
        assert_eq!(stopped, Ending::Stopped(NotCountable::UnknownTarget { offset, target }));
    }
}

#[test]
fn what_cannot_be_counted_matters_only_to_a_call_that_comes_there() {
    for program in [skips_a_bad_end(), transaction(), jumps_into_itself()] {
        assert_eq!(count(&program, 1).counts.branches, 2);
        let stopped = program.count_within(100, &integer(0), &[]).unwrap();
        assert!(matches!(stopped.ending, Ending::Stopped(_)), "{:?}", stopped.ending);
    }
}

#[test]
fn a_call_without_end_is_stopped_when_its_budget_is_spent() {
    let run = endless().count_within(1000, &[], &[]).unwrap();
    assert_eq!((run.ending, run.counts.instructions), (Ending::RanOut, 2 * 999));
    assert_eq!(endless_returns().count_within(1000, &[], &[]).unwrap().ending, Ending::RanOut);
}
