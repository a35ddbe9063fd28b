//! Builds the service and runs it: sockets, zygotes and signals come from the caller.
//!
//! One actix worker thread serves everything and owns the pool: handlers and pool share a thread, so they share state
//! without locks. Zygotes are up before anything is promised to a client: a host that cannot run jobs is not served from.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use actix_web::App;
use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::{Data, ServiceConfig};
use tokio::sync::{mpsc, watch};

use crate::config::ServeConfig;
use crate::connections;
use crate::drain::{self, drain};
use crate::envelope::envelope;
use crate::http;
use crate::listener::{Line, Listener, Listeners};
use crate::machine::Machine;
use crate::operators;
use crate::pool::Launched;
use crate::rate_limit::RateLimit;
use crate::reload::Live;
use crate::routes;
use crate::self_check;
use crate::service::Service;
use crate::signals::{Signals, Wish};
use crate::telemetry::AccessLog;
use crate::upkeep;

/// Why the service could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The access log cannot be opened.
    #[error("cannot open the access log {}; choose another with --access-log", path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The HTTP server failed.
    #[error(
        "cannot serve; allow this user more processes and open files (ulimit -u and -n, or TasksMax= and LimitNOFILE= in the \
         unit)"
    )]
    Serve(#[source] io::Error),
    /// A second signal came before the jobs in flight had ended.
    #[error("stopped at once by a second {signal}; jobs in flight are lost")]
    CutShort {
        /// The signal's name.
        signal: &'static str,
    },
}

/// What the thread that hears signals tells the one that serves, and hears from it.
#[derive(Debug)]
struct Commands {
    stop: watch::Sender<Option<&'static str>>,
    reload: watch::Sender<()>,
    is_drained: mpsc::UnboundedReceiver<()>,
}

/// The other ends.
#[derive(Debug, Clone)]
struct Orders {
    /// The signal that says so.
    stop: watch::Receiver<Option<&'static str>>,
    reload: watch::Receiver<()>,
    /// Hears that nobody waits for an answer any more.
    drained: mpsc::UnboundedSender<()>,
}

/// What a service is opened with, sent to the thread that serves.
#[derive(Debug)]
struct Opening {
    config: ServeConfig,
    live: Arc<Live>,
    machine: Machine,
    orders: Orders,
    once: Mutex<Option<Once>>,
}

/// What only the first service gets. Should actix start its thread anew, these are gone with it.
#[derive(Debug)]
struct Once {
    launched: Launched,
    operators: Vec<Listener>,
    line: Line,
}

thread_local! {
    /// The service of this thread, as long as an application holds it.
    static SERVICE: RefCell<Weak<Service>> = const { RefCell::new(Weak::new()) };
}

/// Opens the access log once to fail early; each worker thread, of which there is one, opens its own.
///
/// # Errors
/// [`StartupError::AccessLog`].
pub fn check_access_log(config: &ServeConfig) -> Result<(), StartupError> {
    let Some(path) = &config.access_log else { return Ok(()) };
    let failed = |source| StartupError::AccessLog { path: path.clone(), source };
    AccessLog::open(path).map(drop).map_err(failed)
}

/// Serves until a signal says stop, then finishes what was accepted.
///
/// # Errors
/// Whatever kept the service from starting or going on.
pub async fn serve(
    listeners: Listeners,
    config: ServeConfig,
    live: Arc<Live>,
    launched: Launched,
    signals: Signals,
) -> Result<(), StartupError> {
    let (commands, orders) = commands();
    let line = listeners.line().map_err(StartupError::Serve)?;
    let Listeners { sockets, operators, .. } = listeners;
    let routes = if operators.is_empty() { routes::configure } else { routes::configure_clients };
    for socket in &operators {
        tracing::info!(address = %socket.address(), "metrics and health for operators");
    }
    let machine = Machine::gather(config.pool.cores.first().map_or(0, |core| core.0));
    let once = Mutex::new(Some(Once { launched, operators, line }));
    let opening = Opening { config, live, machine, orders, once };
    attend(bind(sockets, opening, routes)?, commands, signals).await
}

