//! Which of the places that a function was measured at count.
//!
//! About one place in a thousand has a branch target mispredicted at every call, for some twenty cycles, and a loop
//! may run faster at one offset of a line than at another. No number of rounds at one place shows that. So rounds go round
//! the places, and a place whose median lies apart from those of the others is left out, and said to be.
#![forbid(unsafe_code)]

use webrunner_protocol::limits::MAX_PLACEMENTS;
use webrunner_protocol::reply::Placement;

use super::round::Round;
use super::stats::{median, quartiles};

/// How far medians that agree may lie apart, as a part of the least.
const APART: f64 = 0.01;

/// The same in cycles, for short functions.
const APART_CYCLES: f64 = 1.0;

/// Fewer rounds than this say nothing about their place.
const FEWEST: usize = 3;

/// What the rounds gave at each of the function's places, and the rounds of those that agree, in the order they were made.
///
/// The largest group of places counts whose medians lie within 1 %, a cycle, or the usual middle half of a place's rounds,
/// whichever is most; of two as large the faster. Where a place has too few rounds to be judged, all count that have any.
pub(super) fn agreeing(rounds: Vec<Round>, functions: &[u64]) -> (Vec<Placement>, Vec<Round>) {
    let mut places = Vec::with_capacity(MAX_PLACEMENTS);
    let mut spreads = Vec::with_capacity(MAX_PLACEMENTS);
    for (place, address) in functions.iter().enumerate() {
        let mut values = Vec::with_capacity(rounds.len());
        values.extend(rounds.iter().filter(|round| usize::from(round.place) == place).map(Round::isolated));
        let [low, cycles, high] = quartiles(&mut values);
        spreads.push(high - low);
        let (offset, rounds) = ((address % 64) as u8, values.len() as u32);
        let has_any = rounds > 0;
        places.push(Placement { offset, cycles: has_any.then_some(cycles), rounds, counts: has_any });
    }
    if places.iter().any(|place| (place.rounds as usize) < FEWEST) {
        return (places, rounds);
    }
    mark(&mut places, median(&mut spreads));
    let mut counted = rounds;
    counted.retain(|round| places.get(usize::from(round.place)).is_some_and(|place| place.counts));
    (places, counted)
}

/// Finds the group that counts; `noise` is how far rounds at one place lie apart.
fn mark(places: &mut [Placement], noise: f64) {
    let medians = || places.iter().filter_map(|place| place.cycles);
    let least = medians().fold(f64::INFINITY, f64::min);
    let apart = (APART * least.abs()).max(APART_CYCLES).max(noise);
    let group = |from: f64| from..=from + apart;
    let size = |from: f64| medians().filter(|cycles| group(from).contains(cycles)).count();
    let best = medians().reduce(|best, other| {
        let (held, found) = (size(best), size(other));
        if found > held || (found == held && other < best) { other } else { best }
    });
    let best = best.map(group);
    for place in places {
        place.counts =
            place.cycles.is_some_and(|cycles| best.as_ref().is_some_and(|group| group.contains(&cycles)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTIONS: [u64; 4] = [0x1000, 0x2010, 0x3020, 0x4030];

    /// Which places count, of four whose rounds have these values.
    fn counting(values: [&[f64]; 4]) -> [bool; 4] {
        let rounds: Vec<Round> = (0u8..)
            .zip(values)
            .flat_map(|(place, values)| values.iter().map(move |&cycles| Round::made_up(place, cycles)))
            .collect();
        let (places, counted) = agreeing(rounds, &FUNCTIONS);
        assert_eq!(places.iter().map(|place| place.offset).collect::<Vec<_>>(), [0, 16, 32, 48]);
        let listed = std::array::from_fn(|place| places[place].counts);
        for (place, counts) in listed.iter().enumerate() {
            let left = counted.iter().filter(|round| usize::from(round.place) == place).count();
            assert_eq!(left, if *counts { values[place].len() } else { 0 });
        }
        listed
    }

    #[test]
    fn a_place_that_lies_apart_is_left_out() {
        let good: &[f64] = &[100.0, 100.1, 99.9];
        assert_eq!(counting([good, good, &[118.0, 118.1, 117.9], good]), [true, true, false, true]);
        assert_eq!(counting([&[81.0; 3], good, good, good]), [false, true, true, true]);
    }

    #[test]
    fn of_two_groups_as_large_the_faster_counts() {
        assert_eq!(
            counting([&[120.0; 3], &[100.0; 3], &[120.5; 3], &[100.5; 3]]),
            [false, true, false, true]
        );
        assert_eq!(
            counting([&[130.0; 3], &[120.0; 3], &[110.0; 3], &[100.0; 3]]),
            [false, false, false, true]
        );
    }

    #[test]
    fn places_that_differ_by_no_more_than_their_rounds_do_all_count() {
        let noisy = |middle: f64| [middle - 9.0, middle - 5.0, middle, middle + 5.0, middle + 9.0];
        let values = [100.0, 104.0, 102.0, 106.0].map(noisy);
        assert_eq!(counting([&values[0], &values[1], &values[2], &values[3]]), [true; 4]);
        assert_eq!(counting([&[5.0; 3], &[5.9; 3], &[5.5; 3], &[5.1; 3]]), [true; 4]);
    }

    #[test]
    fn a_place_with_too_few_rounds_is_not_judged() {
        assert_eq!(counting([&[100.0; 3], &[100.0; 3], &[100.0; 3], &[200.0; 2]]), [true; 4]);
    }

    #[test]
    fn a_place_without_a_round_has_no_figure_and_does_not_count() {
        assert_eq!(counting([&[100.0; 3], &[], &[200.0], &[]]), [true, false, true, false]);
        let (places, _) = agreeing(vec![Round::made_up(0, 100.0)], &FUNCTIONS);
        assert_eq!((places[0].cycles.is_some(), places[1].cycles, places[1].rounds), (true, None, 0));
    }
}
