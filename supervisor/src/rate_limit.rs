//! How often one client may post a job, if the operator set a limit: a bucket for each client (GCRA, ITU-T I.371).
//!
//! A client is its token if it has one, else its IPv4 address or its /64 of IPv6, which is what one customer is given;
//! behind a proxy all clients without a token are one. What is remembered of a client is one moment, and no more than
//! [`MOST_CLIENTS`] are remembered: whoever floods the service from ever new addresses makes newcomers share one
//! bucket, costs those that are remembered nothing, and makes nothing grow. All of it lives on the one worker thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most clients remembered at a time: about a megabyte.
const MOST_CLIENTS: usize = 16_384;

/// Memory for so many is kept once there are fewer.
const USUAL_CLIENTS: usize = 1024;

/// Who posts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Client {
    /// The client that a token stands for.
    Token(Arc<str>),
    /// Whoever posts from this network.
    Network(IpAddr),
    /// Everybody for whom there was no room.
    Newcomers,
}

impl Client {
    /// The client at an address; those without one (Unix sockets) are one client.
    #[must_use]
    pub fn at(peer: Option<IpAddr>) -> Self {
        Self::Network(match peer.map(|address| address.to_canonical()) {
            None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Some(IpAddr::V4(address)) => address.into(),
            Some(IpAddr::V6(address)) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        })
    }
}

/// The limit.
#[derive(Debug)]
pub struct RateLimit {
    /// Time a bucket takes to regain one job.
    interval: Duration,
    /// Time an empty bucket takes to fill.
    fill: Duration,
    buckets: RefCell<Buckets>,
}

/// When each bucket will be full again; one that is need not be remembered.
#[derive(Debug)]
struct Buckets {
    full_at: HashMap<Client, Instant>,
    /// When those that are full are to be looked for next.
    sweep_at: Instant,
}

impl RateLimit {
    /// `jobs` a second for each client, and as many at once.
    #[must_use]
    pub fn per_second(jobs: NonZeroU32) -> Self {
        let fill = Duration::from_secs(1);
        let buckets = Buckets { full_at: HashMap::new(), sweep_at: Instant::now() + fill };
        Self { interval: fill / jobs.get(), fill, buckets: RefCell::new(buckets) }
    }

    /// Takes a job from the client's bucket.
    ///
    /// # Errors
    /// How long until there is one again.
    pub fn admit(&self, client: Client) -> Result<(), Duration> {
        self.admit_at(client, Instant::now())
    }

    fn admit_at(&self, client: Client, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.borrow_mut();
        buckets.sweep(now, self.fill);
        let full_at = buckets.of(client, now);
        let next = (*full_at).max(now) + self.interval;
        let late = next.saturating_duration_since(now + self.fill);
        if late.is_zero() {
            *full_at = next;
            Ok(())
        } else {
            Err(late)
        }
    }
}

impl Buckets {
    /// Forgets buckets that are full. Every bucket is after as long as it takes to fill one, so to look more often is
    /// in vain.
    fn sweep(&mut self, now: Instant, every: Duration) {
        if now < self.sweep_at {
            return;
        }
        self.sweep_at = now + every;
        self.full_at.retain(|_, full_at| *full_at > now);
        self.full_at.shrink_to(USUAL_CLIENTS);
    }

    /// The client's bucket, a full one if it is new, or the one for newcomers where there is no room for another.
    fn of(&mut self, client: Client, now: Instant) -> &mut Instant {
        let known = self.full_at.len() < MOST_CLIENTS || self.full_at.contains_key(&client);
        self.full_at.entry(if known { client } else { Client::Newcomers }).or_insert(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Client {
        Client::at(Some(text.parse().unwrap()))
    }

    fn limit(jobs: u32) -> RateLimit {
        RateLimit::per_second(NonZeroU32::new(jobs).unwrap())
    }

    #[test]
    fn a_client_has_so_many_jobs_and_others_are_not_affected() {
        let (limit, now) = (limit(2), Instant::now());
        let admit =
            |client: &Client, after_ms| limit.admit_at(client.clone(), now + Duration::from_millis(after_ms));
        let (one, token) = (address("192.0.2.1"), Client::Token("farm".into()));
        assert_eq!([admit(&one, 0), admit(&one, 0)], [Ok(()); 2]);
        assert_eq!(admit(&one, 100), Err(Duration::from_millis(400)));
        for other in [address("192.0.2.2"), Client::at(None), token] {
            assert_eq!(admit(&other, 100), Ok(()));
        }
        assert_eq!(admit(&one, 500), Ok(()));
        assert_eq!(admit(&one, 600), Err(Duration::from_millis(400)), "a refusal costs nothing");
        assert_eq!([admit(&one, 2000), admit(&one, 2000)], [Ok(()); 2], "a bucket holds no more than it did");
        assert!(admit(&one, 2000).is_err());
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        assert_eq!(address("2001:db8::1"), address("2001:db8::2"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }

    #[test]
    fn a_flood_of_addresses_makes_nothing_grow_and_forgets_nobody() {
        let (limit, now) = (limit(1), Instant::now());
        let known = address("192.0.2.1");
        assert!(limit.admit_at(known.clone(), now).is_ok());
        let flood = (0..3 * MOST_CLIENTS as u128)
            .map(|number| Client::at(Some(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (number << 64)).into())));
        let admitted = flood.filter(|client| limit.admit_at(client.clone(), now).is_ok()).count();
        assert_eq!(
            admitted, MOST_CLIENTS,
            "all that there was room for, and one for those that there was none for"
        );
        let remembered = || limit.buckets.borrow().full_at.len();
        assert!(remembered() <= MOST_CLIENTS + 1);
        assert!(limit.admit_at(known.clone(), now).is_err(), "its bucket is its own still");
        let later = now + Duration::from_secs(3);
        assert!(limit.admit_at(known, later).is_ok());
        assert_eq!(remembered(), 1);
        assert!(limit.buckets.borrow().full_at.capacity() < 2 * USUAL_CLIENTS);
    }
}
