//! References for the `blis` kernels. Arguments are numbered as in `Reference::slots`, which the kernel was found to
//! fit.

use std::collections::HashMap;

use webrunner_protocol::fill::draw;
use webrunner_protocol::plan::{Argument, CallPlan, Fill};

use super::call::{Call, Expected, Numbers, Quantity, Right, Unchecked};

/// Most elements of a tile that is checked; each costs memory.
const MAX_TILE: usize = 1 << 16;

/// Most products of a tile that are computed, nearly: a quarter of a second's work. Of more, a sample of elements is.
const MAX_PRODUCTS: usize = 1 << 26;

/// A sum that keeps what each addition rounds away (Neumaier, ZAMM 54, 1974), and the sum of the terms' sizes.
#[derive(Debug, Default)]
struct Sum {
    total: f64,
    lost: f64,
    magnitude: f64,
}

impl Sum {
    fn of(terms: impl Iterator<Item = f64>) -> Self {
        terms.fold(Self::default(), Self::add)
    }

    fn add(mut self, term: f64) -> Self {
        let next = self.total + term;
        self.lost += if self.total.abs() >= term.abs() {
            (self.total - next) + term
        } else {
            (term - next) + self.total
        };
        self.total = next;
        self.magnitude += term.abs();
        self
    }

    fn value(&self) -> f64 {
        self.total + self.lost
    }
}

pub(super) fn dot<'a>(call: &Call<'a>) -> Result<Expected<'a>, Unchecked> {
    let n = call.length(0)?;
    let x = call.vector(1, n, call.integer(2)?)?;
    let y = call.vector(3, n, call.integer(4)?)?;
    let sum = Sum::of(x.iter().zip(y.iter()).map(|(x, y)| x * y));
    Ok(Expected::returned(Quantity { value: sum.value(), magnitude: sum.magnitude, roundings: n as f64 }))
}

pub(super) fn asum<'a>(call: &Call<'a>) -> Result<Expected<'a>, Unchecked> {
    let n = call.length(0)?;
    let sum = Sum::of(call.vector(1, n, call.integer(2)?)?.iter().map(f64::abs));
    Ok(Expected::returned(Quantity { value: sum.value(), magnitude: sum.magnitude, roundings: n as f64 }))
}

pub(super) fn nrm2<'a>(call: &Call<'a>) -> Result<Expected<'a>, Unchecked> {
    let n = call.length(0)?;
    let value = Sum::of(call.vector(1, n, call.integer(2)?)?.iter().map(|x| x * x)).value().sqrt();
    Ok(Expected::returned(Quantity { value, magnitude: value, roundings: n as f64 }))
}

pub(super) fn axpy<'a>(call: &Call<'a>) -> Result<Expected<'a>, Unchecked> {
    let n = call.length(0)?;
    let alpha = call.number(1)?;
    let x = call.vector(2, n, call.integer(3)?)?;
    let y = call.vector(4, n, call.integer(5)?)?;
    let element = y.written(move |i| {
        let (product, old) = (alpha * x.at(i), y.at(i));
        Quantity { value: old + product, magnitude: old.abs() + product.abs(), roundings: 2.0 }
    });
    Ok(Expected::written(call.buffer(4)?, element))
}

pub(super) fn scal<'a>(call: &Call<'a>) -> Result<Expected<'a>, Unchecked> {
    let n = call.length(0)?;
    let alpha = call.number(1)?;
    let x = call.vector(2, n, call.integer(3)?)?;
    let element = x.written(move |i| {
        let value = alpha * x.at(i);
        Quantity { value, magnitude: value.abs(), roundings: 1.0 }
    });
    Ok(Expected::written(call.buffer(2)?, element))
}

pub(super) fn copy<'a>(call: &Call<'a>) -> Result<Expected<'a>, Unchecked> {
    let n = call.length(0)?;
    let x = call.vector(1, n, call.integer(2)?)?;
    let y = call.vector(3, n, call.integer(4)?)?;
    Ok(Expected::written(call.buffer(3)?, y.written(move |i| Quantity::exact(x.at(i)))))
}

