//! Frames: those that real workers sent, and what they become when bent.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use webrunner_properties::frame::check;

use crate::mutation::{Field, apply, mutations};
use crate::seeds::{self, Seed};

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| seeds::read(&["fuzz/corpus/frame"], "bin"));

/// Magic, version and lengths; the rest are numbers of many widths.
fn fields(bytes: &[u8]) -> Vec<Field> {
    let words = (10..bytes.len()).map(|at| (at, 1 << (at % 4)));
    [(0, 4), (4, 2), (6, 4)].into_iter().chain(words).collect()
}

#[test]
fn every_seed_is_a_frame_of_the_protocol_as_it_is() {
    for seed in &*SEEDS {
        assert!(
            check(&seed.bytes),
            "{} is of another protocol; renew it with `just seeds`",
            seed.path.display()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_bent_frame_is_refused_or_becomes_an_answer(seed in any::<Index>(), mutations in mutations()) {
        let seed = &SEEDS[seed.index(SEEDS.len())];
        check(&apply(&mutations, seed.bytes.clone(), &SEEDS, fields));
    }
}
