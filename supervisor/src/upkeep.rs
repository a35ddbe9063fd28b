//! Tasks that run beside the requests, on their thread: saying that the service is ready, feeding systemd's watchdog,
//! reading files again.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::time::{interval, sleep};
use actix_web::web::{self, Data};
use tokio::sync::watch;

use crate::commands::chain;
use crate::service::Service;
use crate::systemd;

/// Time between two looks for the first worker.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Tells systemd that the service is ready as soon as a worker waits for a job.
pub async fn announce(service: Data<Service>) {
    while service.ready().is_err() || service.gauges().standby == 0 {
        if service.is_stopping() {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
    systemd::ready();
    tracing::info!(workers = service.gauges().standby, "ready");
}

/// Feeds the watchdog while zygotes answer. If none does, or this thread hangs, systemd ends the service and starts
/// another.
pub async fn feed_watchdog(service: Data<Service>) {
    let Some(limit) = systemd::watchdog_interval() else { return };
    let mut ticks = interval(limit / 4);
    loop {
        ticks.tick().await;
        if service.zygotes_answer(limit) {
            systemd::alive();
        } else {
            tracing::warn!(?limit, "no zygote answers; the watchdog is not fed");
        }
        service.ask_zygotes();
    }
}

/// Reads kernels and tokens again at each SIGHUP. What cannot be taken leaves everything as it was.
pub async fn reload_when_told(service: Data<Service>, mut told: watch::Receiver<()>) {
    while told.changed().await.is_ok() {
        systemd::reloading();
        let live = Arc::clone(&service.live);
        match web::block(move || live.reload()).await {
            Ok(Ok(())) => {
                service.metrics.follow(&service.live.state().catalogue);
                tracing::info!("SIGHUP: done");
            }
            Ok(Err(error)) => tracing::error!(
                error = chain(&error),
                "SIGHUP: a file cannot be taken; everything stays as it was"
            ),
            Err(error) => tracing::error!(%error, "SIGHUP: cannot read; everything stays as it was"),
        }
        systemd::ready();
    }
}
