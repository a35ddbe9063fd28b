//! One argument of the call: how its attributes are read, and where its value comes from.

use webrunner_protocol::plan::{Direction, ElementType, Fill};

use crate::expression::{Expression, Named};
use crate::parameter::Parameter;
use crate::specification::SpecificationError;
use crate::text::{is_identifier, shown};
use crate::types::{CType, integer_range, parse_decimal};
use crate::xml::RawArgument;

/// Whole numbers up to here are exact in a `double`, so that bounds of an integer fill mean what they say.
const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// An argument of a kernel's function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ArgumentSpecification {
    pub(crate) name: String,
    pub(crate) ctype: CType,
    pub(crate) source: Source,
}

/// Where an argument's value comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    /// An integer, computed.
    Integer(Expression),
    /// A floating-point number.
    Number(Number),
    /// The address of an array.
    Array(Array),
}

/// Where a floating-point number comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Number {
    /// Written in the specification.
    Literal(f64),
    /// A parameter of a floating-point type, by its index.
    Parameter(usize),
    /// An integer, computed and converted.
    Expression(Expression),
}

/// An array to make.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    /// Elements.
    pub(crate) length: Expression,
    /// Bytes past a 64-byte boundary; none means 0.
    pub(crate) offset: Option<Expression>,
    pub(crate) fill: Fill,
    pub(crate) direction: Direction,
}

impl ArgumentSpecification {
    pub(crate) fn compile(raw: &RawArgument, parameters: &[Parameter]) -> Result<Self, SpecificationError> {
        let name = raw.name.clone();
        if !is_identifier(&name) {
            return Err(SpecificationError::Name { what: "argument", name: shown(&name) });
        }
        let ctype = CType::parse(&raw.type_name)
            .ok_or_else(|| SpecificationError::Type { what: "argument", text: shown(&raw.type_name) })?;
        let source = if ctype.pointer {
            Source::Array(array(raw, ctype, parameters)?)
        } else {
            scalar(raw, ctype, parameters)?
        };
        Ok(Self { name, ctype, source })
    }

    /// Indices of the parameters its value depends on.
    pub(crate) fn parameters(&self) -> Vec<usize> {
        match &self.source {
            Source::Integer(expression) | Source::Number(Number::Expression(expression)) => {
                expression.parameters().collect()
            }
            Source::Number(Number::Literal(_)) => Vec::new(),
            Source::Number(Number::Parameter(index)) => vec![*index],
            Source::Array(array) => array
                .length
                .parameters()
                .chain(array.offset.iter().flat_map(Expression::parameters))
                .collect(),
        }
    }
}

/// Compiles the expression in an attribute.
pub(crate) fn expression(
    attribute: &'static str,
    text: &str,
    parameters: &[Parameter],
) -> Result<Expression, SpecificationError> {
    let lookup = |name: &str| match parameters.iter().position(|parameter| parameter.name() == name) {
        Some(index) if parameters[index].default().as_integer().is_some() => Named::Integer(index),
        Some(_) => Named::NotAnInteger,
        None => Named::Unknown,
    };
    Expression::parse(text, &lookup).map_err(|source| SpecificationError::Expression { attribute, source })
}

fn scalar(raw: &RawArgument, ctype: CType, parameters: &[Parameter]) -> Result<Source, SpecificationError> {
    let misplaced = [
        ("length", &raw.length),
        ("offset", &raw.offset),
        ("fill", &raw.fill),
        ("direction", &raw.direction),
    ];
    if let Some((attribute, _)) = misplaced.into_iter().find(|(_, value)| value.is_some()) {
        return Err(SpecificationError::OnScalar { argument: raw.name.clone(), attribute });
    }
    let text = raw.value.as_ref().unwrap_or(&raw.name).trim();
    if raw.value.is_none() && !parameters.iter().any(|parameter| parameter.name() == text) {
        return Err(SpecificationError::NoValue { argument: raw.name.clone() });
    }
    if integer_range(ctype.element).is_some() {
        return Ok(Source::Integer(expression("value", text, parameters)?));
    }
    if let Some(literal) = parse_decimal(text) {
        check_fits(ctype.element, literal, text)?;
        return Ok(Source::Number(Number::Literal(literal)));
    }
    let named = parameters.iter().position(|parameter| parameter.name() == text);
    Ok(Source::Number(match named {
        Some(index) => Number::Parameter(index),
        None => Number::Expression(expression("value", text, parameters)?),
    }))
}

