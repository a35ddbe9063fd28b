//! Counters: readings joined with the events they belong to.

use webrunner_protocol::control::{Event, EventSource};
use webrunner_protocol::reply::{CounterReading, Measurement};

/// A reading and its event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counter<'a> {
    pub(super) event: &'a Event,
    pub(super) reading: &'a CounterReading,
}

impl Counter<'_> {
    /// Count per call, scaled up if the counter was shared.
    pub(super) fn per_call(self) -> f64 {
        let count = self.reading.count as f64 / self.reading.calls.max(1) as f64;
        if self.is_shared() && self.reading.time_running > 0 {
            count * (self.reading.time_enabled as f64 / self.reading.time_running as f64)
        } else {
            count
        }
    }

    /// Whether it was on the hardware for only a part of the time.
    pub(super) fn is_shared(self) -> bool {
        self.reading.time_running < self.reading.time_enabled
    }

    pub(super) fn is_hardware(self) -> bool {
        self.event.source == EventSource::Pmu
    }

    pub(super) fn source(self) -> &'static str {
        if self.is_hardware() { "pmu" } else { "kernel" }
    }
}

/// Everything that was really counted. Readings of unknown events, or of a group that never got onto the hardware, are
/// passed over: the first are forged, the second say nothing.
pub(super) fn counted<'a>(
    measurement: &'a Measurement,
    events: &'a [Event],
) -> impl Iterator<Item = Counter<'a>> {
    measurement.counters.iter().filter_map(|reading| {
        let event = events.get(usize::from(reading.event)).filter(|event| event.missing.is_none())?;
        let ran = reading.time_running > 0 || reading.time_enabled == 0;
        ran.then_some(Counter { event, reading })
    })
}

/// Why each event that has no value has none.
pub(super) fn absent<'a>(measurement: &'a Measurement, events: &'a [Event]) -> Vec<(&'a str, &'a str)> {
    let was_counted = |index: usize| {
        let mut readings = counted(measurement, events);
        readings.any(|counter| usize::from(counter.reading.event) == index)
    };
    let unread = |index| (!was_counted(index)).then_some("it got no turn on the counters in this run");
    let with_reason = |(index, event): (usize, &'a Event)| {
        event.missing.as_deref().or_else(|| unread(index)).map(|reason| (event.name.as_str(), reason))
    };
    events.iter().enumerate().filter_map(with_reason).collect()
}

/// The part of a name that its set shares: `DISPATCHED_PORT` of `DISPATCHED_PORT.PORT_0`.
pub(super) fn set_of(name: &str) -> Option<&str> {
    name.split_once('.').map(|(set, _)| set)
}
