//! `webrunner run`: one measurement without HTTP, through the same call, pool and answers.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::rt::System;
use actix_web::rt::time::interval;
use actix_web::web::Bytes;
use webrunner_protocol::limits::MAX_OBJECT_BYTES;

use super::{Failure, print};
use crate::cli::RunArgs;
use crate::machine::Machine;
use crate::pool::{Launched, PoolConfig};
use crate::problem::{Kind, Problem};
use crate::progress::Progress;
use crate::reload::{Files, Live};
use crate::render;
use crate::repeat;
use crate::request::{Call, RunRequest};
use crate::request_id::RequestId;
use crate::service::Service;
use crate::settings::Settings;

/// Time between two looks at the clock; far too rare to disturb what is measured.
const TICK: Duration = Duration::from_millis(250);

/// Measures one object.
pub(super) fn run(args: &RunArgs, settings: &Settings) -> Result<(), Failure> {
    let files = Files { kernels: settings.values.kernels.clone(), tokens: None };
    let live = Arc::new(Live::load(files).map_err(|error| Failure::of(&error))?);
    let state = live.state();
    let request = request(args)?;
    let mut call = request.resolve(&state.catalogue).map_err(|problem| refusal(&problem))?;
    let object = read_object(&args.object)?;
    // One job needs no second place to run.
    let config = PoolConfig { quick_cores: Vec::new(), ..PoolConfig::new(settings, 1)? };
    call.events = request.selection(&config.zygote.events).map_err(|problem| refusal(&problem))?;
    let machine = Machine::gather(config.cores.first().map_or(0, |core| core.0));
    let service = Service::new(Arc::clone(&live), machine, None);
    let text = System::new().block_on(measure(&service, &config, &call, object, args.json))?;
    print(text)
}

fn request(args: &RunArgs) -> Result<RunRequest<'_>, Failure> {
    let mut parameters = Vec::new();
    for word in &args.parameters {
        let pair = word.split_once('=').filter(|(name, _)| !name.is_empty() && !name.starts_with('_'));
        let Some((name, value)) = pair else {
            return Err(Failure::Usage(format!("a parameter is written name=value, got `{word}`")));
        };
        parameters.push((Cow::Borrowed(name), Cow::Borrowed(value)));
    }
    let options = args.options.options().map_err(|problem| usage(&problem))?;
    Ok(RunRequest { kernel: Cow::Borrowed(&args.kernel), options, parameters })
}

/// Wrong words on the command line, as far as a terminal is concerned.
fn refusal(problem: &Problem) -> Failure {
    match problem.kind() {
        Kind::BadOption => usage(problem),
        Kind::BadParameter | Kind::UnknownKernel | Kind::UnknownEvent | Kind::BadEvent => {
            Failure::Usage(problem.detail())
        }
        _ => Failure::Other(problem.to_string()),
    }
}

/// A wrong value of a flag. The problem names the query's parameter, which has the flag's name after one underscore.
fn usage(problem: &Problem) -> Failure {
    let detail = problem.detail();
    Failure::Usage(detail.strip_prefix('_').map_or_else(|| detail.clone(), |rest| format!("--{rest}")))
}

fn read_object(path: &Path) -> Result<Bytes, Failure> {
    let failed = |error: std::io::Error| Failure::Other(format!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_OBJECT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_OBJECT_BYTES {
        return Err(Failure::Other(Problem::BodyTooLarge { limit: MAX_OBJECT_BYTES }.to_string()));
    }
    Ok(bytes.into())
}

/// Shows what goes on, and for how long, until it has ended.
async fn watched<T>(job: impl Future<Output = T>, what: &str, mut progress: Progress) -> T {
    let (mut job, begun, mut ticks) = (pin!(job), Instant::now(), interval(TICK));
    loop {
        tokio::select! {
            ended = &mut job => return ended,
            _ = ticks.tick() => progress.say(&format!("{what}: {:.1} s", begun.elapsed().as_secs_f64())),
        }
    }
}

async fn measure(
    service: &Service,
    config: &PoolConfig,
    call: &Call<'_>,
    object: Bytes,
    json: bool,
) -> Result<Vec<u8>, Failure> {
    let mut progress = Progress::start();
    let launched = Launched::launch(config.clone()).map_err(|error| Failure::of(&error))?;
    progress.say("zygotes are up");
    service.open(launched);
    let job = repeat::measure(service, call, &object, |_| ());
    let measured = watched(job, &format!("measuring {}", call.kernel.full_name()), progress).await;
    let measured = measured.map_err(|problem| Failure::of(&problem))?;
    let id = RequestId::fresh();
    let report = measured.report(id.as_str(), service, call, &object);
    if !json {
        return Ok(render::table(&report).into_bytes());
    }
    let mut text = render::json(&report).map_err(|error| Failure::of(&error))?;
    text.push(b'\n');
    Ok(text)
}
