//! Signals an operator sends: SIGTERM and SIGINT stop, SIGHUP reloads.
//!
//! Some programs end a service by two signals for one wish: `timeout` signals its child and then its process group, a
//! terminal the whole group of a program that passes its own signal on. So what follows the first within a moment is it
//! again.

use std::io;
use std::time::{Duration, Instant};

use actix_web::rt::signal::unix::{Signal, SignalKind, signal};

/// How long after the first a signal to stop is the same one: longer than a program takes to send both, shorter than a
/// person to make up their mind.
const SAME_WISH: Duration = Duration::from_millis(100);

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// An end, by the signal of this name.
    Stop(&'static str),
    /// Kernels read again.
    Reload,
}

/// Listens for signals from when it is made; before, they end the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// When the first to stop came.
    stopped_at: Option<Instant>,
}

impl Signals {
    /// Takes the signals over. Needs a runtime.
    ///
    /// # Errors
    /// If the kernel does not let us.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            stopped_at: None,
        })
    }

    /// The next wish.
    pub async fn next(&mut self) -> Wish {
        loop {
            let wish = tokio::select! {
                _ = self.terminate.recv() => Wish::Stop("SIGTERM"),
                _ = self.interrupt.recv() => Wish::Stop("SIGINT"),
                _ = self.hang_up.recv() => Wish::Reload,
            };
            if wish == Wish::Reload || !self.is_repetition() {
                return wish;
            }
        }
    }

    /// Whether a signal to stop is but the first again.
    fn is_repetition(&mut self) -> bool {
        let repeated = self.stopped_at.is_some_and(|first| first.elapsed() < SAME_WISH);
        self.stopped_at.get_or_insert_with(Instant::now);
        repeated
    }
}
