//! The operators' own listener: `/metrics`, `/livez`, `/readyz` and `/version`, apart from the clients'.
//!
//! Same thread, same handlers, own connections: clients that hold every connection they may have, or a service that
//! finishes its last jobs and accepts nobody, keep no scrape waiting. So this is a small accept loop of its own beside
//! actix's server, whose limit on connections and whose shutdown are for all its listeners together.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_service::{Service as _, ServiceFactory};
use actix_web::middleware::from_fn;
use actix_web::rt::time::sleep;
use actix_web::web::Data;
use actix_web::{App, rt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::envelope::envelope;
use crate::http;
use crate::routes;
use crate::service::Service;

/// Most connections at a time; those that come meanwhile wait in the kernel.
pub(crate) const MAX_CONNECTIONS: usize = 32;

/// Pause after a connection that could not be accepted, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves for ever, on the thread of the service.
pub async fn serve(listener: std::net::TcpListener, service: Data<Service>) {
    let app = App::new().app_data(service).configure(routes::configure_operators).wrap(from_fn(envelope));
    let http = http::service(app, std::future::pending);
    let (http, listener) = match (http.new_service(()).await, TcpListener::from_std(listener)) {
        (Ok(http), Ok(listener)) => (Rc::new(http), listener),
        (_, Err(error)) => return tracing::error!(%error, "cannot listen for operators"),
        (Err(()), _) => return tracing::error!("cannot make the operators' service"),
    };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let http = Rc::clone(&http);
                rt::spawn(async move {
                    // An error is the peer's: a broken request, a connection gone.
                    let _ = http.call(stream).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an operator's connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
