//! Hardware events by name: which table describes a core, what a client may ask for, and how the kernel is asked for it.
//!
//! Tables are data (`events.toml`); a worker gets numbers alone. What a client writes is taken from a table or read as an
//! encoding of the core's own PMU, never of another. A machine may have two kinds of core with a PMU each.
//!
//! # Layout
//!
//! - [`table`]: the data file and its rows. [`family`]: which table describes a core, and which PMU it has.
//! - [`raw`]: encodings as perf writes them. [`select`]: `_events=` of a request.
//! - [`host`]: all of this for the cores of this machine.

pub mod family;
pub mod host;
pub mod raw;
pub mod select;
pub mod table;

use webrunner_protocol::events::EventSet;

/// Events that are to be counted, with the names answers give them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Names, in the order in which readings number the events.
    pub names: Vec<String>,
    /// How the kernel is asked for them; `None` on a core without a PMU, where each is absent.
    pub set: Option<EventSet>,
}
