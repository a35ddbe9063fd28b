//! Events the kernel itself counts: readings joined with the events they belong to.

use webrunner_protocol::control::Event;
use webrunner_protocol::reply::{CounterReading, Measurement};

/// A reading and its event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counter<'a> {
    pub(super) event: &'a Event,
    pub(super) reading: &'a CounterReading,
}

impl Counter<'_> {
    /// Count per call.
    pub(super) fn per_call(self) -> f64 {
        self.reading.count as f64 / self.reading.calls.max(1) as f64
    }
}

/// Everything that was really counted. Readings of unknown events, or of a group that did not run all the time, are passed
/// over: the first are forged, the second say nothing.
pub(super) fn counted<'a>(
    measurement: &'a Measurement,
    events: &'a [Event],
) -> impl Iterator<Item = Counter<'a>> {
    measurement.counters.iter().filter_map(|reading| {
        let event = events.get(usize::from(reading.event)).filter(|event| event.missing.is_none())?;
        (reading.time_running == reading.time_enabled).then_some(Counter { event, reading })
    })
}

/// Why each event that has no value has none.
pub(super) fn absent<'a>(measurement: &'a Measurement, events: &'a [Event]) -> Vec<(&'a str, &'a str)> {
    let was_counted = |index: usize| {
        let mut readings = counted(measurement, events);
        readings.any(|counter| usize::from(counter.reading.event) == index)
    };
    let unread = |index| (!was_counted(index)).then_some("it was not read in this run, or not all the time");
    let with_reason = |(index, event): (usize, &'a Event)| {
        event.missing.as_deref().or_else(|| unread(index)).map(|reason| (event.name.as_str(), reason))
    };
    events.iter().enumerate().filter_map(with_reason).collect()
}
