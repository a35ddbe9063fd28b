//! Writes machine code: the few instructions that counting needs, each by its bytes.
//!
//! Everything they touch lies below 2 GiB, so 32-bit absolute addresses and distances reach it. Writing past the end of
//! the space is remembered, not done.
#![forbid(unsafe_code)]

/// First address that a sign-extended 32-bit field cannot hold.
pub(super) const REACH: u64 = 1 << 31;

/// Code being written at a known address.
pub(super) struct Code<'a> {
    bytes: &'a mut [u8],
    address: u64,
    used: usize,
    overflown: bool,
}

impl<'a> Code<'a> {
    pub(super) fn new(bytes: &'a mut [u8], address: u64) -> Self {
        Self { bytes, address, used: 0, overflown: false }
    }

    /// Address of the next byte.
    pub(super) fn here(&self) -> u64 {
        self.address + self.used as u64
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn space(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_overflown(&self) -> bool {
        self.overflown
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        match self.bytes.get_mut(self.used..self.used + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.used += bytes.len();
            }
            None => self.overflown = true,
        }
    }

    /// An opcode followed by an absolute 32-bit address or another 32-bit number.
    pub(super) fn with_u32(&mut self, opcode: &[u8], value: u32) {
        self.put(opcode);
        self.put(&value.to_le_bytes());
    }

    /// An opcode that ends in the distance to `target`.
    pub(super) fn with_distance(&mut self, opcode: &[u8], target: u64) {
        self.with_u32(opcode, 0);
        self.set_distance(self.used, target);
    }

    /// Sets the distance that ends at `end`, which is also the end of its instruction.
    pub(super) fn set_distance(&mut self, end: usize, target: u64) {
        let distance = target.wrapping_sub(self.address + end as u64) as u32;
        if !self.overflown
            && let Some(field) = end.checked_sub(4).and_then(|start| self.bytes.get_mut(start..end))
        {
            field.copy_from_slice(&distance.to_le_bytes());
        }
    }

    pub(super) fn store_rcx(&mut self, to: u32) {
        self.with_u32(&[0x48, 0x89, 0x0c, 0x25], to);
    }

    pub(super) fn load_rcx(&mut self, from: u32) {
        self.with_u32(&[0x48, 0x8b, 0x0c, 0x25], from);
    }

    pub(super) fn store_rax(&mut self, to: u32) {
        self.with_u32(&[0x48, 0x89, 0x04, 0x25], to);
    }

    pub(super) fn load_rax(&mut self, from: u32) {
        self.with_u32(&[0x48, 0x8b, 0x04, 0x25], from);
    }

    /// `mov ecx, value`
    pub(super) fn set_ecx(&mut self, value: u32) {
        self.with_u32(&[0xb9], value);
    }

    /// `mov qword [to], value`; `value` is below [`REACH`].
    pub(super) fn store(&mut self, to: u32, value: u32) {
        self.with_u32(&[0x48, 0xc7, 0x04, 0x25], to);
        self.put(&value.to_le_bytes());
    }

    /// `mov rcx, [rsp]`
    pub(super) fn load_rcx_from_stack(&mut self) {
        self.put(&[0x48, 0x8b, 0x0c, 0x24]);
    }

    /// `lea rcx, [rcx + amount]`, which leaves the flags alone.
    pub(super) fn add_to_rcx(&mut self, amount: i8) {
        self.put(&[0x48, 0x8d, 0x49, amount.to_le_bytes()[0]]);
    }

    /// `lea rcx, [rcx - amount]`; `amount` is below [`REACH`].
    pub(super) fn subtract_from_rcx(&mut self, amount: u32) {
        self.with_u32(&[0x48, 0x8d, 0x89], amount.wrapping_neg());
    }

    /// `lea rax, [rax + rcx]`
    pub(super) fn add_rcx_to_rax(&mut self) {
        self.put(&[0x48, 0x8d, 0x04, 0x08]);
    }

    /// `not rcx; lea rax, [rax + rcx + 1]`, which leaves the flags alone as `sub` does not. Changes rcx.
    pub(super) fn subtract_rcx_from_rax(&mut self) {
        self.put(&[0x48, 0xf7, 0xd1, 0x48, 0x8d, 0x44, 0x08, 0x01]);
    }

    /// `mov ecx, ecx`: keeps its lower half.
    pub(super) fn halve_rcx(&mut self) {
        self.put(&[0x89, 0xc9]);
    }

    /// `lea rsp, [rsp + amount]`
    pub(super) fn drop_from_stack(&mut self, amount: u32) {
        self.with_u32(&[0x48, 0x8d, 0xa4, 0x24], amount);
    }

    /// `jmp target`
    pub(super) fn jump(&mut self, target: u64) {
        self.with_distance(&[0xe9], target);
    }
}
