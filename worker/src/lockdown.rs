//! Puts every layer of isolation that can be inherited in force, once, in the zygote.
//!
//! The attacker assumed is native code in a worker that does whatever its instructions can. The order matters and is
//! that of [`lock_down`]: descriptors and identity first, because later layers forbid changing them; what the filter
//! forbids (opening events, mapping memory, installing handlers) before the filter; the filter last. A layer that the
//! host does not offer is reported with its reason; the supervisor's configuration says whether that is good enough.
//!
//! [`Lock::Off`] leaves out what stands between a job and the kernel, and is for one purpose: a test that an attack
//! which the lock stops is a real one. [`Lock::Unfiltered`] leaves out the filter alone, so that a test can see what
//! the layers behind it stop. Nothing but the examples of the same names names them.

use std::ffi::CString;
use std::io;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid, geteuid};
use seccompiler::BpfProgram;
use webrunner_protocol::control::{Isolation, Lane, Layer, ZygoteConfig};
use webrunner_protocol::ids::CoreId;

use crate::policy;
use crate::sys::{boot, fd, keyed, memory, signal, stack};

/// Bytes of writable private memory a worker may have: its largest plan, image and stack, and the heap.
const DATA_LIMIT: u64 = 512 << 20;

/// Descriptors a process may have open: the events of a job that asks for as many as it may, and the zygote's own few.
const DESCRIPTORS: u64 = fd::LAST_PERF as u64 + 1 + 16;

/// Steps that a limit may forbid; said as part of a sentence.
const FORK_INIT: &str = "fork the first process of its namespace; allow its user more processes (ulimit -u, or TasksMax= in the unit)";
const RESERVE_MEMORY: &str =
    "reserve job memory; lift the limit on address space (ulimit -v, or LimitAS= in the unit)";

/// Name of the layer that workers are in their own process namespace.
const PID_NAMESPACE: &str = "pid_namespace";

/// First of the user numbers zygotes take when started as root: one a core, in a range no distribution assigns.
const FIRST_USER: u32 = 0x7e00_0000;

/// How much zygote and workers yield on the supervisor's core. From 10 up they starved (`docs/performance.md`).
const QUICK_LANE_NICENESS: i32 = 5;

/// The user number that a name space without that range still has.
const NOBODY: u32 = 65534;

/// Whether jobs are locked. A constant of the executable, never of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// They are.
    On,
    /// No filter, no Landlock and no limit but that on CPU time. What keeps an attack that works from harming the host it
    /// is tried on stays: another user without capabilities, in namespaces of its own.
    Off,
    /// Every layer but the filter, which with it are never asked.
    Unfiltered,
}

impl Lock {
    /// Holds the executable against what it was asked to be: each kind starts only where it was asked for by name.
    ///
    /// # Errors
    /// [`LockdownError::Unlocked`] or [`LockdownError::Locked`].
    pub fn check(self, asked: Isolation) -> Result<(), LockdownError> {
        match (self, asked) {
            (Self::On, Isolation::Full | Isolation::Best)
            | (Self::Off | Self::Unfiltered, Isolation::Unlocked) => Ok(()),
            (Self::Off | Self::Unfiltered, Isolation::Full | Isolation::Best) => Err(LockdownError::Unlocked),
            (Self::On, Isolation::Unlocked) => Err(LockdownError::Locked),
        }
    }

    /// Whether system calls are filtered.
    #[must_use]
    pub fn filters(self) -> bool {
        self == Self::On
    }

    /// Whether files, signals and resources are taken away, which only a hole in the filter would let a job ask for.
    #[must_use]
    pub fn has_second_line(self) -> bool {
        self != Self::Off
    }
}

/// Why the zygote could not be locked as configured.
#[derive(Debug, thiserror::Error)]
pub enum LockdownError {
    /// A step that must not fail did.
    #[error("cannot {step}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The core cannot be used.
    #[error("cannot run on core {core}: is it there, and allowed to this process?")]
    Core {
        /// The core.
        core: CoreId,
        /// Why not.
        source: io::Error,
    },
    /// A worker for tests was taken for a real one.
    #[error("this worker has no lock and is for tests alone; start webrunner with its own webrunner-worker")]
    Unlocked,
    /// A real worker was asked to do without its lock.
    #[error(
        "this worker always locks itself; only those built for tests start with --require-isolation unlocked"
    )]
    Locked,
    /// The filter could not be compiled.
    #[error(transparent)]
    Policy(#[from] policy::PolicyError),
    /// A layer is required and missing.
    #[error("isolation layer {name} is required and not in force: {reason}")]
    Missing {
        /// The layer.
        name: String,
        /// Why it is missing.
        reason: String,
    },
}

