//! Bounds of stack use, against what can be worked out by hand and against stacks that functions were seen to use.

use std::arch::global_asm;

use webrunner_protocol::plan::Argument;
use webrunner_protocol::stack::{StackObstacle, StackUse};

use crate::machine::Program;
use crate::objects::{PLAYGROUND, SDOT, object, runs};

macro_rules! code {
    ($name:ident, $($line:expr),+ $(,)?) => {
        global_asm!(
            concat!(".globl test_stack_", stringify!($name), ", test_stack_", stringify!($name), "_end"),
            concat!(".hidden test_stack_", stringify!($name), ", test_stack_", stringify!($name), "_end"),
            concat!("test_stack_", stringify!($name), ":"),
            $($line),+,
            concat!("test_stack_", stringify!($name), "_end:"),
        );
        fn $name() -> Program {
            unsafe extern "sysv64" {
                #[link_name = concat!("test_stack_", stringify!($name))]
                fn start();
                #[link_name = concat!("test_stack_", stringify!($name), "_end")]
                fn end();
            }
            let (start, end) = (start as *const () as usize, end as *const () as usize);
            // SAFETY: the assembler put one label behind the other, in readable text.
            Program::of_code(unsafe { std::slice::from_raw_parts(start as *const u8, end - start) })
        }
    };
}

code!(nothing, "ret");
code!(pushes, "push rbx", "push 7", "pop rax", "pop rbx", "ret");
code!(red_zone, "mov [rsp - 40], rdi", "mov rax, [rsp - 40]", "ret");
code!(framed, "push rbp", "mov rbp, rsp", "mov [rbp - 24], rdi", "mov rax, [rbp - 24]", "pop rbp", "ret");
code!(subtracts, "sub rsp, 0x70", "mov [rsp], rdi", "add rsp, 0x70", "ret");
code!(leaves, "push rbp", "lea rbp, [rsp]", "sub rsp, 72", "mov [rsp], rdi", "leave", "ret");
code!(enters, "enter 32, 0", "mov [rsp], rdi", "leave", "ret");
code!(
    aligns,
    "push rbp",
    "mov rbp, rsp",
    "and rsp, -32",
    "sub rsp, 64",
    "mov [rsp], rdi",
    "mov rsp, rbp",
    "pop rbp",
    "ret"
);
// As GCC aligns the stack of a function with arguments on it: the old stack pointer is saved behind the new one.
code!(
    aligns_by_another_register,
    "lea r10, [rsp + 8]",
    "and rsp, -32",
    "push qword ptr [r10 - 8]",
    "push rbp",
    "mov rbp, rsp",
    "push r10",
    "sub rsp, 40",
    "mov [rsp], rdi",
    "mov r10, [rbp - 8]",
    "leave",
    "lea rsp, [r10 - 8]",
    "ret",
);
code!(
    calls,
    "sub rsp, 24",
    "call 2f",
    "add rsp, 24",
    "push rax",
    "pop rax",
    "jmp 3f",
    "2: push rbx",
    "call 3f",
    "pop rbx",
    "ret",
    "3: mov [rsp - 16], rax",
    "ret",
);
code!(
    branches,
    "test rdi, rdi",
    "jz 2f",
    "sub rsp, 200",
    "mov [rsp], rdi",
    "add rsp, 200",
    "2: push 1",
    "pop rax",
    "ret"
);
code!(
    loops,
    "sub rsp, 64",
    "lea rax, [rsp + 64]",
    "2: sub rax, 8",
    "mov [rax], rdi",
    "push rax",
    "pop rcx",
    "cmp rax, rsp",
    "jne 2b",
    "add rsp, 64",
    "ret",
);
code!(dies, "test rdi, rdi", "jnz 2f", "sub rsp, 5000", "ud2", "2: ret");
code!(alloca, "push rbp", "mov rbp, rsp", "and rdi, 8", "sub rsp, rdi", "leave", "ret");
code!(swaps, "mov rcx, rsp", "xchg rsp, rdi", "xchg rsp, rcx", "ret");
code!(grows, "push rbp", "mov rbp, rsp", "2: push rdi", "dec rdi", "jnz 2b", "leave", "ret");
code!(recurses, "dec rdi", "jz 2f", "call 3f", "2: ret", "3: call test_stack_recurses", "ret",);
code!(jumps, "lea rax, [rip + 2f]", "jmp rax", "2: ret");
code!(pops_its_return, "pop rdx", "jmp 2f", "2: push rdx", "ret");
code!(returns_to_another_place, "push rdi", "ret");
code!(drops_arguments, "ret 8");
code!(leaves_the_text, "test rdi, rdi", "jnz test_stack_leaves_the_text - 64", "ret");
code!(spoils_what_it_saved, "push rsp", "mov [rsp], rdi", "pop rsp", "ret");

