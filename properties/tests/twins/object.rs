//! Objects: every committed one, and what they become when bent.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use webrunner_properties::object::check;

use crate::elf;
use crate::mutation::{apply, mutations};
use crate::seeds::{self, Seed};

const FOLDERS: [&str; 4] =
    ["tests/objects/good", "tests/objects/peachpy", "tests/objects/hostile", "tests/objects/bad"];

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| seeds::read(&FOLDERS, "o"));

#[test]
fn every_good_object_loads_and_another_reader_agrees() {
    for seed in seeds::read(&FOLDERS[..2], "o") {
        assert_eq!(check(&seed.bytes), Ok(()), "{}", seed.path.display());
    }
}

#[test]
fn every_other_object_is_refused_or_another_reader_agrees() {
    let results: Vec<_> = seeds::read(&FOLDERS[2..], "o").iter().map(|seed| check(&seed.bytes)).collect();
    assert!(results.iter().any(Result::is_ok) && results.iter().any(Result::is_err));
}

/// Beside the common ones, relocation types are rare in what tools write, and rarer still in what chance makes.
#[test]
fn every_relocation_type_writes_what_another_reader_works_out() {
    const ADDENDS: [i64; 14] = [
        -4,
        0,
        1,
        127,
        128,
        -129,
        0x7fff,
        0x8000,
        -0x8001,
        0x7fff_ffff,
        -0x8000_0000,
        0xffff_ffff,
        i64::MAX,
        i64::MIN,
    ];
    let path = "tests/objects/good/relocations_gas.o";
    let seed = SEEDS.iter().find(|seed| seed.path.ends_with(path)).unwrap();
    let symbols = elf::entries(&seed.bytes, 2).len() as u32;
    let (mut taken, mut refused) = (0, 0);
    for entry in elf::entries(&seed.bytes, 4) {
        for (kind, symbol) in (0..48_u32).flat_map(|kind| (0..symbols).map(move |symbol| (kind, symbol))) {
            for addend in ADDENDS {
                let mut bytes = seed.bytes.clone();
                bytes[entry + 8..entry + 12].copy_from_slice(&kind.to_le_bytes());
                bytes[entry + 12..entry + 16].copy_from_slice(&symbol.to_le_bytes());
                bytes[entry + 16..entry + 24].copy_from_slice(&addend.to_le_bytes());
                *if check(&bytes).is_ok() { &mut taken } else { &mut refused } += 1;
            }
        }
    }
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30_000))]

    #[test]
    fn a_bent_object_is_refused_or_another_reader_agrees(seed in any::<Index>(), mutations in mutations()) {
        let seed = &SEEDS[seed.index(SEEDS.len())];
        let _ = check(&apply(&mutations, seed.bytes.clone(), &SEEDS, elf::fields));
    }
}