/// A server on these sockets, with one thread, which opens the service.
fn bind(
    sockets: Vec<Listener>,
    opening: Opening,
    routes: fn(&mut ServiceConfig),
) -> Result<Server, StartupError> {
    let mut server = Server::build()
        .workers(1)
        .max_concurrent_connections(opening.config.max_connections)
        .shutdown_timeout(drain::LAST_WORDS.as_secs())
        .disable_signals();
    let opening = Arc::new(opening);
    // Called once for each socket.
    let app = move || App::new().app_data(opening.service()).configure(routes).wrap(from_fn(envelope));
    for socket in sockets {
        tracing::info!(address = %socket.address(), "listening");
        let (app, stopping) = (app.clone(), server.graceful_shutdown_signal());
        let stopping = move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        };
        server = match socket {
            Listener::Tcp(socket) => {
                server.listen("clients", socket, move || http::service(app(), stopping.clone()))
            }
            Listener::Unix(socket) => {
                server.listen_uds("clients", socket, move || http::service(app(), stopping.clone()))
            }
        }
        .map_err(StartupError::Serve)?;
    }
    Ok(server.run())
}

fn commands() -> (Commands, Orders) {
    let (stop, reload) = (watch::Sender::new(None), watch::Sender::new(()));
    let (drained, is_drained) = mpsc::unbounded_channel();
    let orders = Orders { stop: stop.subscribe(), reload: reload.subscribe(), drained };
    (Commands { stop, reload, is_drained }, orders)
}

/// Passes signals on until the server has ended.
async fn attend(server: Server, mut commands: Commands, mut signals: Signals) -> Result<(), StartupError> {
    let handle = server.handle();
    let mut server = pin!(server);
    loop {
        tokio::select! {
            ended = &mut server => return ended.map_err(StartupError::Serve),
            Some(()) = commands.is_drained.recv() => drop(handle.stop(true)),
            wish = signals.next() => match wish {
                Wish::Reload => commands.reload.send_replace(()),
                Wish::Stop(signal) if commands.stop.borrow().is_some() => return Err(StartupError::CutShort { signal }),
                Wish::Stop(signal) => {
                    // Both are sent at once; waiting for them here would keep the server from hearing them.
                    drop(handle.pause());
                    commands.stop.send_replace(Some(signal));
                }
            },
        }
    }
}

impl Opening {
    /// The service of this thread, which all its applications share.
    fn service(&self) -> Data<Service> {
        if let Some(service) = SERVICE.with_borrow(Weak::upgrade) {
            return Data::from(service);
        }
        let service = self.open();
        SERVICE.set(Arc::downgrade(&service.clone().into_inner()));
        service
    }

    /// Makes the service on its worker thread and starts what runs beside it.
    fn open(&self) -> Data<Service> {
        let Self { config, live, machine, orders, once } = self;
        let access_log = config.access_log.as_deref().and_then(|path| AccessLog::open(path).ok());
        let mut service = Service::new(Arc::clone(live), machine.clone(), access_log);
        service.rate_limit = config.rate_limit.map(RateLimit::per_second);
        let service = Data::new(service);
        let line = match once.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(Once { launched, operators, line }) => {
                service.open(launched);
                operators::serve(operators, &service);
                line
            }
            None => {
                tracing::error!("the HTTP thread was started anew and has no zygotes; restart the service");
                Line::default()
            }
        };
        actix_web::rt::spawn(connections::sweep_forever());
        if let Some(interval) = config.self_check {
            actix_web::rt::spawn(self_check::watch(service.clone(), interval));
        }
        actix_web::rt::spawn(upkeep::announce(service.clone()));
        actix_web::rt::spawn(upkeep::feed_watchdog(service.clone()));
        actix_web::rt::spawn(upkeep::reload_when_told(service.clone(), orders.reload.clone()));
        actix_web::rt::spawn(stop_when_told(service.clone(), config.drain_limit, line, orders.clone()));
        service
    }
}

/// Finishes what was accepted when the service is to stop, then says so.
async fn stop_when_told(service: Data<Service>, limit: Duration, line: Line, mut orders: Orders) {
    let Ok(signal) = orders.stop.wait_for(Option::is_some).await.map(|signal| signal.unwrap_or_default())
    else {
        return;
    };
    crate::systemd::stopping();
    service.begin_to_stop();
    tracing::info!("{signal}: stopping once the jobs in flight have ended");
    drain(&service, &line, limit).await;
    // Nobody is left to hear it once the server has ended.
    let _ = orders.drained.send(());
}