fn step<T, E: Into<io::Error>>(step: &'static str, result: Result<T, E>) -> Result<T, LockdownError> {
    result.map_err(|error| LockdownError::Step { step, source: error.into() })
}

/// A zygote that is locked but for its filter.
#[derive(Debug)]
pub struct Locked {
    /// Every layer, in force or not.
    pub layers: Vec<Layer>,
    /// The first process of its pid namespace, if it has one: without that it can fork no worker.
    pub init: Option<i32>,
}

/// Everything but the core, which is [`pin`]ned first, and the filter. Events are to be probed after this and before
/// [`install_filter`].
///
/// # Errors
/// See [`LockdownError`].
pub fn lock_down(config: &ZygoteConfig, lock: Lock) -> Result<Locked, LockdownError> {
    step("place descriptors", boot::place_descriptors())?;
    let mut layers = Vec::new();
    if config.lane == Lane::Quick {
        step("yield to the supervisor", boot::be_nice(QUICK_LANE_NICENESS))?;
    }
    // Namespaces before the user: as root they need the rights that changing the user gives up.
    layers.extend(enter_namespaces());
    layers.push(leave_root(config.core));
    step("give up capabilities", boot::drop_capabilities())?;
    // After the last change of user or capabilities, with which the kernel forgets it.
    step("die with the supervisor", nix::sys::prctl::set_pdeathsig(Signal::SIGKILL))?;
    layers.push(limit_resources(lock)?);
    step("forbid new privileges", nix::sys::prctl::set_no_new_privs())?;
    layers.push(Layer { name: "no_new_privs".into(), missing: None });
    layers.push(landlock_layer(lock));
    step("forbid dumps", nix::sys::prctl::set_dumpable(false))?;
    layers.push(Layer { name: "not_dumpable".into(), missing: None });
    layers.push(built("seccomp", lock.filters()));
    // Before anything is forked or reserved for what is not to be.
    require(config.require, &layers)?;
    let init = start_init(&layers)?;
    step(RESERVE_MEMORY, memory::reserve())?;
    step("make a stack for workers", stack::ensure())?;
    step("install signal handlers", signal::install())?;
    step("make the keys", keyed::create())?;
    Ok(Locked { layers, init })
}

/// Compiles the filter, its keys still placeholders.
///
/// # Errors
/// [`LockdownError::Policy`].
pub fn compile_filter() -> Result<BpfProgram, LockdownError> {
    Ok(policy::compile(&policy::rules(&memory::arenas(), stack::top()))?)
}

/// Installs the filter: from here on this process and its children make only the calls of [`policy`].
///
/// # Errors
/// See [`LockdownError`].
pub fn install_filter(mut program: BpfProgram) -> Result<(), LockdownError> {
    let installed = keyed::seal(&mut program, |program| {
        seccompiler::apply_filter(program).map_err(|error| match error {
            seccompiler::Error::Prctl(source) | seccompiler::Error::Seccomp(source) => source,
            other => io::Error::other(other.to_string()),
        })
    });
    step("install the seccomp filter", installed)
}

fn require(required: Isolation, layers: &[Layer]) -> Result<(), LockdownError> {
    match required {
        Isolation::Best | Isolation::Unlocked => return Ok(()),
        Isolation::Full => {}
    }
    match layers.iter().find_map(|layer| layer.missing.as_ref().map(|reason| (&layer.name, reason))) {
        None => Ok(()),
        Some((name, reason)) => Err(LockdownError::Missing { name: name.clone(), reason: reason.clone() }),
    }
}

/// Stays on one core, for good; workers inherit it.
///
/// # Errors
/// [`LockdownError::Core`].
pub fn pin(core: CoreId) -> Result<(), LockdownError> {
    let mut set = CpuSet::new();
    set.set(core.0 as usize)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|errno| LockdownError::Core { core, source: errno.into() })
}

