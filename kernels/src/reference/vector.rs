//! References for the `vector` kernels: functions of the standard library, applied to each element in `double`.

use super::call::{Call, Expected, Quantity, Unchecked};

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the function of its name")]
pub enum Function {
    Exp,
    Exp2,
    Expm1,
    Log,
    Log2,
    Log10,
    Log1p,
    Sin,
    Cos,
    Tan,
    Tanh,
    Sqrt,
    Cbrt,
}

impl Function {
    /// Every function.
    pub const ALL: [Self; 13] = [
        Self::Exp,
        Self::Exp2,
        Self::Expm1,
        Self::Log,
        Self::Log2,
        Self::Log10,
        Self::Log1p,
        Self::Sin,
        Self::Cos,
        Self::Tan,
        Self::Tanh,
        Self::Sqrt,
        Self::Cbrt,
    ];

    /// The name of the C function.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exp => "exp",
            Self::Exp2 => "exp2",
            Self::Expm1 => "expm1",
            Self::Log => "log",
            Self::Log2 => "log2",
            Self::Log10 => "log10",
            Self::Log1p => "log1p",
            Self::Sin => "sin",
            Self::Cos => "cos",
            Self::Tan => "tan",
            Self::Tanh => "tanh",
            Self::Sqrt => "sqrt",
            Self::Cbrt => "cbrt",
        }
    }

    fn value(self, x: f64) -> f64 {
        match self {
            Self::Exp => x.exp(),
            Self::Exp2 => x.exp2(),
            Self::Expm1 => x.exp_m1(),
            Self::Log => x.ln(),
            Self::Log2 => x.log2(),
            Self::Log10 => x.log10(),
            Self::Log1p => x.ln_1p(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Tan => x.tan(),
            Self::Tanh => x.tanh(),
            Self::Sqrt => x.sqrt(),
            Self::Cbrt => x.cbrt(),
        }
    }

    /// The derivative.
    fn slope(self, x: f64) -> f64 {
        use std::f64::consts::{LN_2, LN_10};
        match self {
            Self::Exp | Self::Expm1 => x.exp(),
            Self::Exp2 => LN_2 * x.exp2(),
            Self::Log => x.recip(),
            Self::Log2 => (LN_2 * x).recip(),
            Self::Log10 => (LN_10 * x).recip(),
            Self::Log1p => (1.0 + x).recip(),
            Self::Sin => x.cos(),
            Self::Cos => -x.sin(),
            Self::Tan => 1.0 + x.tan().powi(2),
            Self::Tanh => 1.0 - x.tanh().powi(2),
            Self::Sqrt => (2.0 * x.sqrt()).recip(),
            Self::Cbrt => (3.0 * x.cbrt().powi(2)).recip(),
        }
    }

    /// What one element should be. Errors are relative to the larger of the result and of what a relative change of
    /// the input makes of it, `|x f'(x)|`: near a root of f no function can do better than that with an input rounded
    /// once.
    fn quantity(self, x: f64) -> Quantity {
        let value = self.value(x);
        let moved = (x * self.slope(x)).abs();
        let magnitude = if moved.is_finite() { value.abs().max(moved) } else { value.abs() };
        Quantity { value, magnitude, roundings: 1.0 }
    }
}

pub(super) fn map<'a>(call: &Call<'a>, function: Function) -> Result<Expected<'a>, Unchecked> {
    let n = call.length(0)?;
    let x = call.vector(1, n, 1)?;
    let y = call.vector(2, n, 1)?;
    Ok(Expected::written(call.buffer(2)?, y.written(move |i| function.quantity(x.at(i)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_the_functions() {
        for function in Function::ALL {
            for x in [0.3, 0.9, 1.2] {
                let step = 1e-6;
                let measured = (function.value(x + step) - function.value(x - step)) / (2.0 * step);
                let slope = function.slope(x);
                assert!((measured - slope).abs() < 1e-6 * (1.0 + slope.abs()), "{} at {x}", function.name());
            }
        }
    }
}
