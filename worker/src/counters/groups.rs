//! The groups open in one worker, as the harness reads them.
//!
//! One pass at a time is on the hardware. A group that gave no reading lost its place to somebody else; it is started
//! afresh at its next turn.
#![forbid(unsafe_code)]

use webrunner_protocol::events::RefusedEvent;

use super::kernel_events;
use super::plan::OpenPass;
use super::pmu::{KernelPmu, Pmu};
use crate::measure::{Counters, GroupReading, Reading};

/// What is open in this process.
#[derive(Debug, Default)]
pub struct OpenCounters<P = KernelPmu> {
    pmu: P,
    /// Leader of the kernel's own events.
    kernel: Option<i32>,
    passes: Vec<OpenPass>,
    refused: Vec<RefusedEvent>,
    /// The pass that is on the hardware.
    started: Option<usize>,
}

impl<P: Pmu> OpenCounters<P> {
    pub(super) fn new(
        pmu: P,
        kernel: Option<i32>,
        passes: Vec<OpenPass>,
        refused: Vec<RefusedEvent>,
    ) -> Self {
        Self { pmu, kernel, passes, refused, started: None }
    }

    /// Events of a job's own set that could not be opened.
    #[must_use]
    pub fn refused(&self) -> &[RefusedEvent] {
        &self.refused
    }

    fn leader(&self, pass: usize) -> Option<i32> {
        self.passes.get(pass)?.leader()
    }
}

impl<P: Pmu> Counters for OpenCounters<P> {
    fn len(&self) -> usize {
        if self.kernel.is_some() { kernel_events::COUNT } else { 0 }
    }

    fn read(&mut self, readings: &mut [Reading]) -> bool {
        let Some(leader) = self.kernel else { return false };
        let Some(group) = self.pmu.read(leader, kernel_events::COUNT) else { return false };
        for (reading, value) in readings.iter_mut().zip(group.values) {
            let GroupReading { time_enabled, time_running, .. } = group;
            *reading = Reading { value, time_enabled, time_running };
        }
        true
    }

    fn passes(&self) -> usize {
        self.passes.len()
    }

    fn pass_events(&self, pass: usize) -> &[u16] {
        self.passes.get(pass).map_or(&[], |pass| &pass.events)
    }

    fn start_pass(&mut self, pass: usize) {
        if self.started == Some(pass) {
            return;
        }
        if let Some(leader) = self.started.take().and_then(|other| self.leader(other)) {
            self.pmu.stop(leader);
        }
        if let Some(leader) = self.leader(pass) {
            self.pmu.start(leader);
            self.started = Some(pass);
        }
    }

    fn read_pass(&mut self, pass: usize) -> Option<GroupReading> {
        let open = self.passes.get(pass)?;
        let (leader, members) = (open.leader()?, open.descriptors.len());
        let reading = self.pmu.read(leader, members);
        if reading.is_none() {
            self.pmu.stop(leader);
            self.started = None;
        }
        reading
    }
}
