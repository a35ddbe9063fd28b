//! Binds a kernel to the parameters of one request: reads them, computes every size, and makes the call plan.
//!
//! What a client sends is hostile: it is read strictly, computed with checks, and held against the memory limit before
//! anything is sent to a worker. A refusal names the parameter, what was expected and what came.

use webrunner_protocol::plan::{Argument, Buffer, CallPlan, ElementType};

use crate::argument::{Array, Number, Source};
use crate::expression::{EvaluationError, Expression};
use crate::kernel::{Check, Kernel};
use crate::refusal::{ComputedError, ParameterError};
use crate::text::{near, shown};
use crate::types::{Value, integer_range};

/// A kernel with its parameters settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// Every parameter, those left at their defaults included, in the order of the specification.
    pub parameters: Vec<(String, Value)>,
    /// The call to make; [`CallPlan::check`] has passed.
    pub plan: CallPlan,
    /// What one call does.
    pub work: Work,
    /// How its result is checked, if it is.
    pub check: Option<Check>,
}

/// What one call does; absent where the specification does not say or the figure does not fit 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Floating-point operations.
    pub flop: Option<u64>,
    /// Bytes moved between memory and registers, at least.
    pub bytes: Option<u64>,
}

impl Kernel {
    /// Settles every parameter and makes the call plan.
    ///
    /// `given` holds what the client sent, names the service keeps for itself (those that begin with `_`) already taken
    /// out.
    ///
    /// # Errors
    /// The first thing wrong with what was given, or with what it makes together.
    pub fn bind<'a>(
        &self,
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Binding, ParameterError> {
        let values = Values { kernel: self, values: self.read(given)? };
        let plan = values.plan()?;
        Ok(Binding {
            parameters: self
                .parameters
                .iter()
                .map(|p| p.name().to_owned())
                .zip(values.values.iter().copied())
                .collect(),
            plan,
            work: Work { flop: values.work(self.flop.as_ref()), bytes: values.work(self.bytes.as_ref()) },
            check: self.check,
        })
    }

    /// Reads what was given; the rest takes its defaults.
    fn read<'a>(
        &self,
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<Value>, ParameterError> {
        let mut read: Vec<Option<Value>> = vec![None; self.parameters.len()];
        for (name, text) in given {
            let index = self
                .parameters
                .iter()
                .position(|parameter| parameter.name() == name)
                .ok_or_else(|| self.unknown(name))?;
            let parameter = &self.parameters[index];
            if read[index].is_some() {
                return Err(ParameterError::Repeated { name: parameter.name().to_owned() });
            }
            read[index] = Some(parameter.read(text).ok_or_else(|| ParameterError::Value {
                name: parameter.name().to_owned(),
                expected: parameter.expected(),
                got: shown(text),
            })?);
        }
        Ok(read.into_iter().zip(&self.parameters).map(|(value, p)| value.unwrap_or(p.default())).collect())
    }

    fn unknown(&self, name: &str) -> ParameterError {
        let names = || self.parameters.iter().map(|parameter| parameter.name());
        ParameterError::Unknown {
            kernel: self.full_name.clone(),
            name: shown(name),
            near: near(name, names().map(|known| (known, known))),
            known: names().map(str::to_owned).collect(),
        }
    }
}

/// Settled parameters of a kernel, to compute with.
struct Values<'k> {
    kernel: &'k Kernel,
    values: Vec<Value>,
}

