//! The self-check: a job whose answer is known, run now and then through the path that clients' jobs take.
//!
//! A zygote that answers is no proof that jobs come out right: memory may be short, a core ill, a limit too tight. So the
//! service runs a built-in object and looks at the value it returns, never at the time it took. The same job, posted
//! from outside, is `webrunner self-check`. It never uses a kernel of the operator's, and is no client's job.
//!
//! # Layout
//!
//! - `watch`: when the check is made, and what a failed one means for the service.

mod watch;

use std::time::Instant;

use actix_web::web::Bytes;
use webrunner_kernels::Catalogue;
use webrunner_protocol::job::Work;
use webrunner_protocol::plan::{Buffer, CallPlan};
use webrunner_protocol::reply::Returned;

pub use self::watch::watch;
use crate::fault::CallNames;
use crate::machine::isa::Isa;
use crate::pool::End;
use crate::problem::Problem;
use crate::request::{FILL_SEED, RunRequest};

/// The object: `sdot.s`, assembled.
pub const OBJECT: &[u8] = include_bytes!("sdot.o");

/// What is asked of it. Small and quick: microseconds of a worker's time.
pub const QUERY: &str = "kernel=blis.sdot&n=64&_effort=quick&_format=json";

/// What the last self-check found.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Verdict {
    /// None is made.
    #[default]
    Off,
    /// None was made yet.
    Pending,
    /// It passed.
    Passed {
        /// When.
        at: Instant,
    },
    /// It failed: the service is out of rotation.
    Failed {
        /// Why.
        reason: String,
    },
}

/// The job, with what it must return.
#[derive(Debug, Clone)]
pub struct Probe {
    work: Work,
    expected: f32,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Wrong {
    /// There was a measurement, of another function than was sent or on other data.
    #[error("the built-in function returned {got}, expected {expected}")]
    Value {
        /// What came.
        got: f32,
        /// What should have.
        expected: f32,
    },
    /// There was none.
    #[error("the built-in function was not measured: {0}")]
    Problem(Box<Problem>),
}

impl Probe {
    /// Makes the job from the built-in kernels, whatever kernels the service has.
    ///
    /// # Errors
    /// If the built-in kernels do not take it, which a unit test would show.
    pub fn new() -> Result<Self, Problem> {
        let catalogue = Catalogue::builtin().map_err(|error| {
            tracing::error!(%error, "the built-in kernels cannot be read");
            Problem::Internal
        })?;
        let call = RunRequest::from_query(QUERY)?.resolve(&catalogue)?;
        Ok(Self { work: call.work(), expected: dot_product(&call.plan) })
    }

    /// The job.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work.clone()
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> Bytes {
        Bytes::from_static(OBJECT)
    }

    /// What the function must return.
    #[must_use]
    pub fn expected(&self) -> f32 {
        self.expected
    }

    /// Judges how the job ended.
    ///
    /// # Errors
    /// What is wrong.
    pub fn judge(&self, end: End) -> Result<(), Wrong> {
        match Problem::from_end(end, &Isa::default(), &CallNames::default()) {
            Ok(measurement) => self.judge_value(float(measurement.returned)),
            Err(problem) => Err(Wrong::Problem(Box::new(problem))),
        }
    }

    /// Judges what the function returned.
    ///
    /// # Errors
    /// [`Wrong::Value`].
    pub fn judge_value(&self, got: f32) -> Result<(), Wrong> {
        let expected = self.expected;
        if got.to_bits() == expected.to_bits() { Ok(()) } else { Err(Wrong::Value { got, expected }) }
    }
}

fn float(returned: Returned) -> f32 {
    f32::from_bits(returned.vector as u32)
}

/// What the function computes, in its own order, of the data a worker fills its buffers with.
fn dot_product(plan: &CallPlan) -> f32 {
    let mut buffers = plan.buffers.iter().enumerate().map(|(index, buffer)| floats(buffer, index));
    let (x, y) = (buffers.next().unwrap_or_default(), buffers.next().unwrap_or_default());
    x.iter().zip(&y).fold(0.0, |sum, (x, y)| sum + x * y)
}

fn floats(buffer: &Buffer, index: usize) -> Vec<f32> {
    let mut bytes = vec![0; buffer.bytes().unwrap_or_default() as usize];
    webrunner_protocol::fill::fill(buffer, FILL_SEED, index, &mut bytes);
    bytes.as_chunks().0.iter().map(|element| f32::from_le_bytes(*element)).collect()
}

#[cfg(test)]
mod tests {
    use webrunner_protocol::job::Work;

    use super::*;

    #[test]
    fn the_value_expected_is_the_dot_product_of_two_different_vectors() {
        let probe = Probe::new().unwrap();
        let Work::Kernel(kernel) = probe.work();
        let buffers = &kernel.call.buffers;
        let [x, y] = [0, 1].map(|index| floats(&buffers[index], index));
        assert_eq!((x.len(), y.len()), (64, 64));
        assert_ne!(x, y);
        let exact: f64 = x.iter().zip(&y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        assert!((exact - f64::from(probe.expected())).abs() < 1e-4 && exact.abs() > 1e-3, "{exact}");
    }

    #[test]
    fn only_the_value_expected_passes() {
        let probe = Probe::new().unwrap();
        assert_eq!(probe.judge_value(probe.expected()), Ok(()));
        for got in [probe.expected().next_up(), 0.0, f32::NAN] {
            assert!(matches!(probe.judge_value(got), Err(Wrong::Value { .. })));
        }
        let wrong = probe.judge(End::Exited { code: 3 }).unwrap_err().to_string();
        assert!(wrong.starts_with("the built-in function was not measured: "), "{wrong}");
    }
}
