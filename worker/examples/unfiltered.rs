//! A worker with every layer of its lock but the system call filter, for the tests that show what the layers behind it stop
//! (`docs/security.md`, "The second line").
//!
//! Never to be used for anything else, and kept from it as `unlocked.rs` is.

use webrunner_worker::heap::Bump;
use webrunner_worker::lockdown::Lock;

#[global_allocator]
static HEAP: Bump = Bump;

fn main() {
    webrunner_worker::zygote::main(&HEAP, Lock::Unfiltered)
}