/// The bound, in bytes.
fn bytes(program: &Program) -> u64 {
    match program.stack_use() {
        StackUse::AtMost(bytes) => bytes,
        StackUse::Unbounded(why) => panic!("{why}"),
    }
}

fn obstacle(program: &Program) -> (StackObstacle, u64) {
    match program.stack_use() {
        StackUse::AtMost(bytes) => panic!("{bytes} bytes"),
        StackUse::Unbounded(unbounded) => (unbounded.why, unbounded.offset),
    }
}

#[test]
fn depths_are_those_of_the_code() {
    let expected: [(Program, u64); 13] = [
        (nothing(), 0),
        (pushes(), 16),
        (red_zone(), 40),
        (framed(), 8 + 24),
        (subtracts(), 0x70),
        (leaves(), 8 + 72),
        (enters(), 8 + 32),
        (aligns(), 8 + 24 + 64),
        (aligns_by_another_register(), 24 + 8 + 8 + 8 + 40),
        // Its own 24, an address, the saved register, an address and what lies below it.
        (calls(), 24 + 8 + 8 + 8 + 16),
        (branches(), 200),
        (loops(), 64 + 8),
        (pops_its_return(), 0),
    ];
    for (number, (program, depth)) in expected.iter().enumerate() {
        assert_eq!(bytes(program), *depth, "number {number}");
    }
}

#[test]
fn functions_use_what_is_said_and_no_more() {
    let no_slack = [nothing, pushes, red_zone, framed, subtracts, leaves, enters, calls, branches, loops];
    for (number, program) in no_slack.into_iter().enumerate() {
        let program = program();
        assert_eq!(program.stack_seen(&[Argument::Integer(77)], &[]), bytes(&program), "number {number}");
    }
    for program in [aligns(), aligns_by_another_register()] {
        let (seen, bound) = (program.stack_seen(&[Argument::Integer(77)], &[]), bytes(&program));
        assert!((bound - 24..=bound).contains(&seen), "{seen} of {bound}");
    }
}

#[test]
fn what_cannot_be_bounded_says_where_and_why() {
    assert_eq!(obstacle(&alloca()), (StackObstacle::Computed, 8));
    assert_eq!(obstacle(&swaps()), (StackObstacle::Computed, 3));
    assert_eq!(obstacle(&grows()), (StackObstacle::Grows, 8));
    assert_eq!(obstacle(&recurses()).0, StackObstacle::Recursion);
    assert_eq!(obstacle(&jumps()), (StackObstacle::Indirect, 7));
    assert_eq!(obstacle(&returns_to_another_place()), (StackObstacle::Unbalanced, 1));
    assert_eq!(obstacle(&drops_arguments()), (StackObstacle::Unbalanced, 0));
    assert_eq!(obstacle(&leaves_the_text()), (StackObstacle::UnknownFlow, 3));
    assert_eq!(obstacle(&spoils_what_it_saved()), (StackObstacle::Computed, 5));
}

#[test]
fn a_path_that_ends_in_a_signal_counts_as_far_as_it_goes() {
    assert_eq!(bytes(&dies()), 5000);
}

#[test]
fn no_object_uses_more_than_is_said() {
    let numbers: Vec<f32> = (0..200).map(|index| index as f32).collect();
    let buffers = [numbers.as_ptr() as u64; 2];
    let one = Argument::Integer(1);
    let dot = [Argument::Integer(71), Argument::Pointer(0), one, Argument::Pointer(1), one];
    let sdot = SDOT.into_iter().filter(|(name, _)| runs(name)).map(|object| (object, Some("sdot"), &dot[..]));
    let playground = PLAYGROUND.into_iter().map(|object| (object, None, &dot[..1]));
    let mut bounded = 0;
    for ((name, object), symbol, arguments) in sdot.chain(playground) {
        let program = Program::of_object(object, symbol);
        if let StackUse::AtMost(bound) = program.stack_use() {
            bounded += 1;
            let seen = program.stack_seen(arguments, &buffers);
            assert!(seen <= bound, "{name} uses {seen} bytes, at most {bound} were foretold");
        }
    }
    assert!(bounded >= 20, "only {bounded} objects have a bound");
}

#[test]
fn an_unoptimised_dot_product_keeps_its_variables_below_its_frame() {
    // gcc and clang spill five arguments, a sum and a counter.
    for (name, object) in [object!("good/sdot_gcc_O0_pic.o"), object!("good/sdot_clang_O0_pic.o")] {
        let program = Program::of_object(object, Some("sdot"));
        assert!((8 + 44..=8 + 64).contains(&bytes(&program)), "{name}: {}", bytes(&program));
    }
}
