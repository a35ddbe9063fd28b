//! References for the `blis` kernels. Arguments are numbered as in `Reference::slots`, which the kernel was found to
//! fit.

use std::collections::HashMap;

use webrunner_protocol::plan::{Argument, CallPlan, Fill};

use super::call::{Call, Expected, Quantity, Unchecked};

/// Most elements of a tile that is checked; each costs memory and `k` multiplications.
const MAX_TILE: usize = 1 << 16;

/// Most products of a tile that is checked: a quarter of a second's work.
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
/// `mr` and `nr` are no arguments of a micro-kernel, so they are taken from the lengths of its panels.
pub(super) fn gemm<'a>(call: &Call<'a>) -> Result<Expected<'a>, Unchecked> {
    let k = call.integer(0)?;
    let (a, b, c) = (call.numbers(2)?, call.numbers(3)?, call.numbers(5)?);
    let (mr, nr) = (a.len().checked_div(k).unwrap_or(0), b.len().checked_div(k).unwrap_or(0));
    if mr == 0 || nr == 0 {
        return Err("a panel is empty".to_owned());
    }
    if mr.saturating_mul(nr) > MAX_TILE {
        return Err(format!("a tile of {mr} by {nr} elements is too large to check"));
    }
    if (mr * nr).saturating_mul(k) > MAX_PRODUCTS {
        return Err(format!(
            "{mr} by {nr} by {k} products are more than the {MAX_PRODUCTS} that are checked"
        ));
    }
    let (rs, cs) = (call.integer(6)?, call.integer(7)?);
    if overlaps(mr, nr, rs, cs) {
        return Err(format!(
            "elements of c overlap with rs_c = {rs} and cs_c = {cs}; choose strides that keep {mr} rows and {nr} columns apart"
        ));
    }
    let last = (mr - 1).checked_mul(rs).zip((nr - 1).checked_mul(cs)).and_then(|(r, c)| r.checked_add(c));
    if last.is_none_or(|last| last >= c.len()) {
        return Err("the array c is shorter than its tile".to_owned());
    }
    let (alpha, beta) = (call.vector(1, 1, 1)?.at(0), call.vector(4, 1, 1)?.at(0));
    let mut tile = HashMap::with_capacity(mr * nr);
    for (i, j) in (0..mr).flat_map(|i| (0..nr).map(move |j| (i, j))) {
        let sum = Sum::of((0..k).map(|p| a.at(p * mr + i) * b.at(p * nr + j)));
        let element = i * rs + j * cs;
        // BLIS does not read c when beta is 0, so that it may hold anything, NaN included.
        let old = if beta == 0.0 { 0.0 } else { beta * c.at(element) };
        let quantity = Quantity {
            value: old + alpha * sum.value(),
            magnitude: old.abs() + alpha.abs() * sum.magnitude,
            roundings: k as f64 + 2.0,
        };
        tile.insert(element, quantity);
    }
    let element = move |index| tile.get(&index).copied().unwrap_or_else(|| Quantity::exact(c.at(index)));
    Ok(Expected::written(call.buffer(5)?, Box::new(element)))
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

/// Whether two elements of an `mr` by `nr` tile share a place.
///
/// Two do if `di * rs + dj * cs = 0` for some `|di| < mr`, `|dj| < nr`, not both 0; the smallest such pair is
/// `cs / g` and `rs / g`, `g` being the greatest common divisor.
fn overlaps(mr: usize, nr: usize, rs: usize, cs: usize) -> bool {
    match greatest_common_divisor(rs, cs) {
        0 => mr * nr > 1,
        g => cs / g < mr && rs / g < nr,
    }
}

fn greatest_common_divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn overlap_is_found_exactly_where_two_elements_share_a_place() {
        for (mr, nr, rs, cs) in (0..5 * 5 * 9 * 9).map(|i| (1 + i % 5, 1 + i / 5 % 5, i / 25 % 9, i / 225)) {
            let places: HashSet<usize> =
                (0..mr).flat_map(|i| (0..nr).map(move |j| i * rs + j * cs)).collect();
            assert_eq!(overlaps(mr, nr, rs, cs), places.len() < mr * nr, "{mr} x {nr}, strides {rs}, {cs}");
        }
    }

    #[test]
    fn the_sum_keeps_what_cancels() {
        let sum = Sum::of([1e100, 1.0, -1e100, 2.0].into_iter());
        assert_eq!(sum.value(), 3.0);
    }
}
