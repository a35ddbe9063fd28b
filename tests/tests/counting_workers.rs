//! Workers that count groups of events, with events the kernel counts in software in place of a PMU's: real zygotes, real
//! workers, the real filter, and the pool that has workers made for jobs with events of their own.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix_web::rt::System;
use webrunner::catalogue;
use webrunner::cores;
use webrunner::events::Selection;
use webrunner::events::family::CpuModel;
use webrunner::events::host::{CoreKind, HostEvents};
use webrunner::machine::Machine;
use webrunner::pool::{End, Launched, Order, PoolConfig, ZygoteSettings};
use webrunner::reload::Live;
use webrunner::service::Service;
use webrunner_protocol::control::Isolation;
use webrunner_protocol::events::{EncodedEvent, EventSet, OpenRefusal};
use webrunner_protocol::job::{Effort, EntryRule, KernelWork, Work};
use webrunner_protocol::options::MeasureOptions;
use webrunner_protocol::plan::{CallPlan, ReturnType};
use webrunner_protocol::reply::Measurement;
use webrunner_tests::{executables, objects};

/// `PERF_TYPE_SOFTWARE`, and of that kind `PERF_COUNT_SW_TASK_CLOCK` and `PERF_COUNT_SW_PAGE_FAULTS`.
const SOFTWARE: u32 = 1;
const TASK_CLOCK: u64 = 1;
const PAGE_FAULTS: u64 = 2;

/// Nanoseconds in place of cycles, page faults in place of everything else.
fn software(events: usize) -> EventSet {
    EventSet {
        cycles: EncodedEvent::anywhere(SOFTWARE, TASK_CLOCK),
        instructions: EncodedEvent::anywhere(SOFTWARE, PAGE_FAULTS),
        events: vec![EncodedEvent::anywhere(SOFTWARE, PAGE_FAULTS); events],
    }
}

fn work() -> Work {
    Work::Kernel(KernelWork {
        entry: EntryRule { symbol: None, kernel: "playground".into() },
        call: CallPlan { arguments: Vec::new(), buffers: Vec::new(), returns: ReturnType::Void },
        effort: Effort::Standard,
        counts: false,
        fill_seed: 1,
        checking: None,
        options: MeasureOptions::default(),
    })
}

fn order(events: Option<EventSet>) -> Order {
    let object = objects::read("good/chain1000.o").into();
    Order { work: work(), object, events, examination: None }
}

/// A pool of one core whose workers count so many events. `None` where this host lets nobody count; says so.
fn launch(usual: usize) -> Option<Launched> {
    let core = *cores::allowed().expect("cores").last().expect("a core");
    let kind = CoreKind::new(&CpuModel::default(), None);
    let names = (0..usual).map(|number| format!("event {number}")).collect();
    let usual = Selection { names, set: Some(software(usual)) };
    let config = PoolConfig {
        cores: vec![core],
        quick_cores: Vec::new(),
        queue_capacity: 16,
        deadline: Duration::from_secs(20),
        jobs_per_zygote: 1000,
        zygote: ZygoteSettings {
            executable: executables::get().worker.clone(),
            require: Isolation::Best,
            cpu_seconds: 10,
            events: Arc::new(HostEvents::with_usual(kind, vec![core], usual)),
        },
    };
    let launched = Launched::launch(config).expect("a zygote");
    if launched.facts().plans.iter().all(|(_, plan)| plan.passes.is_empty()) {
        println!("skipped: this host lets no process count its own events: {:?}", launched.facts().plans);
        return None;
    }
    Some(launched)
}

/// A service without HTTP, whose pool runs.
fn start(launched: Launched) -> Service {
    let catalogue = catalogue::load(None).expect("the kernels that are built in");
    let service = Service::new(Arc::new(Live::fixed(catalogue)), Machine::gather(0), None);
    service.open(launched);
    service
}

async fn measured(pool: &Service, events: Option<EventSet>) -> Measurement {
    let finished = pool.run(order(events)).await.expect("a worker");
    match finished.end {
        End::Measured(measurement) => *measurement,
        other => panic!("{other:?}"),
    }
}

fn sizes(measurement: &Measurement) -> Vec<usize> {
    measurement.events.passes.iter().map(|pass| pass.events.len()).collect()
}

#[test]
fn a_worker_counts_its_zygotes_set_over_several_passes() {
    let Some(launched) = launch(20) else { return };
    assert_eq!(launched.facts().plans[0].1.passes.len(), 2);
    System::new().block_on(async {
        let pool = start(launched);
        let measurement = measured(&pool, None).await;
        assert_eq!(sizes(&measurement), [14, 6]);
        assert!(measurement.events.passes.iter().all(|pass| pass.lost == 0), "{:?}", measurement.events);
        assert!(measurement.events.passes.iter().any(|pass| pass.rounds > 0 && !pass.counts.is_empty()));
        assert!(!measurement.cycles.counted.is_empty());
    });
}

#[test]
fn a_job_with_events_of_its_own_gets_a_worker_made_for_them() {
    let Some(launched) = launch(0) else { return };
    System::new().block_on(async {
        let pool = start(launched);
        let mut own = software(17);
        own.events[3].config = u64::MAX;
        let measurement = measured(&pool, Some(own)).await;
        assert_eq!(sizes(&measurement), [14, 2]);
        let [refused] = &measurement.events.refused[..] else { panic!("{:?}", measurement.events.refused) };
        // What the kernel says of a software event it does not know.
        assert_eq!((refused.event, refused.reason), (3, OpenRefusal::NoCounters));
        assert_eq!(sizes(&measured(&pool, None).await), [0], "the next job counts the usual set again");
    });
}

#[test]
fn the_most_events_a_job_may_ask_for_are_all_counted() {
    let Some(launched) = launch(0) else { return };
    System::new().block_on(async {
        let pool = start(launched);
        assert_eq!(sizes(&measured(&pool, Some(software(64))).await), [14, 14, 14, 14, 8]);
    });
}

#[test]
fn jobs_with_and_without_events_of_their_own_are_served_in_one_line() {
    let Some(launched) = launch(1) else { return };
    System::new().block_on(async {
        let pool = Rc::new(start(launched));
        let jobs = [Some(2), None, Some(3), Some(4), None].map(|count: Option<usize>| {
            let pool = Rc::clone(&pool);
            let job = async move { sizes(&measured(&pool, count.map(software)).await) };
            (count.unwrap_or(1), actix_web::rt::spawn(job))
        });
        for (count, job) in jobs {
            assert_eq!(job.await.expect("no panic"), [count]);
        }
    });
}

#[test]
fn a_job_that_is_cancelled_while_its_worker_is_made_leaves_the_core_free() {
    let Some(launched) = launch(0) else { return };
    System::new().block_on(async {
        let pool = start(launched);
        for _ in 0..3 {
            // Polled once, so that it stands in line, and dropped.
            let job = pool.run(order(Some(software(1))));
            let mut job = pin!(job);
            let waits = poll_fn(|context| Poll::Ready(job.as_mut().poll(context).is_pending())).await;
            assert!(waits);
        }
        assert_eq!(sizes(&measured(&pool, Some(software(2))).await), [2]);
        assert_eq!(sizes(&measured(&pool, None).await), [0]);
    });
}
