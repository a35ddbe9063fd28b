//! A thread that never rests, on the core that jobs are measured on: the worst neighbour a scheduler can give.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use webrunner_protocol::ids::CoreId;

use crate::cores::{self, CoresError};

/// The thread; it ends when this is dropped.
pub(super) struct Hog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hog {
    /// Starts it.
    ///
    /// # Errors
    /// If it may not run on the core.
    pub(super) fn start(core: CoreId) -> Result<Self, CoresError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let pinned = cores::stay_on(core);
            let runs = pinned.is_ok();
            // The receiver waits for this one word.
            let _ = ready.send(pinned);
            while runs && !stopped.load(Ordering::Relaxed) {
                hint::spin_loop();
            }
        });
        let hog = Self { stop, thread: Some(thread) };
        is_ready
            .recv()
            .unwrap_or_else(|_| Err(CoresError::Affinity { reason: "the thread ended".into() }))?;
        Ok(hog)
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and there is nobody to tell.
            let _ = thread.join();
        }
    }
}
