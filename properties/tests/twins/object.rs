//! Objects: every committed one, and what they become when bent.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use webrunner_properties::object::check;

use crate::elf;
use crate::mutation::{apply, mutations};
use crate::seeds::{self, Seed};

const FOLDERS: [&str; 5] = [
    "tests/objects/good",
    "tests/objects/peachpy",
    "tests/objects/hostile",
    "tests/objects/bad",
    "fuzz/corpus/object",
];

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30_000))]

    #[test]
    fn a_bent_object_is_refused_or_another_reader_agrees(seed in any::<Index>(), mutations in mutations()) {
        let seed = &SEEDS[seed.index(SEEDS.len())];
        let _ = check(&apply(&mutations, seed.bytes.clone(), &SEEDS, elf::fields));
    }
}
