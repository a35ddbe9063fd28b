//! What calling costs on a core that nothing else uses, in cycles, learnt from readings of which many are disturbed.
//!
//! A clock of dependent instructions does not show what runs on the core's other hardware thread, for that takes only
//! what the clock leaves free. Calling shows it: fences empty the core and it is filled again, for longer where two
//! share it. Without a neighbour the same steps take the same number of cycles each time, so readings lie on a floor,
//! and whatever disturbs one lifts it. One cycle more, which a tenth of the readings on a quiet Zen 3 show, is taken
//! for a disturbance too. A single reading below the floor says only that its clock was slow.
#![forbid(unsafe_code)]

/// How much more than the floor calling may cost where nothing else uses the core, as a part of that: what readings of
/// 10 µs differ by. Beside a neighbour that hardly runs it is one or two hundredths on Zen 3, beside a busy one a tenth
/// to a third.
const QUIET: f64 = 0.01;

/// Readings on the floor for each that lies just above it, at least. Where noise is all there is, more lie above what looks
/// like a floor than on it.
const ON_FLOOR: usize = 2;

/// Readings at the bottom of which the middle one is believed.
pub(super) const LOWEST: usize = 9;

/// What a reading says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing else used the core.
    Quiet,
    /// It lies just above the floor: something else hardly ran, or the floor is none.
    Near,
    /// Something else did.
    Shared,
}

/// The floor, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calling {
    known: f64,
    /// In rising order; infinite where there are no more.
    lowest: [f64; LOWEST],
}

impl Calling {
    /// Begins with a floor that was found elsewhere, or with an infinite one.
    pub(super) fn new(known: f64) -> Self {
        Self { known, lowest: [f64::INFINITY; LOWEST] }
    }

    /// Learns from a reading whose clocks agree.
    pub(super) fn note(&mut self, cycles: f64) {
        if let Some(place) = self.lowest.iter().position(|&low| cycles < low) {
            self.lowest[place..].rotate_right(1);
            self.lowest[place] = cycles;
        }
    }

    /// The floor.
    pub(super) fn cycles(&self) -> f64 {
        self.known.min(self.lowest[LOWEST / 2])
    }

    /// What a reading says, held against the floor.
    pub(super) fn look(&self, cycles: f64) -> Look {
        let above = cycles / self.cycles() - 1.0;
        match above {
            _ if above <= QUIET => Look::Quiet,
            _ if above <= 2.0 * QUIET => Look::Near,
            _ => Look::Shared,
        }
    }
}

/// How many readings said what.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Looks {
    pub(super) all: usize,
    pub(super) quiet: usize,
    near: usize,
}

impl Looks {
    pub(super) fn add(&mut self, look: Look) {
        self.all += 1;
        match look {
            Look::Quiet => self.quiet += 1,
            Look::Near => self.near += 1,
            Look::Shared => {}
        }
    }

    /// Whether the quiet ones lie on a floor, and are not the lower edge of noise.
    pub(super) fn show_floor(&self) -> bool {
        self.quiet >= ON_FLOOR * self.near
    }
}

impl FromIterator<Look> for Looks {
    fn from_iter<L: IntoIterator<Item = Look>>(looks: L) -> Self {
        let mut counted = Self::default();
        looks.into_iter().for_each(|look| counted.add(look));
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(known: f64, readings: &[f64]) -> Calling {
        let mut calling = Calling::new(known);
        readings.iter().for_each(|&cycles| calling.note(cycles));
        calling
    }

    #[test]
    fn the_middle_of_the_nine_lowest_is_the_floor() {
        let readings = [45.0, 37.2, 49.0, 37.0, 37.1, 35.0, 37.1, 43.0, 36.9, 38.0, 37.2, f64::NAN, 48.0];
        assert_eq!(learnt(44.0, &readings).cycles(), 37.1);
        assert_eq!(learnt(37.0, &readings).cycles(), 37.0, "as it was found elsewhere");
    }

    #[test]
    fn a_few_readings_that_are_too_low_are_not_believed() {
        assert_eq!(learnt(f64::INFINITY, &[31.0, 32.0, 33.0, 34.0]).cycles(), f64::INFINITY);
        assert_eq!(learnt(f64::INFINITY, &[[31.0; 4].as_slice(), &[37.0; 5]].concat()).cycles(), 37.0);
    }

    #[test]
    fn half_a_cycle_above_the_floor_is_not_quiet() {
        let looks = [36.5, 37.0, 37.2, 37.5, 38.0, 44.0].map(|cycles| Calling::new(37.0).look(cycles));
        use Look::{Near, Quiet, Shared};
        assert_eq!(looks, [Quiet, Quiet, Quiet, Near, Shared, Shared]);
    }
}
