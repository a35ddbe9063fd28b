//! The object loader, from outside: what it takes, where it puts it, what it writes, and what it refuses.
//!
//! Objects are made here byte by byte, so that no test depends on a compiler being installed.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod builder;
mod entry;
mod header;
mod hostile;
mod loading;
mod relocations;
mod sections;
mod symbols;
