//! How a measurement is to be made, besides how long it may take.
//!
//! One struct, so that a further option is a field here and a line in the supervisor's table.

use serde::{Deserialize, Serialize};

use crate::limits::MAX_PLACEMENTS;

/// The options of one measurement. The default is what a request gets that names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureOptions {
    /// Also measure single calls that find none of their buffers in a cache.
    pub cold: bool,
    /// Fill the buffers again before each measured batch.
    pub restore: bool,
    /// What lies just behind the last element of a buffer.
    pub guard: Guard,
    /// Call the function with MXCSR's FTZ and DAZ set: denormals are taken for zero and made zero.
    pub flush_denormals: bool,
    /// At how many places in memory the function is measured; 1 to [`MAX_PLACEMENTS`]. Quick jobs have one.
    pub placements: u8,
}

/// What lies just behind the last element of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// The rest of its page.
    None,
    /// A closed page: an access past the end faults. Where the buffer begins follows from that; its offset is not kept.
    End,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self {
            cold: false,
            restore: false,
            guard: Guard::None,
            flush_denormals: false,
            placements: MAX_PLACEMENTS as u8,
        }
    }
}
