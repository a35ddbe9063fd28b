//! The `webrunner-worker` executable: the zygote and, forked from it, its workers.
//!
//! Owns nothing but the choice of allocator; the life of the process is [`webrunner_worker::zygote`].

use webrunner_worker::heap::Bump;
use webrunner_worker::lockdown::Lock;

#[global_allocator]
static HEAP: Bump = Bump;

fn main() {
    webrunner_worker::zygote::main(&HEAP, Lock::On)
}
