//! Kernel XML: the built-in files, and what they become when bent.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use webrunner_properties::specification::check;

use crate::mutation::{apply, mutations};
use crate::seeds::{self, Seed};

const FOLDERS: [&str; 3] = ["kernels/builtin", "tests/objects/kernels", "fuzz/corpus/specification"];

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| seeds::read(&FOLDERS, "xml"));

#[test]
fn every_built_in_specification_passes() {
    for seed in seeds::read(&FOLDERS[..2], "xml") {
        let text = str::from_utf8(&seed.bytes).unwrap();
        assert!(check(text).is_ok(), "{}: {:?}", seed.path.display(), check(text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn a_bent_specification_is_refused_or_makes_calls(seed in any::<Index>(), mutations in mutations()) {
        let seed = &SEEDS[seed.index(SEEDS.len())];
        let bytes = apply(&mutations, seed.bytes.clone(), &SEEDS, |_| Vec::new());
        let _ = check(&String::from_utf8_lossy(&bytes));
    }
}
