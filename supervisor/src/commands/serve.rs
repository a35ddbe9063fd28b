//! `webrunner serve`: flags to configuration, listener, logs, and then the service until a signal comes.

use std::future::Future;
use std::io;

use actix_web::rt::System;
use actix_web::rt::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::cli::ServeArgs;
use crate::config::ServeConfig;
use crate::pool::Launched;
use crate::{catalogue, cores, startup, telemetry};

/// Serves until SIGTERM or SIGINT.
pub(super) fn serve(args: ServeArgs) -> Result<(), Failure> {
    let config = ServeConfig::new(args)?;
    let catalogue = catalogue::load(config.kernels.as_deref()).map_err(|error| Failure::of(&error))?;
    telemetry::init(config.error_log.as_deref())
        .map_err(|error| Failure::Other(format!("cannot open the error log: {error}")))?;
    // Before any thread is started, so that all of them stay off the cores jobs run on.
    cores::leave_to_jobs(&config.pool.cores).map_err(|error| Failure::of(&error))?;
    let listener = startup::bind(config.listen).map_err(|error| Failure::of(&error))?;
    let operators =
        config.metrics_listen.map(startup::bind).transpose().map_err(|error| Failure::of(&error))?;
    let launched = Launched::launch(config.pool.clone()).map_err(|error| Failure::of(&error))?;
    System::new().block_on(async {
        let shutdown = stop_signal().map_err(|error| Failure::of(&error))?;
        startup::serve(listener, operators, config, catalogue, launched, shutdown)
            .await
            .map_err(|error| Failure::of(&error))
    })
}

/// Resolves at the first SIGTERM or SIGINT.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping once the jobs in flight have ended"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping once the jobs in flight have ended"),
        }
    })
}
