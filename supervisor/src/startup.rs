//! Builds the service and runs it: listener and shutdown come from the caller, so tests can bring their own.
//!
//! One actix worker thread serves everything and owns the pool: handlers and pool share a thread, so they share state
//! without locks. Zygotes are up before anything is promised to a client: a host that cannot run jobs is not served from.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::KeepAlive;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use tokio::sync::watch;
use webrunner_kernels::Catalogue;

use crate::config::ServeConfig;
use crate::connections;
use crate::envelope::envelope;
use crate::machine::Machine;
use crate::operators;
use crate::pool::Launched;
use crate::rate_limit::RateLimit;
use crate::routes;
use crate::self_check;
use crate::service::Service;
use crate::telemetry::AccessLog;

/// Most connections at a time; each may hold one body.
const MAX_CONNECTIONS: usize = 256;

/// Connections the kernel completes ahead of us.
const BACKLOG: i32 = 1024;

/// Longest the head of a connection's first request may take.
pub(crate) const HEAD_LIMIT: Duration = Duration::from_secs(3);

/// Longest a connection may be silent between requests.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How much longer than the deadline of a job a shutdown may take.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(2);

/// Why the service could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; choose another with --listen or --metrics-listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The access log cannot be opened.
    #[error("cannot open the access log")]
    AccessLog(#[source] io::Error),
    /// The HTTP server failed.
    #[error("cannot serve")]
    Serve(#[source] io::Error),
}

/// Binds the address to listen on.
///
/// # Errors
/// [`StartupError::Listen`].
pub fn bind(address: SocketAddr) -> Result<TcpListener, StartupError> {
    let failed = |source| StartupError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    rustix::net::listen(&listener, BACKLOG).map_err(|error| failed(error.into()))?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Serves until `shutdown` resolves; operators have a listener of their own or the clients'. Then finishes the jobs in flight.
///
/// # Errors
/// Whatever kept the service from starting or going on.
pub async fn serve(
    listener: TcpListener,
    operators: Option<TcpListener>,
    config: ServeConfig,
    catalogue: Catalogue,
    launched: Launched,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartupError> {
    // Opened here once to fail early; each worker thread, of which there is one, opens its own.
    config.access_log.as_deref().map(AccessLog::open).transpose().map_err(StartupError::AccessLog)?;
    let machine = Machine::gather(config.pool.cores.first().map_or(0, |core| core.0));
    let (stop, mut stopped) = watch::channel(false);
    let address = listener.local_addr().map_err(StartupError::Serve)?;
    let shutdown_limit = config.pool.deadline + SHUTDOWN_MARGIN;

    let worker_stop = stop.clone();
    // The factory runs once on the one worker thread; should actix start that thread anew, its zygotes are gone with it.
    let routes = if operators.is_some() { routes::configure_clients } else { routes::configure };
    let operators_address = operators.as_ref().and_then(|listener| listener.local_addr().ok());
    let once = Arc::new(Mutex::new((Some(launched), operators)));
    let app = move || {
        let (launched, operators) = take(&once);
        let service = open_service(&config, &catalogue, &machine, launched, &worker_stop);
        if let Some(operators) = operators {
            actix_web::rt::spawn(operators::serve(operators, service.clone()));
        }
        App::new().app_data(service).configure(routes).wrap(from_fn(envelope))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(HEAD_LIMIT)
        .h1_allow_half_closed(false)
        .max_connections(MAX_CONNECTIONS)
        .on_connect(connections::on_connect)
        .shutdown_timeout(shutdown_limit.as_secs())
        .shutdown_signal(async move {
            // An error means that the sender is gone, and everything with it.
            let _ = stopped.wait_for(|stop| *stop).await;
        })
        .listen(listener)
        .map_err(StartupError::Serve)?
        .run();
    if let Some(address) = operators_address {
        tracing::info!(%address, "metrics and health for operators");
    }
    tracing::info!(%address, "listening");

    let mut server = pin!(server);
    let ended = tokio::select! {
        ended = &mut server => ended,
        () = shutdown => {
            stop.send_replace(true);
            server.await
        }
    };
    ended.map_err(StartupError::Serve)
}

/// What only the first call of the factory gets.
type Once = Mutex<(Option<Launched>, Option<TcpListener>)>;

fn take(once: &Once) -> (Option<Launched>, Option<TcpListener>) {
    let mut once = once.lock().unwrap_or_else(PoisonError::into_inner);
    (once.0.take(), once.1.take())
}

/// Makes the service on its worker thread and starts what runs beside it.
fn open_service(
    config: &ServeConfig,
    catalogue: &Catalogue,
    machine: &Machine,
    launched: Option<Launched>,
    stop: &watch::Sender<bool>,
) -> Data<Service> {
    let access_log = config.access_log.as_deref().and_then(|path| AccessLog::open(path).ok());
    let mut service = Service::new(catalogue.clone(), machine.clone(), access_log);
    service.rate_limit = config.rate_limit.map(RateLimit::per_second);
    let service = Data::new(service);
    match launched {
        Some(launched) => service.open(launched),
        None => tracing::error!("the HTTP thread was started anew and has no zygotes; restart the service"),
    }
    actix_web::rt::spawn(connections::sweep_forever());
    if let Some(interval) = config.self_check {
        actix_web::rt::spawn(self_check::watch(service.clone(), interval));
    }
    actix_web::rt::spawn(drain(service.clone(), config.pool.deadline + SHUTDOWN_MARGIN, stop.subscribe()));
    service
}

/// Drains the pool when the service is to stop.
async fn drain(service: Data<Service>, limit: Duration, mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_ok() {
        service.drain(limit).await;
    }
}