/// `c[i * rs + j * cs] = beta * c[…] + alpha * Σ a[p * mr + i] * b[p * nr + j]`.
///
/// Strides may put several elements in one place. Each is stored there, in an order that is the function's own, and the
/// last one stays; so any of them is right where beta is 0. Where it is not, a later one may read the one before.
pub(super) fn gemm<'a>(call: &Call<'a>) -> Result<Expected<'a>, Unchecked> {
    let k = call.integer(0)?;
    let (a, b, c) = (call.numbers(2)?, call.numbers(3)?, call.numbers(5)?);
    let tile = Tile::of(k, a.len(), b.len(), call.integer(6)?, call.integer(7)?)?;
    let (alpha, beta) = (call.vector(1, 1, 1)?.at(0), call.vector(4, 1, 1)?.at(0));
    let places = tile.places();
    if places.len() < tile.elements() && beta != 0.0 {
        let Tile { mr, nr, rs, cs, .. } = tile;
        return Err(format!(
            "elements of c overlap with rs_c = {rs} and cs_c = {cs}, and beta is not 0; choose strides that keep {mr} rows \
             and {nr} columns apart"
        ));
    }
    if places.keys().max().is_none_or(|last| *last >= c.len()) {
        return Err("the array c is shorter than its tile".to_owned());
    }
    let is_looked_at = tile.sampler(call.sample());
    let element = move |place| {
        let Some(stored) = places.get(&place) else { return Right::Number(Quantity::exact(c.at(place))) };
        if !is_looked_at(place) {
            return Right::Unknown;
        }
        // BLIS does not read c when beta is 0, so that it may hold anything, NaN included.
        let old = if beta == 0.0 { 0.0 } else { beta * c.at(place) };
        let quantity = |&(i, j): &(usize, usize)| {
            let sum = tile.sum(a, b, i, j);
            Quantity {
                value: old + alpha * sum.value(),
                magnitude: old.abs() + alpha.abs() * sum.magnitude,
                roundings: k as f64 + 2.0,
            }
        };
        match stored.as_slice() {
            [one] => Right::Number(quantity(one)),
            several => Right::AnyOf(several.iter().map(quantity).collect()),
        }
    };
    Ok(Expected::written(call.buffer(5)?, Box::new(element)))
}

/// The elements of `c` that a micro-kernel computes, and where they lie.
#[derive(Debug, Clone, Copy)]
struct Tile {
    k: usize,
    mr: usize,
    nr: usize,
    rs: usize,
    cs: usize,
}

impl Tile {
    /// `mr` and `nr` are no arguments of a micro-kernel, so they are taken from the lengths of its panels.
    fn of(k: usize, a: usize, b: usize, rs: usize, cs: usize) -> Result<Self, Unchecked> {
        let (mr, nr) = (a.checked_div(k).unwrap_or(0), b.checked_div(k).unwrap_or(0));
        if mr == 0 || nr == 0 {
            return Err("a panel is empty".to_owned());
        }
        let last = (mr - 1).checked_mul(rs).zip((nr - 1).checked_mul(cs)).and_then(|(r, c)| r.checked_add(c));
        match last {
            _ if mr.saturating_mul(nr) > MAX_TILE => {
                Err(format!("a tile of {mr} by {nr} elements is too large to check"))
            }
            None => Err("the array c is shorter than its tile".to_owned()),
            Some(_) => Ok(Self { k, mr, nr, rs, cs }),
        }
    }

    fn elements(&self) -> usize {
        self.mr * self.nr
    }

    /// What is stored in each place of `c`.
    fn places(&self) -> HashMap<usize, Vec<(usize, usize)>> {
        let mut places: HashMap<usize, Vec<_>> = HashMap::with_capacity(self.elements());
        for (i, j) in (0..self.mr).flat_map(|i| (0..self.nr).map(move |j| (i, j))) {
            places.entry(i * self.rs + j * self.cs).or_default().push((i, j));
        }
        places
    }

