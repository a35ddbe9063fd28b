//! Bytes that are no program: analysis ends, stays within its bounds, and never panics.

use proptest::prelude::*;
use webrunner_protocol::counts::NotCountable;
use webrunner_protocol::stack::{StackObstacle, StackUse};
use webrunner_worker::count::{
    Data, MAX_STEPS, MAX_TEXT_BYTES, Text, analyse, code_bytes, instrument, read, stack_use, totals,
};

use crate::bytes::branchy;

const ADDRESS: u64 = 0x2000_0000;

/// Analyses and copies, but does not call.
fn copy(bytes: &[u8], entry: u64, data: &[(u64, &[u8])]) -> Result<usize, NotCountable> {
    let text = Text { bytes, address: ADDRESS, entry };
    let analysis = analyse(text, data);
    let _bound = stack_use(&analysis, text);
    let mut code = vec![0; code_bytes(&analysis)];
    let mut memory = vec![0; Data::bytes(&analysis)];
    let copy =
        instrument(&analysis, text, (&mut code, ADDRESS - 0x80_0000), (&mut memory, ADDRESS - 0x100_0000))?;
    memory.fill(0xff);
    let (_, counters) = read(&analysis, &memory);
    let counts = totals(&analysis, &counters);
    assert!(counts.mix.len() <= webrunner_protocol::limits::MAX_MIX);
    Ok(copy.bytes)
}

proptest! {
    #[test]
    fn any_bytes_are_analysed_and_copied(bytes in prop::collection::vec(any::<u8>(), 0..600), entry in 0u64..700) {
        copy(&bytes, ADDRESS + entry, &[(ADDRESS + 0x10_0000, &bytes)]).unwrap();
    }

    #[test]
    fn any_branches_are_analysed_and_copied(bytes in branchy(), entry in 0u64..64) {
        let copied = copy(&bytes, ADDRESS + entry, &[(ADDRESS + 0x10_0000, &bytes)]);
        prop_assert!(!matches!(copied, Err(NotCountable::Place)), "{copied:?}");
    }
}

#[test]
fn an_entry_outside_the_text_is_no_panic() {
    for entry in [0, ADDRESS - 1, ADDRESS + 4, u64::MAX] {
        assert!(copy(&[0xc3; 4], entry, &[]).is_ok());
    }
}

#[test]
fn too_much_code_is_refused_by_name() {
    let too_large = |bytes: &[u8]| matches!(copy(bytes, ADDRESS, &[]), Err(NotCountable::TooLarge { .. }));
    assert!(too_large(&vec![0xc3; MAX_TEXT_BYTES + 1]));
    assert!(too_large(&vec![0x90; MAX_STEPS + 1]));
    // Every instruction its own block: jumps to the next.
    assert!(too_large(&[0xeb, 0x00].repeat(MAX_STEPS - 1)));
    assert!(copy(&[0x90; 10_000], ADDRESS, &[]).is_ok());
}

#[test]
fn functions_that_all_hold_each_others_code_are_not_followed_for_ever() {
    // Each calls what comes next, and goes on with it.
    let calling = |count: usize| {
        let bytes = [[0xe8, 0, 0, 0, 0].repeat(count), vec![0xc3]].concat();
        let text = Text { bytes: &bytes, address: ADDRESS, entry: ADDRESS };
        stack_use(&analyse(text, &[]), text)
    };
    assert_eq!(calling(30), StackUse::AtMost(30 * 8));
    let StackUse::Unbounded(unbounded) = calling(3000) else { panic!("a bound") };
    assert_eq!(unbounded.why, StackObstacle::TooLarge);
}

#[test]
fn addresses_that_32_bits_do_not_reach_are_refused() {
    let text = Text { bytes: &[0xc3], address: 0x7fff_ffff, entry: 0x7fff_ffff };
    let analysis = analyse(text, &[]);
    let (mut code, mut data) = (vec![0; 4096], vec![0; 4096]);
    let mut at = |code_address, data_address| {
        instrument(&analysis, text, (&mut code, code_address), (&mut data, data_address)).is_err()
    };
    assert!(at(0x1000_0000, 0x2000_0000));
    assert!(at(u64::MAX - 10, 0x2000_0000));
}
