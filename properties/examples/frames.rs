//! Renews `fuzz/corpus/frame`: runs a few objects on a real worker and writes what it answered as frames, and the job
//! it was sent. To be run from the root of the repository, after the worker was built: `just seeds`.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::System;
use webrunner::events::family::CpuModel;
use webrunner::events::host::HostEvents;
use webrunner::machine::Machine;
use webrunner::pool::{End, Launched, PoolConfig, ZygoteSettings};
use webrunner::reload::Live;
use webrunner::request::RunRequest;
use webrunner::service::Service;
use webrunner_kernels::Catalogue;
use webrunner_properties::frame::{JOB, QUERY};
use webrunner_protocol::codec;
use webrunner_protocol::control::{Ends, Isolation, WorkerProfile, ZygoteReport, ZygoteRequest};
use webrunner_protocol::frame::{JobHeader, ReplyHeader};
use webrunner_protocol::ids::{CoreId, WorkerId};
use webrunner_protocol::job::Job;
use webrunner_protocol::limits::{MAX_CONTROL_BYTES, MAX_JOB_BYTES, MAX_REPLY_BYTES};
use webrunner_protocol::reply::{Outcome, Reply};

const FOLDER: &str = "fuzz/corpus/frame";

/// A name, an object, and options of the query, for each way in which a worker answers.
const JOBS: [(&str, &str, &str); 6] = [
    ("measured", "tests/objects/good/sdot_gcc_O2_pic.o", ""),
    ("quick", "tests/objects/good/sdot_gas.o", "&_effort=quick"),
    ("refused", "tests/objects/bad/undefined.o", ""),
    ("no_entry", "tests/objects/good/several_functions_gcc_O2_pic.o", ""),
    ("fault", "tests/objects/hostile/ud2.o", ""),
    ("system_call", "tests/objects/hostile/syscall_socket.o", ""),
];

fn main() -> Result<(), Box<dyn Error>> {
    let worker = std::env::args_os().nth(1).ok_or("usage: frames WORKER_EXECUTABLE")?;
    // The worker is started elsewhere than here.
    let zygote = ZygoteSettings {
        executable: fs::canonicalize(worker)?,
        require: Isolation::Best,
        cpu_seconds: 3,
        events: Arc::new(HostEvents::gather(&CpuModel::read(), [CoreId(0)])),
    };
    let config = PoolConfig {
        cores: vec![CoreId(0)],
        quick_cores: Vec::new(),
        queue_capacity: 1,
        deadline: Duration::from_secs(10),
        jobs_per_zygote: 1000,
        zygote,
    };
    System::new().block_on(async {
        let service = Service::new(Arc::new(Live::fixed(Catalogue::builtin()?)), Machine::gather(0), None);
        service.open(Launched::launch(config)?);
        for (name, object, options) in JOBS {
            let end = run(&service, object, options).await?;
            write(name, &reply_frame(outcome(end).ok_or_else(|| format!("{object}: no reply"))?)?)?;
        }
        Ok(())
    })
}

async fn run(service: &Service, object: &str, options: &str) -> Result<End, Box<dyn Error>> {
    let catalogue = Catalogue::builtin()?;
    let query = format!("{QUERY}{options}");
    let call = RunRequest::from_query(&query)?.resolve(&catalogue)?;
    let object = fs::read(object)?;
    let job = codec::encode(&Job { id: JOB, layout_seed: 1, work: call.work() }, MAX_JOB_BYTES)?;
    let header = JobHeader { job_bytes: job.len() as u32, object_bytes: object.len() as u32 };
    write("job", &[&header.to_bytes()[..], &job, &object].concat())?;
    let fork = ZygoteRequest::Fork { worker: WorkerId(1), profile: WorkerProfile::Counting, end: None };
    write("fork", &codec::encode(&fork, MAX_CONTROL_BYTES)?)?;
    let forked = ZygoteReport::Forked { worker: WorkerId(1), ended: Ends::default() };
    write("forked", &codec::encode(&forked, MAX_CONTROL_BYTES)?)?;
    Ok(service.run(call.order(object.into())).await?.end)
}

fn outcome(end: End) -> Option<Outcome> {
    match end {
        End::Measured(measurement) => Some(Outcome::Measured(measurement)),
        End::Refused(refusal) => Some(Outcome::Refused(refusal)),
        End::Faulted(fault) => Some(Outcome::Faulted(fault)),
        _ => None,
    }
}

fn reply_frame(outcome: Outcome) -> Result<Vec<u8>, Box<dyn Error>> {
    let body = codec::encode(&Reply { job: JOB, outcome }, MAX_REPLY_BYTES)?;
    let header = ReplyHeader { reply_bytes: body.len() as u32 };
    Ok([&header.to_bytes()[..], &body].concat())
}

fn write(name: &str, frame: &[u8]) -> std::io::Result<()> {
    fs::write(Path::new(FOLDER).join(name).with_extension("bin"), frame)
}
