//! Expressions: integers, parameters, `+ - * /` and parentheses, for lengths, offsets and work.
//!
//! Every value, the intermediate ones too, must lie in -2^63 ..= 2^64 - 1, so that it fits a signed or an unsigned
//! 64-bit integer; anything else is an overflow. Division drops the fraction, towards zero, as in C.
//!
//! The text comes from a specification, the values from a client. Neither can make evaluation panic, recurse or run
//! long: the text is compiled once into steps for a small stack, and its length and nesting are bounded.

use std::fmt;

use crate::text::{is_identifier, shown};

/// Longest expression, in bytes.
const MAX_BYTES: usize = 256;

/// Deepest nesting of parentheses and signs.
const MAX_DEPTH: u32 = 16;

/// An expression, checked and compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expression {
    text: String,
    steps: Vec<Step>,
}

/// One step of a stack machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Constant(u64),
    /// Index of a parameter in its kernel.
    Parameter(usize),
    Negate,
    Binary(Operator),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// What is wrong with the text of an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Longer than any expression should be.
    #[error("the expression is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Too many parentheses or signs inside each other.
    #[error("the expression is nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// Something stands where it cannot.
    #[error("expected {expected} in `{expression}`, found {found}")]
    Unexpected {
        /// The expression.
        expression: String,
        /// What could have stood there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// No decimal number, or one that no 64-bit integer holds.
    #[error("`{number}` is not a decimal integer that fits 64 bits")]
    Number {
        /// The number.
        number: String,
    },
    /// A name that is no parameter.
    #[error("unknown parameter `{name}`; declare it in <query>")]
    UnknownParameter {
        /// The name.
        name: String,
    },
    /// A parameter that is not an integer.
    #[error("parameter `{name}` is no integer and cannot stand in an expression")]
    NotAnInteger {
        /// The name.
        name: String,
    },
}

/// Why an expression has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvaluationError {
    /// A result no 64-bit integer holds.
    #[error("overflows 64 bits")]
    Overflow,
    /// A division by zero.
    #[error("divides by zero")]
    DivisionByZero,
}

/// What a name in an expression stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// An integer parameter, by its index.
    Integer(usize),
    /// A parameter of a floating-point type.
    NotAnInteger,
    /// Nothing.
    Unknown,
}

impl Expression {
    /// Compiles a text whose names `lookup` knows.
    pub(crate) fn parse(text: &str, lookup: &dyn Fn(&str) -> Named) -> Result<Self, ExpressionError> {
        if text.len() > MAX_BYTES {
            return Err(ExpressionError::TooLong);
        }
        let mut parser = Parser { text, rest: text, steps: Vec::new(), depth: 0, lookup };
        parser.sum()?;
        if !parser.peek().is_empty() {
            return Err(parser.unexpected("an operator or the end"));
        }
        Ok(Self { text: text.trim().to_owned(), steps: parser.steps })
    }

    /// The text it was made from.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Indices of the parameters in it, each as often as it stands there.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = usize> {
        self.steps.iter().filter_map(|step| match *step {
            Step::Parameter(index) => Some(index),
            Step::Constant(_) | Step::Negate | Step::Binary(_) => None,
        })
    }

    /// The parameter, if the expression is nothing but one.
    pub(crate) fn sole_parameter(&self) -> Option<usize> {
        match *self.steps.as_slice() {
            [Step::Parameter(index)] => Some(index),
            _ => None,
        }
    }

    /// Computes the value, given what each parameter stands for.
    pub(crate) fn evaluate(&self, parameter: &dyn Fn(usize) -> i128) -> Result<i128, EvaluationError> {
        let mut stack: Vec<i128> = Vec::with_capacity(self.steps.len());
        // The parser emits operands before their operator, so the stack never runs dry; 0 stands in for the compiler.
        let pop = |stack: &mut Vec<i128>| stack.pop().unwrap_or(0);
        for step in &self.steps {
            let value = match *step {
                Step::Constant(value) => value.into(),
                Step::Parameter(index) => parameter(index),
                Step::Negate => -pop(&mut stack),
                Step::Binary(operator) => {
                    let right = pop(&mut stack);
                    let left = pop(&mut stack);
                    operator.apply(left, right)?
                }
            };
            if !(i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value) {
                return Err(EvaluationError::Overflow);
            }
            stack.push(value);
        }
        Ok(pop(&mut stack))
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl Operator {
    fn apply(self, left: i128, right: i128) -> Result<i128, EvaluationError> {
        match self {
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
            Self::Divide if right == 0 => return Err(EvaluationError::DivisionByZero),
            Self::Divide => left.checked_div(right),
        }
        .ok_or(EvaluationError::Overflow)
    }
}

/// Recursive descent; each method emits the steps of what it read.
struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    steps: Vec<Step>,
    depth: u32,
    lookup: &'a dyn Fn(&str) -> Named,
}

