//! String tables, read without ever walking a name to its end.
//!
//! A thousand symbols may share one name of a megabyte; only as much of a name is looked at as a comparison or a
//! message needs.

use webrunner_protocol::limits::MAX_NAME_BYTES;

/// A table of names, each ended by a NUL.
#[derive(Clone, Copy, Default)]
pub(super) struct Strings<'a>(&'a [u8]);

impl<'a> Strings<'a> {
    /// Takes a table; `None` if its last name has no end.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        matches!(bytes.last(), None | Some(0)).then_some(Self(bytes))
    }

    /// Whether a name can begin at `offset`. Offset 0 stands for no name, even in an empty table.
    pub(super) fn holds(self, offset: usize) -> bool {
        offset == 0 || offset < self.0.len()
    }

    /// The name at `offset`, cut after [`MAX_NAME_BYTES`]; empty if there is none.
    pub(super) fn prefix(self, offset: usize) -> &'a [u8] {
        let rest = self.0.get(offset..).unwrap_or_default();
        let rest = &rest[..rest.len().min(MAX_NAME_BYTES)];
        let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
        &rest[..end]
    }

    /// Whether there is a name at `offset`.
    pub(super) fn has(self, offset: usize) -> bool {
        self.0.get(offset).is_some_and(|&byte| byte != 0)
    }

    /// Whether the whole name at `offset` is `wanted`.
    pub(super) fn is(self, offset: usize, wanted: &[u8]) -> bool {
        self.0
            .get(offset..)
            .and_then(|rest| rest.strip_prefix(wanted))
            .is_some_and(|rest| rest.first() == Some(&0))
    }
}
