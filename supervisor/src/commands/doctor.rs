//! `webrunner doctor`: examines this host, measures known functions if asked to, and ends with 0 only if all holds.

use std::sync::Arc;

use actix_web::rt::System;
use webrunner_kernels::Catalogue;
use webrunner_protocol::control::Isolation;

use super::{Failure, print};
use crate::cli::DoctorArgs;
use crate::cores;
use crate::doctor::acceptance::{self, Row};
use crate::doctor::{self, report::Report};
use crate::machine::Machine;
use crate::pool::{Launched, PoolConfig};
use crate::reload::Live;
use crate::service::Service;
use crate::settings::Settings;

/// Examines the host.
pub(super) fn doctor(args: &DoctorArgs, settings: &Settings) -> Result<(), Failure> {
    let served = PoolConfig::new(settings, 1)?;
    let mut config = PoolConfig { quick_cores: Vec::new(), ..served.clone() };
    // What is missing is to be reported, not to keep everything else from being looked at.
    config.zygote.require = Isolation::Best;
    let machine = Machine::gather(config.cores.first().map_or(0, |core| core.0));
    if args.measure {
        // As `serve` does, so that what measures is not measured.
        cores::leave_to_jobs(&config.cores).map_err(|error| Failure::of(&error))?;
    }
    let launched = Launched::launch(config.clone());
    let findings = doctor::examine(&machine, &served, &launched.as_ref().map(Launched::facts));
    known(&args.require, &findings)?;
    let failing = doctor::failing(&findings, &args.require).into_iter().map(str::to_owned).collect();
    let rows = match launched {
        Ok(launched) if args.measure => measure(machine, launched, args.runs)?,
        _ => Vec::new(),
    };
    let report = Report { findings, rows, failing };
    let text = if args.json { format!("{:#}\n", report.json()) } else { report.text() };
    print(text)?;
    if report.holds() { Ok(()) } else { Err(Failure::Other(report.conclusion())) }
}

fn measure(machine: Machine, launched: Launched, runs: u32) -> Result<Vec<Row>, Failure> {
    let catalogue = Catalogue::builtin().map_err(|error| Failure::of(&error))?;
    let service = Service::new(Arc::new(Live::fixed(catalogue.clone())), machine, None);
    Ok(System::new().block_on(async {
        service.open(launched);
        acceptance::measure(&service, &catalogue, runs).await
    }))
}

/// A name that is misspelt must not pass for one that holds.
fn known(required: &[String], findings: &[doctor::Finding]) -> Result<(), Failure> {
    let Some(unknown) = required.iter().find(|name| findings.iter().all(|finding| finding.name != **name))
    else {
        return Ok(());
    };
    let names: Vec<_> = findings.iter().map(|finding| finding.name.as_str()).collect();
    Err(Failure::Usage(format!("--require: there is no `{unknown}`; there are {}", names.join(", "))))
}
