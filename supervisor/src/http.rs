//! How connections are served: actix's HTTP/1, with the limits that hold for clients and operators alike.

use std::rc::Rc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Request};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceResponse};

use crate::connections::Connection;
use crate::paced::{Paced, Stream};

/// Longest the head of a connection's first request may take.
const HEAD_LIMIT: Duration = Duration::from_secs(3);

/// Longest a connection may be silent between requests.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Longest a client that has its answer may go on sending what nobody reads.
const LINGER: Duration = Duration::from_secs(1);

/// Serves an application to each stream that comes; once `stopping` comes about, connections end with their next answer.
pub fn service<T, A, S, B, F>(
    app: A,
    stopping: impl Fn() -> F + 'static,
) -> impl ServiceFactory<T, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    T: Stream,
    A: IntoServiceFactory<S, Request>,
    S: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
    S::Future: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
    F: Future<Output = ()> + 'static,
{
    let http = HttpService::build()
        .graceful_shutdown_signal(stopping)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_LIMIT)
        .client_disconnect_timeout(LINGER)
        // Else bytes behind a request that are none would cost that request its answer.
        .h1_allow_half_closed(true)
        .on_connect_ext(|stream: &Paced<T>, data| {
            data.insert(Rc::clone(stream.connection()));
        })
        .h1(map_config(app, |()| AppConfig::default()));
    let paced = fn_service(async |stream: T| {
        let (peer, connection) = (stream.peer(), Connection::of(&stream));
        Ok((Paced::new(stream, connection), peer))
    });
    paced.and_then(http)
}