impl<'a> Parser<'a> {
    fn sum(&mut self) -> Result<(), ExpressionError> {
        self.product()?;
        loop {
            let operator = match self.peek().as_bytes().first() {
                Some(b'+') => Operator::Add,
                Some(b'-') => Operator::Subtract,
                _ => return Ok(()),
            };
            self.rest = &self.rest[1..];
            self.product()?;
            self.steps.push(Step::Binary(operator));
        }
    }

    fn product(&mut self) -> Result<(), ExpressionError> {
        self.factor()?;
        loop {
            let operator = match self.peek().as_bytes().first() {
                Some(b'*') => Operator::Multiply,
                Some(b'/') => Operator::Divide,
                _ => return Ok(()),
            };
            self.rest = &self.rest[1..];
            self.factor()?;
            self.steps.push(Step::Binary(operator));
        }
    }

    fn factor(&mut self) -> Result<(), ExpressionError> {
        match self.peek().as_bytes().first() {
            Some(b'0'..=b'9') => self.number(),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => self.name(),
            Some(b'(') => {
                self.nested(Self::sum)?;
                if !self.peek().starts_with(')') {
                    return Err(self.unexpected("`)`"));
                }
                self.rest = &self.rest[1..];
                Ok(())
            }
            Some(b'-') => {
                self.nested(Self::factor)?;
                self.steps.push(Step::Negate);
                Ok(())
            }
            _ => Err(self.unexpected("a number, a parameter or `(`")),
        }
    }

    /// Reads what follows the next character, one level deeper.
    fn nested(&mut self, read: fn(&mut Self) -> Result<(), ExpressionError>) -> Result<(), ExpressionError> {
        if self.depth == MAX_DEPTH {
            return Err(ExpressionError::TooDeep);
        }
        self.depth += 1;
        self.rest = &self.rest[1..];
        read(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn number(&mut self) -> Result<(), ExpressionError> {
        let digits = self.take_word();
        match digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse()) {
            Some(Ok(value)) => self.steps.push(Step::Constant(value)),
            _ => return Err(ExpressionError::Number { number: shown(digits) }),
        }
        Ok(())
    }

    fn name(&mut self) -> Result<(), ExpressionError> {
        let name = self.take_word();
        match (self.lookup)(name) {
            Named::Integer(index) if is_identifier(name) => self.steps.push(Step::Parameter(index)),
            Named::NotAnInteger => return Err(ExpressionError::NotAnInteger { name: shown(name) }),
            Named::Integer(_) | Named::Unknown => {
                return Err(ExpressionError::UnknownParameter { name: shown(name) });
            }
        }
        Ok(())
    }

    /// Letters, digits and underscores, as far as they go.
    fn take_word(&mut self) -> &'a str {
        let end = self.rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// What is left, space before it dropped.
    fn peek(&mut self) -> &'a str {
        self.rest = self.rest.trim_ascii_start();
        self.rest
    }

