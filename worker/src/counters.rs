//! Event counters of a worker: which ones this host can count, and the groups opened for each worker.
//!
//! perf-event2 describes the events and tries them once, in the zygote; workers open the same descriptions with the
//! set-up key. Each group is opened enabled and never switched: readings are differences, and a group is scheduled as
//! one, so ratios within it are true. An event this host cannot count is reported with the reason, never as 0.

use perf_event::events::{Hardware, Software};
use perf_event::{Builder, ReadFormat};
use webrunner_protocol::control::{Event, EventSource};

use crate::measure::{Counters, Reading};
use crate::sys::perf::{self, MAX_GROUP};

/// One event: how to ask for it, and whether this host gives it.
struct Row {
    builder: Builder<'static>,
    event: Event,
}

/// A set of events that are counted together or not at all.
struct Group {
    rows: Vec<Row>,
    /// The same events, open on the zygote and never enabled. While one event of a kind is open the kernel's code for it stays
    /// patched in; without this each worker would patch it in and out again, interrupting every core (`docs/performance.md`).
    _kept_open: Vec<perf_event::Counter>,
}

/// Every event WebRunner asks for, tried on this host.
pub struct EventTable {
    groups: Vec<Group>,
}

impl EventTable {
    /// Tries every event. To be called before the lock: it opens and closes descriptors.
    #[must_use]
    pub fn probe() -> Self {
        let hardware = [
            ("cpu-cycles", "cycles", Builder::new(Hardware::CPU_CYCLES)),
            ("Instructions", "instructions", Builder::new(Hardware::INSTRUCTIONS)),
        ];
        let software = [
            ("task-clock", "ns", Builder::new(Software::TASK_CLOCK)),
            ("page-faults", "faults", Builder::new(Software::PAGE_FAULTS)),
        ];
        Self {
            groups: vec![
                Group::probe(EventSource::Pmu, hardware.to_vec()),
                Group::probe(EventSource::Kernel, software.to_vec()),
            ],
        }
    }

    /// Every event tried, in the order readings number them.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.groups.iter().flat_map(|group| group.rows.iter().map(|row| row.event.clone())).collect()
    }

    /// Opens every countable group on this process. An event that opened in the zygote but not now is left out: its
    /// absence from the reply says so.
    #[must_use]
    pub fn open(&self) -> OpenCounters {
        let mut open = OpenCounters::default();
        let mut first_event = 0_u16;
        for group in &self.groups {
            if let Some(leader) = group.open() {
                open.add(OpenGroup { leader, first_event, members: group.rows.len() });
            }
            first_event += group.rows.len() as u16;
        }
        open
    }
}

impl Group {
    /// Tries the events as one group: if one cannot be opened, none is counted.
    fn probe(source: EventSource, rows: Vec<(&str, &str, Builder<'static>)>) -> Self {
        let mut rows: Vec<Row> = rows
            .into_iter()
            .enumerate()
            .map(|(index, (name, unit, mut builder))| {
                builder.read_format(
                    ReadFormat::GROUP | ReadFormat::TOTAL_TIME_ENABLED | ReadFormat::TOTAL_TIME_RUNNING,
                );
                builder.enabled(true);
                // Only a leader may be pinned, and only counters of the PMU can be shared in the first place.
                builder.pinned(index == 0 && source == EventSource::Pmu);
                let event = Event { name: name.into(), unit: unit.into(), source, missing: None };
                Row { builder, event }
            })
            .collect();
        let kept_open = match try_group(&rows) {
            Ok(counters) => counters,
            Err(reason) => {
                for row in &mut rows {
                    row.event.missing = Some(reason.clone());
                }
                Vec::new()
            }
        };
        Self { rows, _kept_open: kept_open }
    }

    fn open(&self) -> Option<i32> {
        let mut leader = None;
        for row in &self.rows {
            if row.event.missing.is_some() {
                return None;
            }
            let attributes = std::ptr::from_ref(row.builder.attrs()).cast();
            // SAFETY: perf-event2 made the attributes and filled in their size.
            let fd = unsafe { perf::open(attributes, leader) }.ok()?;
            leader = leader.or(Some(fd));
        }
        leader
    }
}

/// Opens the rows as a group, not enabled; the reason if that fails.
fn try_group(rows: &[Row]) -> Result<Vec<perf_event::Counter>, String> {
    let mut group: Vec<perf_event::Counter> = Vec::new();
    for row in rows {
        let mut builder = row.builder.clone();
        builder.enabled(false);
        let opened = match group.first_mut() {
            None => builder.build(),
            Some(leader) => builder.build_with_group(leader),
        };
        group.push(opened.map_err(|error| reason(row.event.source, &error))?);
    }
    Ok(group)
}

fn reason(source: EventSource, error: &std::io::Error) -> String {
    match (source, error.raw_os_error()) {
        (EventSource::Pmu, Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)) => {
            "this host has no hardware counters, or its hypervisor hides them".into()
        }
        (_, Some(libc::EACCES | libc::EPERM)) => {
            "perf_event_open is not permitted; set kernel.perf_event_paranoid to 2 or less".into()
        }
        _ => format!("perf_event_open failed: {error}"),
    }
}