/// Leaves the host's process, IPC and network namespaces, through a user namespace where that is needed.
fn enter_namespaces() -> Vec<Layer> {
    let inner = [
        ("ipc_namespace", CloneFlags::CLONE_NEWIPC),
        ("net_namespace", CloneFlags::CLONE_NEWNET),
        (PID_NAMESPACE, CloneFlags::CLONE_NEWPID),
    ];
    let mut layers = Vec::new();
    if !geteuid().is_root() {
        let user = unshare(CloneFlags::CLONE_NEWUSER);
        layers.push(layer("user_namespace", user.map_err(namespace_reason)));
    }
    layers.extend(inner.map(|(name, flag)| layer(name, unshare(flag).map_err(namespace_reason))));
    layers
}

/// Forks the first process of the pid namespace, if there is one. It must outlive the rest, so it is one that only waits.
/// Without it there is no going on: the first worker would take its place, and end all others with its own end.
///
/// It is to die with the zygote, which takes that the zygote may signal it: the same user, the same Landlock domain.
fn start_init(layers: &[Layer]) -> Result<Option<i32>, LockdownError> {
    if !layers.iter().any(|layer| layer.name == PID_NAMESPACE && layer.missing.is_none()) {
        return Ok(None);
    }
    step(FORK_INIT, boot::start_init()).map(Some)
}

fn namespace_reason(errno: nix::errno::Errno) -> String {
    match errno {
        nix::errno::Errno::EPERM => {
            "not permitted; allow unprivileged user namespaces or start as root".into()
        }
        other => format!("unshare failed: {}", other.desc()),
    }
}

fn layer(name: &str, result: Result<(), String>) -> Layer {
    Layer { name: name.into(), missing: result.err() }
}

/// A layer that only a worker for tests does without.
fn built(name: &str, with: bool) -> Layer {
    let without = || "this worker was built without it, for tests".to_owned();
    Layer { name: name.into(), missing: (!with).then(without) }
}

/// Root becomes a user of the zygote's own; anybody else stays who they are.
fn leave_root(core: CoreId) -> Layer {
    let own = FIRST_USER + core.0;
    let result = if geteuid().is_root() {
        boot::become_user(Uid::from_raw(own))
            .or_else(|_| boot::become_user(Uid::from_raw(NOBODY)))
            .map_err(|error| format!("cannot change user: {error}"))
    } else {
        Ok(())
    };
    layer("unprivileged_user", result)
}

fn limit_resources(lock: Lock) -> Result<Layer, LockdownError> {
    let layer = built("rlimits", lock.has_second_line());
    if !lock.has_second_line() {
        return Ok(layer);
    }
    let limits = [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_NOFILE, DESCRIPTORS),
        (Resource::RLIMIT_MEMLOCK, 0),
        (Resource::RLIMIT_MSGQUEUE, 0),
        (Resource::RLIMIT_DATA, DATA_LIMIT),
    ];
    for (resource, value) in limits {
        // Whoever started the service may have set a lower one, which nobody may raise.
        let (_, hard) = step("limit resources", getrlimit(resource))?;
        let value = value.min(hard);
        step("limit resources", setrlimit(resource, value, value))?;
    }
    Ok(layer)
}

/// Denies all file system and network access and signals to the outside, as far as this kernel's Landlock goes.
fn landlock_layer(lock: Lock) -> Layer {
    if !lock.has_second_line() {
        return built("landlock", false);
    }
    let restricted = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI::V5)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    let missing = match restricted {
        Ok(status) => match status.ruleset {
            RulesetStatus::FullyEnforced => None,
            RulesetStatus::PartiallyEnforced => Some("this kernel enforces only a part of it".to_owned()),
            RulesetStatus::NotEnforced => {
                Some("this kernel has no Landlock, or it is switched off".to_owned())
            }
        },
        Err(error) => Some(format!("cannot restrict: {error}")),
    };
    Layer { name: "landlock".into(), missing }
}

/// Shows the process under a name that says what it is.
pub fn set_name(core: CoreId) {
    if let Ok(name) = CString::new(format!("wr-zygote/{core}")) {
        let _ = nix::sys::prctl::set_name(&name);
    }
}