    /// Whether a place is among those that are looked at: all, if that takes no more than [`MAX_PRODUCTS`].
    fn sampler(&self, seed: u64) -> impl Fn(usize) -> bool + use<> {
        let products = self.elements().saturating_mul(self.k) as u64;
        move |place| draw(seed, 0, place as u64, products) < MAX_PRODUCTS as u64
    }

    fn sum(&self, a: Numbers<'_>, b: Numbers<'_>, i: usize, j: usize) -> Sum {
        Sum::of((0..self.k).map(|p| a.at(p * self.mr + i) * b.at(p * self.nr + j)))
    }
}

/// What of a tile cannot be seen or is not looked at, in words; none if all of it is.
pub(super) fn gemm_left_out(plan: &CallPlan) -> Option<String> {
    let integer = |argument: usize| match plan.arguments.get(argument) {
        Some(&Argument::Integer(value)) => usize::try_from(value).ok(),
        _ => None,
    };
    let length = |argument: usize| match plan.arguments.get(argument) {
        Some(&Argument::Pointer(buffer)) => {
            usize::try_from(plan.buffers.get(usize::from(buffer))?.elements).ok()
        }
        _ => None,
    };
    let tile = Tile::of(integer(0)?, length(2)?, length(3)?, integer(6)?, integer(7)?).ok()?;
    let (elements, places) = (tile.elements(), tile.places().len());
    let Tile { rs, cs, .. } = tile;
    let overlap = (places < elements).then(|| {
        format!(
            "with rs_c = {rs} and cs_c = {cs} the {elements} elements of c share {places} places, so only those stored \
             last can be seen"
        )
    });
    let many = (elements.saturating_mul(tile.k) > MAX_PRODUCTS)
        .then(|| format!("about {MAX_PRODUCTS} of the {} products were computed", elements * tile.k));
    overlap.into_iter().chain(many).reduce(|one, other| format!("{one}; {other}"))
}

/// The bit of `c`, which is written without being read where beta is 0.
pub(super) fn gemm_kept(plan: &CallPlan) -> u32 {
    let buffer = |argument: usize| match plan.arguments.get(argument) {
        Some(&Argument::Pointer(buffer)) => Some(buffer),
        _ => None,
    };
    let beta = buffer(4).and_then(|index| plan.buffers.get(usize::from(index))).map(|buffer| buffer.fill);
    match (beta, buffer(5)) {
        (Some(Fill::Zero | Fill::Constant(0.0)), Some(c)) => 1_u32.checked_shl(c.into()).unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_that_share_a_place_are_found_and_none_is_lost() {
        let tile = |rs, cs| Tile::of(10, 80, 20, rs, cs).unwrap();
        for (rs, cs, places) in [(1, 8, 16), (2, 1, 16), (1, 1, 9), (0, 0, 1), (3, 6, 10)] {
            let found = tile(rs, cs).places();
            assert_eq!(found.len(), places, "{rs}, {cs}");
            assert_eq!(found.values().map(Vec::len).sum::<usize>(), 16, "{rs}, {cs}");
        }
        assert_eq!(tile(1, 1).places()[&1], [(0, 1), (1, 0)]);
    }

    #[test]
    fn of_too_many_products_a_secret_sample_is_looked_at() {
        let looked_at = |k: usize, seed| {
            let tile = Tile::of(k, 64 * k, 64 * k, 1, 64).unwrap();
            let is_looked_at = tile.sampler(seed);
            (0..4096).filter(|place| is_looked_at(*place)).collect::<Vec<_>>()
        };
        assert_eq!(looked_at(16384, 1).len(), 4096);
        let some = looked_at(65536, 1);
        assert!((900..1150).contains(&some.len()), "{}", some.len());
        assert_ne!(some, looked_at(65536, 2));
    }

    #[test]
    fn the_sum_keeps_what_cancels() {
        let sum = Sum::of([1e100, 1.0, -1e100, 2.0].into_iter());
        assert_eq!(sum.value(), 3.0);
    }
}
