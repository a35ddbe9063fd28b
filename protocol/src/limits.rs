//! The sizes that bound every message and every job.
//!
//! A limit is checked before anything is allocated for the value it bounds. All sizes are in bytes unless the name says
//! otherwise.

/// Largest object a client may post.
pub const MAX_OBJECT_BYTES: usize = 1 << 20;

/// Largest encoded [`Job`](crate::job::Job), the object not counted.
pub const MAX_JOB_BYTES: usize = 64 << 10;

/// Largest encoded [`Reply`](crate::reply::Reply), the frame header not counted.
pub const MAX_REPLY_BYTES: usize = 64 << 10;

/// Largest encoded message between supervisor and zygote.
pub const MAX_CONTROL_BYTES: usize = 16 << 10;

/// Job sockets that come with one packet: those of the worker it reports and of the next. While a Unix socket is on its
/// way in a packet, the kernel looks for lost ones each time any other is closed, so few packets should carry them.
pub const SOCKETS_PER_PACKET: usize = 8;

/// Largest encoded request to fork a worker: one with [`MAX_EVENTS`] events.
pub const MAX_FORK_BYTES: usize = 2 << 10;

/// Largest encoded report of a zygote but for the first.
pub const MAX_REPORT_BYTES: usize = 512;

/// Most memory an object may occupy once loaded, guard pages not counted.
pub const MAX_IMAGE_BYTES: u64 = 64 << 20;

/// Most sections an object may have.
pub const MAX_SECTIONS: usize = 4096;

/// Most relocations an object may have, over all sections.
pub const MAX_RELOCATIONS: usize = 1 << 16;

/// Most symbols an object may have.
pub const MAX_SYMBOLS: usize = 1 << 16;

/// Longest name taken from an object into a message; longer ones are cut.
pub const MAX_NAME_BYTES: usize = 128;

/// Most names listed in one refusal.
pub const MAX_CANDIDATES: usize = 16;

/// Most arguments a function may take.
pub const MAX_ARGUMENTS: usize = 32;

/// Most memory all buffers of one call may take together.
pub const MAX_BUFFER_BYTES: u64 = 256 << 20;

/// Most rounds a measurement may report.
pub const MAX_ROUNDS: usize = 1024;

/// Most places in memory that a function is measured at.
pub const MAX_PLACEMENTS: usize = 4;

/// Most counters a measurement may report.
pub const MAX_COUNTERS: usize = 64;

/// Most hardware events one job may ask for, cycles and instructions not counted.
pub const MAX_EVENTS: usize = 64;

/// Most passes they may take.
pub const MAX_PASSES: usize = 16;

/// Most events in the group of one pass, cycles and instructions among them. No core PMU has as many counters.
pub const MAX_GROUP: usize = 16;

/// Longest run of instruction bytes a fault reports; the longest x86 instruction.
pub const MAX_INSTRUCTION_BYTES: usize = 15;

/// Most mnemonics an instruction mix lists.
pub const MAX_MIX: usize = 64;

/// Most loops a count lists.
pub const MAX_LOOPS: usize = 16;

/// Most instruction set extensions that code is said to need. There are fewer that a worker knows by name.
pub const MAX_FEATURES: usize = 128;

/// Most bytes of outputs that are sent at a time; of larger buffers a sample is.
pub const MAX_OUTPUTS_BYTES: usize = 16 << 20;
