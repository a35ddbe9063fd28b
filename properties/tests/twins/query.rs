//! Queries: good ones, and what they become when bent.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use webrunner_properties::query::check;

use crate::mutation::{apply, mutations};
use crate::seeds::{self, Seed};

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| seeds::read(&["fuzz/corpus/query"], "txt"));

#[test]
fn seeds_are_queries_good_and_bad() {
    let results: Vec<_> = SEEDS.iter().map(|seed| check(str::from_utf8(&seed.bytes).unwrap())).collect();
    assert!(results.iter().any(Result::is_ok) && results.iter().any(Result::is_err));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_bent_query_is_refused_or_makes_a_job(seed in any::<Index>(), mutations in mutations()) {
        let seed = &SEEDS[seed.index(SEEDS.len())];
        let bytes = apply(&mutations, seed.bytes.clone(), &SEEDS, |_| Vec::new());
        let _ = check(&String::from_utf8_lossy(&bytes));
    }
}