/// A group open in this process.
#[derive(Debug, Clone, Copy)]
struct OpenGroup {
    leader: i32,
    first_event: u16,
    members: usize,
}

/// The most groups a worker opens.
const MAX_GROUPS: usize = 4;

/// The groups open in this process, read one after the other.
#[derive(Debug, Default)]
pub struct OpenCounters {
    groups: [Option<OpenGroup>; MAX_GROUPS],
}

impl OpenCounters {
    fn add(&mut self, group: OpenGroup) {
        debug_assert!(group.members <= MAX_GROUP);
        if let Some(free) = self.groups.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(group);
        }
    }

    fn open(&self) -> impl Iterator<Item = &OpenGroup> {
        self.groups.iter().flatten()
    }

    /// The number the zygote reported for the event at `index` of a reading.
    #[must_use]
    pub fn event(&self, index: u16) -> Option<u16> {
        let mut left = index;
        for group in self.open() {
            if usize::from(left) < group.members {
                return Some(group.first_event + left);
            }
            left -= group.members as u16;
        }
        None
    }
}

impl Counters for OpenCounters {
    fn len(&self) -> usize {
        self.open().map(|group| group.members).sum()
    }

    /// A pinned group that lost its place gives no reading; its times then stand still, which shows that it did not run.
    fn read(&mut self, readings: &mut [Reading]) -> bool {
        let mut at = 0;
        for group in self.groups.iter().flatten() {
            let reading = perf::read_group(group.leader, group.members).unwrap_or_default();
            for &value in &reading.values[..group.members] {
                let Some(space) = readings.get_mut(at) else { return true };
                *space =
                    Reading { value, time_enabled: reading.time_enabled, time_running: reading.time_running };
                at += 1;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A descriptor that is not open, so that reading it gives nothing.
    const NOT_OPEN: i32 = -1;

    fn opened(groups: &[(u16, usize)]) -> OpenCounters {
        let mut open = OpenCounters::default();
        for &(first_event, members) in groups {
            open.add(OpenGroup { leader: NOT_OPEN, first_event, members });
        }
        open
    }

    #[test]
    fn a_reading_keeps_the_zygotes_number_when_a_group_before_it_is_missing() {
        // Events 0 and 1 could not be opened.
        let open = opened(&[(2, 2), (4, 1)]);
        assert_eq!(open.len(), 3);
        assert_eq!([0, 1, 2, 3].map(|index| open.event(index)), [Some(2), Some(3), Some(4), None]);
    }

    #[test]
    fn nothing_open_is_no_event() {
        let open = OpenCounters::default();
        assert_eq!((open.len(), open.event(0)), (0, None));
    }

    #[test]
    fn more_groups_than_there_is_room_for_are_left_out() {
        let groups: Vec<_> = (0..MAX_GROUPS as u16 + 1).map(|number| (number, 1)).collect();
        assert_eq!(opened(&groups).len(), MAX_GROUPS);
    }

    #[test]
    fn a_group_that_gives_no_reading_reads_as_one_that_never_ran() {
        let stale = Reading { value: 7, time_enabled: 7, time_running: 7 };
        let mut readings = [stale; 3];
        opened(&[(0, 2)]).read(&mut readings);
        assert!(readings[..2].iter().all(|reading| (reading.value, reading.time_running) == (0, 0)));
        assert_eq!(readings[2].value, stale.value);
    }

    #[test]
    fn every_event_is_counted_or_says_why_not() {
        let table = EventTable::probe();
        assert_eq!(table.events().len(), 4);
        for group in &table.groups {
            let missing = group.rows.iter().filter(|row| row.event.missing.is_some()).count();
            assert!(missing == 0 || missing == group.rows.len(), "a group is counted whole or not at all");
            assert!(group.rows.len() <= MAX_GROUP);
        }
        assert!(table.events().iter().all(|event| event.missing.as_ref().is_none_or(|why| !why.is_empty())));
    }
}
