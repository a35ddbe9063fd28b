//! The types a specification may name, for parameters and for C arguments, and the values parameters take.
//!
//! Owns the spellings. A spelling not in these tables is refused, never guessed.

use std::fmt;

use serde::{Serialize, Serializer};
use webrunner_protocol::plan::{ElementType, ReturnType};

/// Type of a parameter of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParameterType {
    /// An integer or floating-point type of fixed width.
    Element(ElementType),
    /// `size_t`, which is 64 bits wide here.
    Size,
}

impl ParameterType {
    /// Reads a type as a specification spells it, with or without `_t`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "size_t" {
            return Some(Self::Size);
        }
        let short = text.strip_suffix("_t").unwrap_or(text);
        PARAMETER_NAMES.iter().find(|(name, _)| *name == short).map(|&(_, element)| Self::Element(element))
    }

    /// The name specifications use: `uint32`, `size_t`, `float`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Size => "size_t",
            Self::Element(element) => {
                PARAMETER_NAMES.iter().find(|(_, known)| *known == element).map_or("", |&(name, _)| name)
            }
        }
    }

    /// The C type that holds its values.
    #[must_use]
    pub fn element(self) -> ElementType {
        match self {
            Self::Element(element) => element,
            Self::Size => ElementType::Uint64,
        }
    }

    /// Least and greatest value of the type; infinities are not values.
    pub(crate) fn limits(self) -> (Value, Value) {
        match self.element() {
            ElementType::Float => (Value::Float(f32::MIN), Value::Float(f32::MAX)),
            ElementType::Double => (Value::Double(f64::MIN), Value::Double(f64::MAX)),
            integer => {
                let (low, high) = integer_range(integer).unwrap_or((0, 0));
                let value = |bound| Value::integer(integer, bound).unwrap_or(Value::Unsigned(0));
                (value(low), value(high))
            }
        }
    }

    /// Reads a value written in decimal; `None` if it is not one or does not fit the type.
    pub(crate) fn parse_value(self, text: &str) -> Option<Value> {
        match self.element() {
            ElementType::Float => parse_decimal(text)
                .and_then(|_| text.parse().ok())
                .filter(|value: &f32| value.is_finite())
                .map(Value::Float),
            ElementType::Double => parse_decimal(text).map(Value::Double),
            integer => Value::integer(integer, parse_integer(text)?),
        }
    }
}

const PARAMETER_NAMES: [(&str, ElementType); 10] = [
    ("int8", ElementType::Int8),
    ("uint8", ElementType::Uint8),
    ("int16", ElementType::Int16),
    ("uint16", ElementType::Uint16),
    ("int32", ElementType::Int32),
    ("uint32", ElementType::Uint32),
    ("int64", ElementType::Int64),
    ("uint64", ElementType::Uint64),
    ("float", ElementType::Float),
    ("double", ElementType::Double),
];

/// Spelling in a specification, spelling in a prototype, type.
const C_NAMES: [(&str, &str, ElementType); 28] = [
    ("int8", "int8_t", ElementType::Int8),
    ("int8_t", "int8_t", ElementType::Int8),
    ("signed char", "signed char", ElementType::Int8),
    ("uint8", "uint8_t", ElementType::Uint8),
    ("uint8_t", "uint8_t", ElementType::Uint8),
    ("unsigned char", "unsigned char", ElementType::Uint8),
    ("int16", "int16_t", ElementType::Int16),
    ("int16_t", "int16_t", ElementType::Int16),
    ("short", "short", ElementType::Int16),
    ("uint16", "uint16_t", ElementType::Uint16),
    ("uint16_t", "uint16_t", ElementType::Uint16),
    ("unsigned short", "unsigned short", ElementType::Uint16),
    ("int32", "int32_t", ElementType::Int32),
    ("int32_t", "int32_t", ElementType::Int32),
    ("int", "int", ElementType::Int32),
    ("uint32", "uint32_t", ElementType::Uint32),
    ("uint32_t", "uint32_t", ElementType::Uint32),
    ("unsigned", "unsigned", ElementType::Uint32),
    ("unsigned int", "unsigned int", ElementType::Uint32),
    ("int64", "int64_t", ElementType::Int64),
    ("int64_t", "int64_t", ElementType::Int64),
    ("long", "long", ElementType::Int64),
    ("ptrdiff_t", "ptrdiff_t", ElementType::Int64),
    ("uint64", "uint64_t", ElementType::Uint64),
    ("uint64_t", "uint64_t", ElementType::Uint64),
    ("unsigned long", "unsigned long", ElementType::Uint64),
    ("size_t", "size_t", ElementType::Uint64),
    ("uintptr_t", "uintptr_t", ElementType::Uint64),
];

/// `float` and `double` apart from [`C_NAMES`], because they are spelled one way only.
fn scalar_named(text: &str) -> Option<(&'static str, ElementType)> {
    match text {
        "float" => Some(("float", ElementType::Float)),
        "double" => Some(("double", ElementType::Double)),
        _ => C_NAMES.iter().find(|(spelling, ..)| *spelling == text).map(|&(_, c, element)| (c, element)),
    }
}

/// A C type of an argument, as a specification spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CType {
    /// Spelling in a prototype, without `const` and `*`.
    spelling: &'static str,
    pub(crate) element: ElementType,
    pub(crate) pointer: bool,
    pub(crate) constant: bool,
}

