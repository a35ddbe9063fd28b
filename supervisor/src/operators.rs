//! The operators' own listeners: `/metrics`, `/livez`, `/readyz` and `/version`, apart from the clients'.
//!
//! Same thread, same handlers, own connections: clients that hold every connection they may have, or a service that
//! finishes its last jobs and accepts nobody, keep no scrape waiting. So this is a small accept loop of its own beside
//! actix's server, whose limit on connections and whose shutdown are for all its listeners together.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_service::{Service as _, ServiceFactory};
use actix_web::middleware::from_fn;
use actix_web::rt::time::sleep;
use actix_web::web::Data;
use actix_web::{App, rt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use crate::envelope::envelope;
use crate::http;
use crate::listener::Listener;
use crate::paced::Stream;
use crate::routes;
use crate::service::Service;

/// Most connections at a time; those that come meanwhile wait in the kernel.
pub(crate) const MAX_CONNECTIONS: usize = 32;

/// Pause after a connection that could not be accepted, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves for ever at each of the listeners, on the thread of the service.
pub fn serve(listeners: Vec<Listener>, service: &Data<Service>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    for listener in listeners {
        let (service, places) = (service.clone(), Arc::clone(&places));
        rt::spawn(async move {
            let ended = match listener {
                Listener::Tcp(socket) => match TcpListener::from_std(socket) {
                    Ok(socket) => {
                        serve_at(async || socket.accept().await.map(|(stream, _)| stream), service, places)
                            .await
                    }
                    Err(error) => Err(error),
                },
                Listener::Unix(socket) => match UnixListener::from_std(socket) {
                    Ok(socket) => {
                        serve_at(async || socket.accept().await.map(|(stream, _)| stream), service, places)
                            .await
                    }
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = ended {
                tracing::error!(%error, "cannot listen for operators");
            }
        });
    }
}

/// Serves whoever is accepted, as far as there are places.
async fn serve_at<T: Stream>(
    accept: impl AsyncFn() -> io::Result<T>,
    service: Data<Service>,
    places: Arc<Semaphore>,
) -> io::Result<()> {
    let app = App::new().app_data(service).configure(routes::configure_operators).wrap(from_fn(envelope));
    let http = http::service(app, std::future::pending);
    let http = Rc::new(http.new_service(()).await.map_err(|()| io::Error::other("there is no service"))?);
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        match accept().await {
            Ok(stream) => {
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
