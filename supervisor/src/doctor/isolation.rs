//! Isolation: which layers a zygote could put in force on this host, and the settings that decide about them.
//!
//! The layers are not guessed from settings: a zygote was started as for a service, and these are what it reported.

use std::fs::{self, OpenOptions};
use std::path::Path;

use landlock::{ABI, Access, AccessFs, LandlockStatus, Ruleset, RulesetAttr};
use webrunner_protocol::control::Layer;

use super::{Finding, Remedy, elsewhere, here};
use crate::machine::Machine;
use crate::machine::host::line;
use crate::pool::{Facts, LaunchError};

/// Kernel that has the calls a zygote needs (`close_range`).
const LEAST_KERNEL: (u32, u32) = (5, 9);

/// Kernel whose Landlock covers files, ports, signals and abstract sockets.
const WHOLE_LANDLOCK_KERNEL: (u32, u32) = (6, 12);

pub(super) fn examine(machine: &Machine, pool: &Result<&Facts, &LaunchError>) -> Vec<Finding> {
    let mut findings = vec![kernel(machine.fact("kernel").as_str())];
    match pool {
        Ok(facts) => {
            findings.push(Finding::ok("worker", "a zygote started, locked itself and can fork workers"));
            findings.extend(facts.layers.iter().map(layer));
        }
        Err(error) => findings.push(Finding::missing(
            "worker",
            format!("no zygote could be started: {}", crate::commands::chain(*error)),
            here("do what the reason says; the lines about layers follow once a zygote starts"),
        )),
    }
    findings.extend([landlock_abi(), user_namespaces(), control_group()]);
    findings
}

fn kernel(release: Option<&str>) -> Finding {
    const NAME: &str = "kernel";
    let Some((release, version)) = release.and_then(|text| Some((text, version(text)?))) else {
        return Finding::degraded(NAME, "its version cannot be read", here("mount /proc"));
    };
    if version < LEAST_KERNEL {
        Finding::missing(NAME, format!("{release} is older than 5.9"), here("boot Linux 6.12 or later"))
    } else if version < WHOLE_LANDLOCK_KERNEL {
        let reason = format!("{release}: Landlock is whole from 6.12 on");
        Finding::degraded(NAME, reason, here("boot Linux 6.12 or later"))
    } else {
        Finding::ok(NAME, release)
    }
}

/// Major and minor version of a release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn layer(layer: &Layer) -> Finding {
    match &layer.missing {
        None => Finding::ok(&layer.name, "in force"),
        Some(reason) => Finding::missing(&layer.name, reason.clone(), layer_remedy(&layer.name)),
    }
}

fn layer_remedy(name: &str) -> Remedy {
    match name {
        "user_namespace" | "ipc_namespace" | "net_namespace" | "pid_namespace" => {
            here("allow user namespaces (see user_namespaces), or start as root")
        }
        "landlock" => here("boot Linux 6.12 or later with landlock in the list of `lsm=`"),
        "unprivileged_user" => {
            here("start as an ordinary user, or give the container CAP_SETUID and CAP_SETGID")
        }
        _ => here("this layer needs no setting; if the reason does not help, it is worth a bug report"),
    }
}

/// The number of what Landlock can do, which its layer does not tell.
fn landlock_abi() -> Finding {
    const NAME: &str = "landlock_abi";
    let off = || here("boot Linux 6.12 or later with landlock in the list of `lsm=`");
    // Only a thread that restricts itself is told; this one does nothing else and ends.
    let asked = std::thread::spawn(|| {
        Ruleset::default().handle_access(AccessFs::from_all(ABI::V1))?.create()?.restrict_self()
    });
    match asked.join() {
        Ok(Ok(status)) => match status.landlock {
            LandlockStatus::Available { effective_abi, kernel_abi } => {
                let abi = kernel_abi.unwrap_or(effective_abi as i32);
                let reason = format!("the kernel has ABI {abi}, workers use 6");
                if abi >= 6 { Finding::ok(NAME, reason) } else { Finding::degraded(NAME, reason, off()) }
            }
            LandlockStatus::NotEnabled => Finding::missing(NAME, "Landlock is switched off", off()),
            LandlockStatus::NotImplemented => Finding::missing(NAME, "the kernel has no Landlock", off()),
        },
        Ok(Err(error)) => Finding::missing(NAME, error.to_string(), off()),
        Err(_) => Finding::missing(NAME, "asking for it failed", off()),
    }
}

/// Settings that forbid user namespaces to ordinary users, each with the value that allows them.
const USER_NAMESPACE_SETTINGS: [(&str, &str, &str); 3] = [
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with `userns,`",
    ),
];

fn user_namespaces() -> Finding {
    const NAME: &str = "user_namespaces";
    if !Path::new("/proc/self/ns/user").exists() {
        return Finding::missing(
            NAME,
            "the kernel has none",
            elsewhere("a kernel with CONFIG_USER_NS, or root"),
        );
    }
    for (file, forbidding, remedy) in USER_NAMESPACE_SETTINGS {
        if line(file).is_ok_and(|value| value == forbidding) {
            let reason = format!("{file} is {forbidding}, which forbids them to ordinary users");
            return Finding::degraded(NAME, reason, here(remedy));
        }
    }
    Finding::ok(NAME, "no setting forbids them to ordinary users")
}

/// Memory of all workers together has no limit but a control group's.
fn control_group() -> Finding {
    const NAME: &str = "cgroup";
    let remedy = |text: &str| elsewhere(format!("{text}; each worker is limited to 512 MiB without it"));
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Finding::missing(
            NAME,
            "no control groups of version 2",
            remedy("boot with systemd 247 or later"),
        );
    }
    let Some(own) = own_group() else {
        return Finding::missing(
            NAME,
            "this process's control group cannot be read",
            remedy("mount /sys/fs/cgroup"),
        );
    };
    let folder = format!("/sys/fs/cgroup{own}");
    // Opening for writing asks for the right and writes nothing.
    let delegated = OpenOptions::new().write(true).open(format!("{folder}/cgroup.procs")).is_ok();
    let delegation = if delegated { "delegated" } else { "not delegated" };
    match line(format!("{folder}/memory.max")) {
        Ok(limit) if limit != "max" => {
            Finding::ok(NAME, format!("{own} is {delegation}, memory.max is {limit}"))
        }
        _ => {
            let reason =
                format!("{own} is {delegation} and has no memory.max: nothing bounds all workers together");
            Finding::degraded(NAME, reason, remedy("serve from a unit with MemoryMax="))
        }
    }
}

/// This process's group of version 2, as a path below the mount.
fn own_group() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn kernels_are_judged_by_their_version() {
        for (release, state) in [
            ("6.18.44", State::Ok),
            ("6.12.0-1-amd64", State::Ok),
            ("6.8.0-31-generic", State::Degraded),
            ("5.4.0", State::Missing),
            ("unheard of", State::Degraded),
        ] {
            assert_eq!(kernel(Some(release)).state, state, "{release}");
        }
        assert_eq!(kernel(None).state, State::Degraded);
    }

    #[test]
    fn a_missing_layer_keeps_its_reason_and_has_a_remedy() {
        let finding = layer(&Layer { name: "landlock".into(), missing: Some("switched off".into()) });
        assert_eq!((finding.state, finding.reason.as_str()), (State::Missing, "switched off"));
        assert!(finding.can_be_mended_here());
        assert_eq!(layer(&Layer { name: "seccomp".into(), missing: None }).remedy, None);
    }
}
