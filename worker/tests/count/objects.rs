//! Objects as tools write them: the counting copy must execute what single steps see.

use webrunner_protocol::plan::Argument;

use crate::machine::Program;

/// Name and bytes of an object.
macro_rules! object {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../../tests/objects/", $name)).as_slice())
    };
}

pub(crate) use object;

pub const PLAYGROUND: [(&str, &[u8]); 20] = [
    object!("good/chain100.o"),
    object!("good/chain100_stripped.o"),
    object!("good/chain_loop.o"),
    object!("good/empty.o"),
    object!("good/jump_table_gcc_O2_nopic.o"),
    object!("good/jump_table_gcc_O2_pic.o"),
    object!("good/jump_table_clang_O2_pic.o"),
    object!("good/const_table_gcc_O2_nopic.o"),
    object!("good/const_table_gcc_O2_pic.o"),
    object!("good/const_table_gcc_O2_large.o"),
    object!("good/strings_gcc_O2_pic.o"),
    object!("good/strings_clang_O2_nopic.o"),
    object!("good/common_gcc_O2_nopic.o"),
    object!("good/cross_section_gcc_O2_pic.o"),
    object!("good/weak_gcc_O2_pic.o"),
    object!("good/got_gcc_O2_pic.o"),
    object!("good/got_gcc_O2_large.o"),
    object!("good/got_clang_O2_pic.o"),
    object!("good/relocations_gas.o"),
    object!("good/base_gas.o"),
];

pub const SDOT: [(&str, &[u8]); 12] = [
    object!("good/sdot_gcc_O0_pic.o"),
    object!("good/sdot_gcc_O2_pic.o"),
    object!("good/sdot_gcc_O3_pic.o"),
    object!("good/sdot_gcc_O2_nopic.o"),
    object!("good/sdot_gcc_O2_cet.o"),
    object!("good/sdot_gcc_O3_avx2.o"),
    object!("good/sdot_clang_O0_pic.o"),
    object!("good/sdot_clang_O2_pic.o"),
    object!("good/sdot_clang_O2_nopic.o"),
    object!("good/sdot_clang_O3_pic.o"),
    object!("good/sdot_gas.o"),
    object!("peachpy/sdot_peachpy.o"),
];

/// Whether the CPU can run it.
pub fn runs(name: &str) -> bool {
    let needs = name.contains("avx2") || name.contains("peachpy");
    !needs || (std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma"))
}

#[test]
fn single_steps_and_block_counts_agree_on_compiled_code() {
    for (name, bytes) in PLAYGROUND {
        let arguments = [Argument::Integer(13)];
        let run = Program::of_object(bytes, None).count(&arguments, &[]);
        // Another program, for some change their own data.
        let stepped = Program::of_object(bytes, None).step(&arguments, &[]);
        assert_eq!((run.counts.instructions, run.returned), stepped, "{name}");
    }
}

#[test]
fn single_steps_and_block_counts_agree_on_dot_products() {
    let numbers: Vec<f32> = (0..200).map(|index| index as f32).collect();
    let buffers = [numbers.as_ptr() as u64; 2];
    for (name, bytes) in SDOT.into_iter().filter(|(name, _)| runs(name)) {
        for n in [0, 1, 71] {
            let one = Argument::Integer(1);
            let arguments = [Argument::Integer(n), Argument::Pointer(0), one, Argument::Pointer(1), one];
            let program = Program::of_object(bytes, Some("sdot"));
            let run = program.count(&arguments, &buffers);
            assert_eq!(run.counts.instructions, program.step(&arguments, &buffers).0, "{name}, n = {n}");
            assert_eq!(
                f32::from_bits(run.vector as u32),
                (0..n).map(|i| (i * i) as f32).sum::<f32>(),
                "{name}"
            );
        }
    }
}

#[test]
fn peachpys_dot_product_counts_as_its_source_says() {
    let (name, bytes) = SDOT[11];
    if !runs(name) {
        return;
    }
    let numbers = vec![1.0f32; 65536];
    let one = Argument::Integer(1);
    let arguments = [Argument::Integer(65536), Argument::Pointer(0), one, Argument::Pointer(1), one];
    let counts = Program::of_object(bytes, None).count(&arguments, &[numbers.as_ptr() as u64; 2]).counts;
    // 32 elements a turn, in twelve instructions, and nineteen around the loop.
    assert_eq!(counts.instructions, 12 * 2048 + 19);
    assert_eq!((counts.loads, counts.load_bytes), (16385, 524_296));
    assert_eq!(counts.stores, 0);
    let fma = iced_x86::Mnemonic::Vfmadd231ps as u16;
    assert_eq!(counts.mix.iter().find(|entry| entry.mnemonic == fma).unwrap().count, 8192);
    // 8192 multiply-adds of eight lanes, two additions of eight to join the four sums and one more.
    assert_eq!(counts.single_flops[2], 8192 * 16 + 3 * 8);
    assert!(counts.loops.iter().any(|turns| turns.count == 2048));
}

#[test]
fn stack_arguments_reach_the_copy() {
    let (_, bytes) = object!("good/stack_arguments_gcc_O2_pic.o");
    let program = Program::of_object(bytes, Some("stack_arguments"));
    let arguments: Vec<_> = (1..=12).map(Argument::Integer).collect();
    let run = program.count(&arguments, &[]);
    assert_eq!((run.counts.instructions, run.returned), program.step(&arguments, &[]));
}