fn array(raw: &RawArgument, ctype: CType, parameters: &[Parameter]) -> Result<Array, SpecificationError> {
    if raw.value.is_some() {
        return Err(SpecificationError::ValueOnPointer { argument: raw.name.clone() });
    }
    let length = raw
        .length
        .as_ref()
        .ok_or_else(|| SpecificationError::NoLength { argument: raw.name.clone() })
        .and_then(|text| expression("length", text, parameters))?;
    let offset = raw.offset.as_ref().map(|text| expression("offset", text, parameters)).transpose()?;
    let direction = direction(raw, ctype)?;
    let fill = match (&raw.fill, direction) {
        (Some(text), _) => fill(text, ctype.element)?,
        (None, Direction::In | Direction::InOut) => Fill::Uniform,
        (None, Direction::Out) => Fill::Zero,
    };
    Ok(Array { length, offset, fill, direction })
}

/// `const` means in, a plain pointer both ways, unless the attribute says otherwise.
fn direction(raw: &RawArgument, ctype: CType) -> Result<Direction, SpecificationError> {
    let direction = match raw.direction.as_deref() {
        None if ctype.constant => Direction::In,
        None => Direction::InOut,
        Some("in") => Direction::In,
        Some("out") => Direction::Out,
        Some("inout") => Direction::InOut,
        Some(text) => return Err(SpecificationError::Direction { text: shown(text) }),
    };
    if ctype.constant && direction != Direction::In {
        return Err(SpecificationError::WrittenConst { argument: raw.name.clone() });
    }
    Ok(direction)
}

/// Reads `zero`, `uniform`, `index`, `constant(x)` or `uniform(low, high)`.
fn fill(text: &str, element: ElementType) -> Result<Fill, SpecificationError> {
    let bad = || SpecificationError::Fill { text: shown(text) };
    let number = |text: &str| {
        let value = parse_decimal(text.trim()).ok_or_else(bad)?;
        check_fits(element, value, text).map(|()| value)
    };
    let compact = text.trim();
    match compact {
        "zero" => return Ok(Fill::Zero),
        "uniform" => return Ok(Fill::Uniform),
        "index" => return Ok(Fill::Index),
        _ => {}
    }
    if let Some(inner) = between(compact, "constant(") {
        return Ok(Fill::Constant(number(inner)?));
    }
    let (low, high) = between(compact, "uniform(").and_then(|inner| inner.split_once(',')).ok_or_else(bad)?;
    let (low, high) = (number(low)?, number(high)?);
    if low < high { Ok(Fill::Range { low, high }) } else { Err(SpecificationError::EmptyFill { low, high }) }
}

/// What stands between `opening` and the last `)`.
fn between<'a>(text: &'a str, opening: &str) -> Option<&'a str> {
    text.strip_prefix(opening)?.strip_suffix(')')
}

/// Refuses a number the element type cannot hold.
fn check_fits(element: ElementType, value: f64, text: &str) -> Result<(), SpecificationError> {
    let fits = match element {
        ElementType::Double => value.is_finite(),
        ElementType::Float => (value as f32).is_finite(),
        integer => {
            let (low, high) = integer_range(integer).unwrap_or((0, 0));
            value.fract() == 0.0
                && value.abs() <= MAX_EXACT_INTEGER
                && (low as f64..=high as f64).contains(&value)
        }
    };
    if fits { Ok(()) } else { Err(SpecificationError::Number { text: shown(text.trim()), element }) }
}