impl CType {
    /// Reads `size_t`, `float*`, `const uint8_t *` and the like.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let spaced = text.replace('*', " * ");
        let mut words: Vec<&str> = spaced.split_ascii_whitespace().collect();
        let pointer = words.last() == Some(&"*");
        if pointer {
            words.pop();
        }
        let constant = words.first() == Some(&"const");
        if constant {
            words.remove(0);
        }
        let (spelling, element) = scalar_named(&words.join(" "))?;
        Some(Self { spelling, element, pointer, constant })
    }
}

impl fmt::Display for CType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let constant = if self.constant { "const " } else { "" };
        write!(out, "{constant}{}{}", self.spelling, if self.pointer { "*" } else { "" })
    }
}

/// Reads the type a function returns, with its spelling in a prototype; no text means nothing is returned.
pub(crate) fn parse_return(text: Option<&str>) -> Option<(&'static str, ReturnType)> {
    match text {
        None | Some("void") => Some(("void", ReturnType::Void)),
        Some("pointer" | "void*" | "void *") => Some(("void*", ReturnType::Pointer)),
        Some(other) => scalar_named(other).map(|(spelling, element)| (spelling, ReturnType::Scalar(element))),
    }
}

/// Least and greatest value of an integer type; `None` for a floating-point one.
pub(crate) fn integer_range(element: ElementType) -> Option<(i128, i128)> {
    Some(match element {
        ElementType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        ElementType::Uint8 => (0, u8::MAX.into()),
        ElementType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        ElementType::Uint16 => (0, u16::MAX.into()),
        ElementType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        ElementType::Uint32 => (0, u32::MAX.into()),
        ElementType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        ElementType::Uint64 => (0, u64::MAX.into()),
        ElementType::Float | ElementType::Double => return None,
    })
}

/// Decimal digits, with one `-` before them at most.
pub(crate) fn parse_integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A finite decimal number such as `1`, `-0.5` or `2.5e-3`; not `inf`, `nan`, `+1` or `.5`.
pub(crate) fn parse_decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let plain = unsigned.starts_with(|first: char| first.is_ascii_digit())
        && unsigned.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    if !plain {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Value of a parameter.
///
/// Serialises as a plain number, and displays as one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// Of a signed integer type.
    Signed(i64),
    /// Of an unsigned integer type.
    Unsigned(u64),
    /// Of type `float`; finite.
    Float(f32),
    /// Of type `double`; finite.
    Double(f64),
}

impl Value {
    /// The value of an integer type, if it fits.
    fn integer(element: ElementType, value: i128) -> Option<Self> {
        let (low, high) = integer_range(element)?;
        if !(low..=high).contains(&value) {
            return None;
        }
        if low < 0 {
            i64::try_from(value).ok().map(Self::Signed)
        } else {
            u64::try_from(value).ok().map(Self::Unsigned)
        }
    }

    /// The value if it is of an integer type.
    #[must_use]
    pub fn as_integer(self) -> Option<i128> {
        match self {
            Self::Signed(value) => Some(value.into()),
            Self::Unsigned(value) => Some(value.into()),
            Self::Float(_) | Self::Double(_) => None,
        }
    }

    /// The nearest `double`.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Signed(value) => value as f64,
            Self::Unsigned(value) => value as f64,
            Self::Float(value) => value.into(),
            Self::Double(value) => value,
        }
    }

    /// Whether the value lies in `low..=high`, all three being of one type.
    pub(crate) fn lies_between(self, low: Self, high: Self) -> bool {
        match (self.as_integer(), low.as_integer(), high.as_integer()) {
            (Some(value), Some(low), Some(high)) => (low..=high).contains(&value),
            _ => (low.as_f64()..=high.as_f64()).contains(&self.as_f64()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed(value) => value.fmt(out),
            Self::Unsigned(value) => value.fmt(out),
            Self::Float(value) => fmt::Debug::fmt(value, out),
            Self::Double(value) => fmt::Debug::fmt(value, out),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Signed(value) => serializer.serialize_i64(value),
            Self::Unsigned(value) => serializer.serialize_u64(value),
            Self::Float(value) => serializer.serialize_f32(value),
            Self::Double(value) => serializer.serialize_f64(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_spellings_of_a_parameter_type_are_one() {
        assert_eq!(ParameterType::parse("uint32"), ParameterType::parse("uint32_t"));
        assert_eq!(ParameterType::parse("uint32_t").map(ParameterType::name), Some("uint32"));
        assert_eq!(ParameterType::parse("float_t_t"), None);
    }

    #[test]
    fn pointers_are_read_with_any_spacing() {
        for text in ["const float*", "const float *", " const  float * "] {
            let ctype = CType::parse(text).unwrap();
            assert_eq!(ctype.to_string(), "const float*");
        }
        for text in ["float**", "*", "const", "void*", "float* const", "restrict float*", ""] {
            assert_eq!(CType::parse(text), None, "{text}");
        }
    }

    #[test]
    fn values_are_read_strictly() {
        let uint64 = ParameterType::parse("uint64").unwrap();
        assert_eq!(uint64.parse_value("18446744073709551615"), Some(Value::Unsigned(u64::MAX)));
        for text in ["18446744073709551616", "-1", "+1", " 1", "1 ", "0x10", "1.0", "1e3", "", "-", "١"] {
            assert_eq!(uint64.parse_value(text), None, "{text}");
        }
        let double = ParameterType::parse("double").unwrap();
        assert_eq!(double.parse_value("-2.5e-3"), Some(Value::Double(-0.0025)));
        for text in ["inf", "nan", "1e999", ".5", "+1", "--1", "1e", "infinity", ""] {
            assert_eq!(double.parse_value(text), None, "{text}");
        }
        assert_eq!(ParameterType::parse("float").unwrap().parse_value("1e39"), None);
    }
}
