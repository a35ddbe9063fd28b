//! An orderly end: everything a client was promised is kept, within a stated time.
//!
//! actix's own graceful stop closes connections it has accepted and not yet read a request from, and so loses what
//! their clients have sent. So first nothing more is accepted. That leaves the line at a socket of systemd's to the
//! process that takes it over; at one of the service's own nobody would come, so its clients are refused at once.
//! Connections there are get an answer to the request they have, with `Connection: close`; only when all of them are
//! quiet does actix stop. At the limit whatever jobs are left are answered with 503 and `Retry-After`, never with
//! silence.

use std::time::{Duration, Instant};

use actix_web::rt::time::sleep;

use crate::connections;
use crate::listener::Line;
use crate::service::Service;

/// Time between two looks at the connections. Before the first, what the acceptor had taken already comes through.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A connection that was kept open may have a request on its way; one that had none for so long is closed.
const REST: Duration = Duration::from_millis(250);

/// What those cut off at the limit have for their answers.
pub const LAST_WORDS: Duration = Duration::from_secs(2);

/// Returns when nobody waits for an answer any more, or could not be given one within `limit`. To be called on the
/// thread that serves, once nothing more is accepted.
pub async fn drain(service: &Service, line: &Line, limit: Duration) {
    let deadline = Instant::now() + limit;
    sleep(LOOK_EVERY).await;
    line.close();
    loop {
        if connections::are_quiet(REST) {
            break;
        }
        if Instant::now() >= deadline {
            tracing::warn!(
                jobs = service.gauges().running + service.gauges().queued,
                ?limit,
                "the drain limit is up; giving up what is left"
            );
            service.cut_off();
            break;
        }
        sleep(LOOK_EVERY).await;
    }
    service.drain(LAST_WORDS).await;
}
