//! `webrunner serve`: logs, sockets, zygotes, and then the service until a signal comes.

use std::sync::Arc;

use actix_web::rt::{self, System};

use super::Failure;
use crate::config::ServeConfig;
use crate::machine::host;
use crate::pool::{Facts, Launched};
use crate::reload::Live;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::{cores, descriptors, listener, operators, startup, telemetry};

/// Serves until SIGTERM or SIGINT.
pub(super) fn serve(settings: &Settings) -> Result<(), Failure> {
    let mut config = ServeConfig::new(settings)?;
    // Dropped last, so that what the log has yet to write is written.
    let log = telemetry::init(&settings.values).map_err(|error| Failure::of(&error))?;
    // Before any thread is started, so that all of them stay off the cores jobs run on.
    let shared = !cores::leave_to_jobs(&config.pool.cores).map_err(|error| Failure::of(&error))?;
    let live = Arc::new(Live::load(config.files.clone()).map_err(|error| Failure::of(&error))?);
    let mut listeners = listener::open(&config).map_err(|error| Failure::of(&error))?;
    let cores = config.pool.cores.len() + config.pool.quick_cores.len();
    let operated = if listeners.operators.is_empty() { 0 } else { operators::MAX_CONNECTIONS };
    let limit = descriptors::raise_limit();
    config.max_connections = descriptors::connections(config.max_connections, operated, cores, limit)
        .map_err(|error| Failure::of(&error))?;
    startup::check_access_log(&config).map_err(|error| Failure::of(&error))?;
    let launched = Launched::launch(config.pool.clone()).map_err(|error| Failure::of(&error))?;
    listeners.listen(&config).map_err(|error| Failure::of(&error))?;
    // Removed at the very end, when nothing is answered there any more.
    let _file = listeners.file.take();
    // Not before: a start that fails says that alone.
    log.begin().map_err(|error| Failure::of(&error))?;
    warn_of_doubts(launched.facts(), host::missing_hardware_counters(), shared);
    System::new().block_on(async {
        let signals = Signals::listen()
            .map_err(|error| Failure::Other(format!("cannot listen for signals: {error}")))?;
        // On this thread, where it keeps no request waiting.
        rt::spawn(log.write_waiting());
        startup::serve(listeners, config, live, launched, signals).await.map_err(|error| Failure::of(&error))
    })
}

/// Says once what an operator may want to change about this host; everything works all the same.
fn warn_of_doubts(facts: &Facts, no_counters: Option<&str>, shared: bool) {
    if shared {
        tracing::warn!(
            cores = cores::list(&facts.cores),
            "jobs share a core with the service, which disturbs what they measure; give it one more core than --cores"
        );
    }
    let mut reasons: Vec<&str> =
        facts.events.iter().filter_map(|event| event.missing.as_deref()).chain(no_counters).collect();
    reasons.dedup();
    for reason in reasons {
        tracing::info!(reason, "some events cannot be counted; GET /machine lists them");
    }
    for layer in &facts.layers {
        if let Some(reason) = &layer.missing {
            tracing::warn!(layer = layer.name, reason, "a layer of isolation is missing");
        }
    }
}
