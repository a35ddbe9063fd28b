//! The thread that starts zygotes: one, for as long as the pool lives.
//!
//! A zygote asks the kernel to kill it when its parent dies, because one that was stopped would otherwise outlive a
//! supervisor that was killed. For the kernel the parent is the *thread* that started it (`PR_SET_PDEATHSIG`), so none may
//! be started by a thread that comes and goes, as those for blocking work do. This one does nothing else, and waits for
//! nothing: whoever asked for a zygote waits until that is ready.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use webrunner_protocol::control::Lane;
use webrunner_protocol::ids::CoreId;

use super::zygote::{LaunchError, Starting, Zygote, ZygoteSettings};

/// An order for a zygote.
struct Order {
    core: CoreId,
    lane: Lane,
    started: Sender<Result<Starting, LaunchError>>,
}

/// A handle to the thread, which ends when the last handle is gone; so then do all zygotes it started.
#[derive(Debug, Clone)]
pub(super) struct Launcher {
    orders: Sender<Order>,
}

impl Launcher {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`LaunchError::Thread`].
    pub(super) fn start(settings: ZygoteSettings) -> Result<Self, LaunchError> {
        let (orders, received) = mpsc::channel();
        thread::Builder::new()
            .name("zygotes".into())
            .spawn(move || serve(&settings, &received))
            .map_err(LaunchError::Thread)?;
        Ok(Self { orders })
    }

    /// Starts a zygote for `core` and waits until it is ready. Blocks.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub(super) fn launch(&self, core: CoreId, lane: Lane) -> Result<Zygote, LaunchError> {
        let gone = || LaunchError::Thread(io::Error::other("it has ended"));
        let (started, starting) = mpsc::channel();
        self.orders.send(Order { core, lane, started }).map_err(|_| gone())?;
        starting.recv().map_err(|_| gone())??.ready()
    }
}

fn serve(settings: &ZygoteSettings, orders: &Receiver<Order>) {
    for order in orders {
        // Whoever asked may be gone; the zygote then ends as it is dropped.
        let _ = order.started.send(Zygote::start(settings, order.core, order.lane));
    }
}
