//! The function that was called: where it came from, what its code is, and what it returned.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use webrunner_protocol::plan::{ElementType, ReturnType};
use webrunner_protocol::reply::{CodeFacts, Returned};
use webrunner_protocol::stack::StackUse;

use crate::render::{Report, number};

/// The object, and where in it the function begins.
pub(super) fn object(report: &Report<'_>) -> Value {
    let digest = Sha256::digest(report.object);
    let entry = &report.measurement.entry;
    json!({
        "sha256": digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        "bytes": report.object.len(),
        "symbol": entry.symbol.as_ref().map(|name| name.as_str()),
        "offset": entry.offset,
    })
}

/// What can be said of the code without running it.
pub(super) fn code(code: Option<&CodeFacts>) -> Value {
    let Some(code) = code else { return Value::Null };
    let (stack_bytes, stack_unbounded) = match &code.stack {
        StackUse::AtMost(bytes) => (json!(bytes), Value::Null),
        StackUse::Unbounded(why) => (Value::Null, json!(why.to_string())),
    };
    json!({
        "instructions": code.instructions,
        "bytes": code.bytes,
        "needs": code.needs.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        "vector_bits": code.vector_bits,
        "indirect_branches": code.indirect_branches,
        "privileged": code.privileged,
        "system_calls": code.system_calls,
        "stack_bytes": stack_bytes,
        "stack_unbounded": stack_unbounded,
    })
}

/// What the function returned, by its declared type; NaN and infinities, which JSON lacks, as text.
pub(super) fn returned(returned: Returned, declared: ReturnType) -> Value {
    let integer = returned.integer;
    let element = match declared {
        ReturnType::Void => return Value::Null,
        ReturnType::Pointer => return format!("{integer:#x}").into(),
        ReturnType::Scalar(element) => element,
    };
    match element {
        ElementType::Int8 => (integer as i8).into(),
        ElementType::Uint8 => (integer as u8).into(),
        ElementType::Int16 => (integer as i16).into(),
        ElementType::Uint16 => (integer as u16).into(),
        ElementType::Int32 => (integer as i32).into(),
        ElementType::Uint32 => (integer as u32).into(),
        ElementType::Int64 => integer.cast_signed().into(),
        ElementType::Uint64 => integer.into(),
        ElementType::Float => number(f32::from_bits(returned.vector as u32).into()),
        ElementType::Double => number(f64::from_bits(returned.vector)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::json::tests::parsed;
    use crate::render::samples::Sample;

    #[test]
    fn the_object_is_named_by_its_digest() {
        let body = parsed(&Sample::new());
        // SHA-256 of three bytes `abc`: FIPS 180-2, appendix B.1.
        assert_eq!(
            body["object"]["sha256"],
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(body["object"]["bytes"], 3);
    }

    #[test]
    fn values_are_returned_by_their_declared_type() {
        let value = Returned { integer: u64::MAX, vector: f32::to_bits(1.5).into() };
        let of = |element| returned(value, ReturnType::Scalar(element));
        assert_eq!(of(ElementType::Float), json!(1.5));
        assert_eq!(of(ElementType::Int32), json!(-1));
        assert_eq!(of(ElementType::Uint64), json!(u64::MAX));
        assert_eq!(returned(value, ReturnType::Void), Value::Null);
        assert_eq!(returned(value, ReturnType::Pointer), "0xffffffffffffffff");
        let nan = Returned { integer: 0, vector: f64::NAN.to_bits() };
        assert_eq!(returned(nan, ReturnType::Scalar(ElementType::Double)), "NaN");
    }
}