impl Values<'_> {
    fn plan(&self) -> Result<CallPlan, ParameterError> {
        let mut arguments = Vec::with_capacity(self.kernel.arguments.len());
        let mut buffers = Vec::new();
        for specification in &self.kernel.arguments {
            let (name, element) = (&specification.name, specification.ctype.element);
            arguments.push(match &specification.source {
                Source::Integer(expression) => self.integer(name, element, expression)?,
                Source::Number(number) => self.number(name, element, number)?,
                Source::Array(array) => {
                    // A specification has at most MAX_ARGUMENTS arguments, so the index fits.
                    let index = u16::try_from(buffers.len()).unwrap_or(u16::MAX);
                    buffers.push(self.buffer(name, element, array)?);
                    Argument::Pointer(index)
                }
            });
        }
        let plan = CallPlan { arguments, buffers, returns: self.kernel.returns };
        // Counts, indices and offsets are right by construction, so what is left to go wrong is the memory.
        plan.check().map_err(|_| ParameterError::Memory {
            bytes: plan.buffer_bytes(),
            values: self.show(0..self.values.len()),
        })?;
        Ok(plan)
    }

    fn integer(
        &self,
        name: &str,
        element: ElementType,
        expression: &Expression,
    ) -> Result<Argument, ParameterError> {
        let (low, high) = integer_range(element).unwrap_or((0, 0));
        let value = self.evaluate(&format!("argument {name}"), expression, low, high)?;
        // A signed value is sign-extended, as the C type asks.
        let bits = i64::try_from(value).map_or_else(|_| value as u64, i64::cast_unsigned);
        Ok(Argument::Integer(bits))
    }

    fn number(&self, name: &str, element: ElementType, number: &Number) -> Result<Argument, ParameterError> {
        let value = match number {
            Number::Literal(value) => *value,
            Number::Parameter(index) => self.parameter_as_number(*index, element)?,
            Number::Expression(expression) => {
                let what = format!("argument {name}");
                self.evaluate(&what, expression, i64::MIN.into(), u64::MAX.into())? as f64
            }
        };
        Ok(if element == ElementType::Double {
            Argument::Double(value)
        } else {
            Argument::Float(value as f32)
        })
    }

    /// Refuses a `double` too large for a `float` argument.
    fn parameter_as_number(&self, index: usize, element: ElementType) -> Result<f64, ParameterError> {
        let value = self.values[index].as_f64();
        if element == ElementType::Double || (value as f32).is_finite() {
            return Ok(value);
        }
        Err(ParameterError::Value {
            name: self.kernel.parameters[index].name().to_owned(),
            expected: "a number that a float can hold".to_owned(),
            got: format!("{value:?}"),
        })
    }

    fn buffer(&self, name: &str, element: ElementType, array: &Array) -> Result<Buffer, ParameterError> {
        let elements = self.evaluate(&format!("length of {name}"), &array.length, 0, u64::MAX.into())?;
        let offset = match &array.offset {
            Some(offset) => {
                self.evaluate(&format!("offset of {name}"), offset, 0, CallPlan::MAX_OFFSET.into())?
            }
            None => 0,
        };
        Ok(Buffer {
            // `evaluate` has checked both against these types' ranges.
            elements: u64::try_from(elements).unwrap_or(u64::MAX),
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
            element,
            fill: array.fill,
            direction: array.direction,
        })
    }

    /// Computes an expression and holds it to `low..=high`.
    fn evaluate(
        &self,
        what: &str,
        expression: &Expression,
        low: i128,
        high: i128,
    ) -> Result<i128, ParameterError> {
        let reason = match self.value_of(expression) {
            Ok(value) if (low..=high).contains(&value) => return Ok(value),
            Ok(value) => format!("is {value}"),
            Err(error) => error.to_string(),
        };
        let parameter =
            expression.sole_parameter().map(|index| self.kernel.parameters[index].name().to_owned());
        Err(ParameterError::Computed(Box::new(ComputedError {
            what: what.to_owned(),
            parameter,
            expression: expression.text().to_owned(),
            values: self.show(expression.parameters()),
            reason,
            expected: format!("from {low} to {high}"),
        })))
    }

    fn value_of(&self, expression: &Expression) -> Result<i128, EvaluationError> {
        // Parameters in expressions are integers: the specification was refused otherwise.
        expression.evaluate(&|index| self.values[index].as_integer().unwrap_or(0))
    }

    fn work(&self, expression: Option<&Expression>) -> Option<u64> {
        u64::try_from(self.value_of(expression?).ok()?).ok()
    }

    /// `n = 4, incx = 2`: each parameter once.
    fn show(&self, parameters: impl Iterator<Item = usize>) -> String {
        let mut shown: Vec<usize> = parameters.collect();
        shown.sort_unstable();
        shown.dedup();
        if shown.is_empty() {
            return "no parameters".to_owned();
        }
        let pair =
            |index: usize| format!("{} = {}", self.kernel.parameters[index].name(), self.values[index]);
        shown.into_iter().map(pair).collect::<Vec<_>>().join(", ")
    }
}
