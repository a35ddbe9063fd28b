//! A worker without its lock, for the tests that show what the lock stops (`docs/security.md`, "The control").
//!
//! Never to be used for anything else: whoever posts an object to it has the run of the worker's user. That it cannot
//! be shipped by accident rests on three things: it is an example, which no build of the programs makes and nothing
//! installs; it starts only for a supervisor told `--require-isolation unlocked`; and the real worker refuses that.

use webrunner_worker::heap::Bump;
use webrunner_worker::lockdown::Lock;

#[global_allocator]
static HEAP: Bump = Bump;

fn main() {
    webrunner_worker::zygote::main(&HEAP, Lock::Off)
}
