//! How often one client may post a job, if the operator set a limit: a bucket of tokens for each address.
//!
//! A client is its IPv4 address or its /64 of IPv6, which is what one customer is given; behind a proxy all clients are
//! one. What is remembered is forgotten once a bucket is full again, so addresses cannot pile up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota};

/// Addresses remembered before those with full buckets are looked for and forgotten.
const REMEMBERED: usize = 4096;

/// The limit.
#[derive(Debug)]
pub struct RateLimit {
    buckets: DefaultKeyedRateLimiter<IpAddr>,
}

impl RateLimit {
    /// `jobs` a second for each address, and as many at once.
    #[must_use]
    pub fn per_second(jobs: NonZeroU32) -> Self {
        Self { buckets: DefaultKeyedRateLimiter::keyed(Quota::per_second(jobs)) }
    }

    /// Takes a token of the address; clients without one (Unix sockets) share a bucket.
    ///
    /// # Errors
    /// How long until there is a token again.
    pub fn admit(&self, peer: Option<IpAddr>) -> Result<(), Duration> {
        if self.buckets.len() > REMEMBERED {
            self.buckets.retain_recent();
        }
        let client = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), client);
        self.buckets.check_key(&client).map_err(|refused| refused.wait_time_from(self.buckets.clock().now()))
    }
}

/// The part of an address that stands for a client.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_client_has_so_many_jobs_and_others_are_not_affected() {
        let limit = RateLimit::per_second(NonZeroU32::new(2).unwrap());
        assert!(limit.admit(address("192.0.2.1")).is_ok() && limit.admit(address("192.0.2.1")).is_ok());
        let wait = limit.admit(address("192.0.2.1")).unwrap_err();
        assert!(wait <= Duration::from_millis(500), "{wait:?}");
        assert!(limit.admit(address("192.0.2.2")).is_ok());
        assert!(limit.admit(None).is_ok());
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        assert_eq!(client("2001:db8::1".parse().unwrap()), client("2001:db8::2".parse().unwrap()));
        assert_ne!(client("2001:db8::1".parse().unwrap()), client("2001:db8:0:1::1".parse().unwrap()));
        assert_eq!(client("::ffff:192.0.2.1".parse().unwrap()), address("192.0.2.1").unwrap());
    }
}