    fn unexpected(&mut self, expected: &'static str) -> ExpressionError {
        let found = match self.peek().chars().next() {
            None => "its end".to_owned(),
            Some(character) => format!("`{}`", character.escape_debug()),
        };
        ExpressionError::Unexpected { expression: shown(self.text), expected, found }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Named {
        match name {
            "n" => Named::Integer(0),
            "m" => Named::Integer(1),
            "alpha" => Named::NotAnInteger,
            _ => Named::Unknown,
        }
    }

    fn evaluate(text: &str, n: i128, m: i128) -> Result<i128, EvaluationError> {
        Expression::parse(text, &lookup).unwrap().evaluate(&|index| [n, m][index])
    }

    fn refusal(text: &str) -> String {
        Expression::parse(text, &lookup).unwrap_err().to_string()
    }

    #[test]
    fn operators_bind_as_in_c() {
        assert_eq!(evaluate("2 + n * m - 1", 3, 4), Ok(13));
        assert_eq!(evaluate("(2+n)*-(m-1)", 3, 4), Ok(-15));
        assert_eq!(evaluate("100 / n / 2", 3, 0), Ok(16));
        assert_eq!(evaluate("10 - n - m", 3, 4), Ok(3));
    }

    #[test]
    fn division_drops_the_fraction_towards_zero() {
        assert_eq!(evaluate("n / m", 7, 2), Ok(3));
        assert_eq!(evaluate("n / m", -7, 2), Ok(-3));
        assert_eq!(evaluate("n / m", 7, 0), Err(EvaluationError::DivisionByZero));
    }

    #[test]
    fn values_reach_the_limits_of_64_bits_and_no_further() {
        assert_eq!(evaluate("n", u64::MAX.into(), 0), Ok(u64::MAX.into()));
        assert_eq!(evaluate("n + 1", u64::MAX.into(), 0), Err(EvaluationError::Overflow));
        assert_eq!(evaluate("n * m", u64::MAX.into(), u64::MAX.into()), Err(EvaluationError::Overflow));
        assert_eq!(evaluate("n * m / m", u64::MAX.into(), 2), Err(EvaluationError::Overflow));
        assert_eq!(evaluate("-9223372036854775808", 0, 0), Ok(i64::MIN.into()));
        assert_eq!(evaluate("-9223372036854775808 - 1", 0, 0), Err(EvaluationError::Overflow));
    }

    #[test]
    fn bad_expressions_are_refused_with_a_reason() {
        assert_eq!(refusal("n *"), "expected a number, a parameter or `(` in `n *`, found its end");
        assert_eq!(refusal("n % 2"), "expected an operator or the end in `n % 2`, found `%`");
        assert_eq!(refusal("(n"), "expected `)` in `(n`, found its end");
        assert_eq!(refusal("k"), "unknown parameter `k`; declare it in <query>");
        assert_eq!(refusal("2 * alpha"), "parameter `alpha` is no integer and cannot stand in an expression");
        assert_eq!(
            refusal("18446744073709551616"),
            "`18446744073709551616` is not a decimal integer that fits 64 bits"
        );
        assert_eq!(refusal("0x10"), "`0x10` is not a decimal integer that fits 64 bits");
        assert_eq!(refusal(&"(".repeat(17)), "the expression is nested more than 16 deep");
        assert_eq!(refusal(&"1+".repeat(200)), "the expression is longer than 256 bytes");
        assert!(refusal("").contains("found its end"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,300}", n: u64, m: i64) {
            if let Ok(expression) = Expression::parse(&text, &lookup) {
                let _ = expression.evaluate(&|index| [i128::from(n), i128::from(m)][index]);
            }
        }

        #[test]
        fn text_made_of_the_right_signs_is_read_or_refused(text in "[-+*/() nm0-9]{0,60}", n: u64, m: i64) {
            if let Ok(expression) = Expression::parse(&text, &lookup) {
                let value = expression.evaluate(&|index| [i128::from(n), i128::from(m)][index]);
                prop_assert!(value.is_err() || (i64::MIN.into()..=u64::MAX.into()).contains(&value.unwrap()));
            }
        }
    }
}
