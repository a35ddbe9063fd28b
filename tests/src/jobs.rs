//! Posting objects, and whether a good one is still measured right.

use serde_json::Value;

use crate::http::{Answer, Request};
use crate::objects;
use crate::service::Service;

/// Measurements a busy machine gets to come up with a sound one.
const ATTEMPTS: usize = 5;

/// The request that measures an object.
#[must_use]
pub fn request(object: &str, query: &str) -> Request {
    Request::post(&format!("/here/run?{query}"), &objects::read(object))
}

impl Service {
    /// Posts an object.
    #[must_use]
    pub fn post(&self, object: &str, query: &str) -> Answer {
        request(object, query).send(self.address())
    }

    /// Measures an object that is good, and gives the full answer.
    ///
    /// # Panics
    /// If the service does not measure it.
    #[must_use]
    pub fn measure(&self, object: &str, query: &str) -> Value {
        let answer = self.post(object, &format!("{query}&_format=json"));
        assert_eq!(answer.status, 200, "{object}: {}", answer.text());
        answer.json()
    }

    /// Posts an object that is to end in a problem, and gives that.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn refusal(&self, object: &str, query: &str) -> Value {
        let answer = self.post(object, query);
        assert_eq!(answer.status, 422, "{object}: {}", answer.text());
        answer.problem()
    }
}

/// Asserts that a chain of known length is measured as that long, unless the answer itself doubts its figure each time.
///
/// # Panics
/// If a figure the service vouches for is wrong.
pub fn good_job_is_right(service: &Service) {
    takes_cycles(service, "good/chain1000.o", 1000.0);
}

/// Asserts that a function takes so many cycles, within two in a hundred, unless the answer itself doubts its figure
/// each time.
///
/// # Panics
/// If a figure the service vouches for is wrong.
pub fn takes_cycles(service: &Service, object: &str, expected: f64) {
    for _ in 0..ATTEMPTS {
        let answer = service.measure(object, "kernel=playground");
        let cycles = answer["results"][0]["value"].as_f64();
        let cycles = cycles.unwrap_or_else(|| panic!("{object}: no cycles in {answer}"));
        if answer["quality"] == "ok" {
            let right = (cycles / expected - 1.0).abs() <= 0.02;
            assert!(right, "{object}: {cycles} cycles, expected {expected}: {answer}");
            return;
        }
    }
}
