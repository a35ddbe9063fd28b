//! `webrunner run`: one measurement without HTTP, through the same call, pool and answers.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use actix_web::rt::System;
use actix_web::web::Bytes;
use webrunner_kernels::Catalogue;
use webrunner_protocol::limits::MAX_OBJECT_BYTES;

use super::Failure;
use crate::catalogue;
use crate::cli::RunArgs;
use crate::machine::Machine;
use crate::pool::{Finished, Launched, PoolConfig};
use crate::problem::{Kind, Problem};
use crate::render::{self, Report, Run};
use crate::request::{Call, RunRequest, parse_effort};
use crate::request_id::RequestId;
use crate::service::Service;

/// Measures one object.
pub(super) fn run(args: RunArgs) -> Result<(), Failure> {
    let catalogue = catalogue::load(args.pool.kernels.as_deref()).map_err(|error| Failure::of(&error))?;
    let call = call(&args, &catalogue)?;
    let object = read_object(&args.object)?;
    // One job needs no second place to run.
    let config = PoolConfig { quick_cores: Vec::new(), ..PoolConfig::new(args.pool, 1)? };
    let machine = Machine::gather(config.cores.first().map_or(0, |core| core.0));
    let service = Service::new(catalogue.clone(), machine, None);
    let text = System::new().block_on(measure(&service, &config, &call, object, args.json))?;
    std::io::stdout().write_all(&text).map_err(|error| Failure::of(&error))
}

fn call<'k>(args: &RunArgs, catalogue: &'k Catalogue) -> Result<Call<'k>, Failure> {
    let mut parameters = Vec::new();
    for word in &args.parameters {
        let pair = word.split_once('=').filter(|(name, _)| !name.is_empty() && !name.starts_with('_'));
        let Some((name, value)) = pair else {
            return Err(Failure::Usage(format!("a parameter is written name=value, got `{word}`")));
        };
        parameters.push((Cow::Borrowed(name), Cow::Borrowed(value)));
    }
    let request = RunRequest {
        kernel: Cow::Borrowed(&args.kernel),
        symbol: args.symbol.as_deref().map(Cow::Borrowed),
        effort: parse_effort(&args.effort)
            .map_err(|_| Failure::Usage("--effort takes quick, standard or thorough".into()))?,
        counts: None,
        check: None,
        format: None,
        parameters,
    };
    request.resolve(catalogue).map_err(|problem| match problem.kind() {
        // Wrong words on the command line, as far as a terminal is concerned.
        Kind::BadParameter | Kind::UnknownKernel => Failure::Usage(problem.detail()),
        _ => Failure::Other(problem.to_string()),
    })
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

async fn measure(
    service: &Service,
    config: &PoolConfig,
    call: &Call<'_>,
    object: Bytes,
    json: bool,
) -> Result<Vec<u8>, Failure> {
    let launched = Launched::launch(config.clone()).map_err(|error| Failure::of(&error))?;
    service.open(launched);
    let finished = service.run(call, object.clone()).await.map_err(|error| Failure::of(&error))?;
    let Finished { core, queued, ran, exit, examined, end, .. } = finished;
    let measurement = call.measurement(end, &service.machine.isa).map_err(|problem| Failure::of(&problem))?;
    let id = RequestId::fresh();
    let report = Report {
        id: id.as_str(),
        machine: &service.machine,
        pool: service.facts(),
        call,
        object: &object,
        run: &Run { core, queued, ran, exit, examined },
        measurement: &measurement,
    };
    if !json {
        return Ok(render::table(&report).into_bytes());
    }
    let mut text = render::json(&report).map_err(|error| Failure::of(&error))?;
    text.push(b'\n');
    Ok(text)
}
