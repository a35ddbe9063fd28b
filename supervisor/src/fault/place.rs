//! Places in words: where an instruction or a data address lies, in terms of the call the client described.

use webrunner_protocol::fault::{CodePlace, DataPlace};
use webrunner_protocol::plan::{Argument, CallPlan};

/// What a call's buffers are called, so that a fault can name the argument it concerns.
#[derive(Debug, Clone, Copy, Default)]
pub struct CallNames<'a> {
    prototype: &'a str,
    plan: Option<&'a CallPlan>,
}

impl<'a> CallNames<'a> {
    /// Names from the C prototype that the plan was made for.
    #[must_use]
    pub fn new(prototype: &'a str, plan: &'a CallPlan) -> Self {
        Self { prototype, plan: Some(plan) }
    }

    /// The argument that points to this buffer.
    #[must_use]
    pub fn buffer(&self, buffer: u16) -> String {
        let points_here = |argument: &Argument| *argument == Argument::Pointer(buffer);
        self.plan
            .and_then(|plan| plan.arguments.iter().position(points_here))
            .and_then(|index| argument_name(self.prototype, index))
            .map_or_else(|| format!("buffer {buffer}"), str::to_owned)
    }

    fn bytes(&self, buffer: u16) -> Option<i64> {
        let buffer = self.plan?.buffers.get(usize::from(buffer))?;
        i64::try_from(buffer.bytes()?).ok()
    }
}

/// The name of an argument in `type name(type a, type *b)`.
fn argument_name(prototype: &str, index: usize) -> Option<&str> {
    let (_, arguments) = prototype.split_once('(')?;
    let (arguments, _) = arguments.rsplit_once(')')?;
    let argument = arguments.split(',').nth(index)?;
    argument.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').find(|word| !word.is_empty())
}

/// What lies at a data address.
pub(super) fn data_words(place: DataPlace, names: &CallNames<'_>) -> String {
    match place {
        DataPlace::Null => "in the first page of memory (a null pointer)".into(),
        DataPlace::Text => "in the object's code, which cannot be written".into(),
        DataPlace::ReadOnlyData => "in the object's read-only data".into(),
        DataPlace::Data => "in the object's writable data, which cannot be executed".into(),
        DataPlace::Stack => "in the function's stack".into(),
        DataPlace::StackGuard => "below the function's stack, which overflowed".into(),
        DataPlace::Buffer { buffer, offset } => {
            format!("{offset} bytes into {}", names.buffer(buffer))
        }
        DataPlace::NearBuffer { buffer, offset } => near_buffer(buffer, offset, names),
        DataPlace::Elsewhere => "near nothing the function was given".into(),
    }
}

fn near_buffer(buffer: u16, offset: i64, names: &CallNames<'_>) -> String {
    let name = names.buffer(buffer);
    match names.bytes(buffer) {
        _ if offset < 0 => format!("{} bytes before {name}", offset.unsigned_abs()),
        Some(bytes) if offset >= bytes => {
            format!("{} bytes past the end of {name} ({bytes} bytes)", offset - bytes)
        }
        _ => format!("{offset} bytes past the start of {name}"),
    }
}

/// Where an instruction lies.
pub(super) fn code_words(place: CodePlace) -> String {
    match place {
        CodePlace::Object { function_offset: offset @ 0.. } => {
            format!("at offset {offset:#x} of the function")
        }
        CodePlace::Object { function_offset } => {
            format!("{:#x} bytes before the function", function_offset.unsigned_abs())
        }
        CodePlace::Harness => "in the worker, after the function changed what the worker relies on".into(),
        CodePlace::Elsewhere => "outside the object, where a jump or a return led".into(),
    }
}

/// Bytes past the start of the function, for instructions of the object.
pub(super) fn function_offset(place: CodePlace) -> Option<i64> {
    match place {
        CodePlace::Object { function_offset } => Some(function_offset),
        CodePlace::Harness | CodePlace::Elsewhere => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argument_names_are_read_from_a_prototype() {
        let prototype = "float sdot(size_t n, const float* x, int32_t incx, float *const y)";
        let names: Vec<_> = (0..5).map(|index| argument_name(prototype, index)).collect();
        assert_eq!(names, [Some("n"), Some("x"), Some("incx"), Some("y"), None]);
        assert_eq!(argument_name("no prototype", 0), None);
    }

    #[test]
    fn every_offset_has_a_description() {
        let names = CallNames::default();
        for offset in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert!(!data_words(DataPlace::NearBuffer { buffer: 9, offset }, &names).is_empty());
            assert!(!code_words(CodePlace::Object { function_offset: offset }).is_empty());
        }
        let before = data_words(DataPlace::NearBuffer { buffer: 9, offset: -4 }, &names);
        assert_eq!(before, "4 bytes before buffer 9");
    }
}
