//! Starting a zygote, talking to it, and noticing when it is gone.
//!
//! Owns the zygote's process and control socket. The zygote is `webrunner-worker`, the executable that comes with this
//! one, and trusted until it forks, yet nothing it sends can panic: a report that makes no sense ends it, and the pool
//! starts another.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::iter;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, SocketFlags,
    SocketType,
};
use webrunner_protocol::control::{
    Ends, Isolation, Lane, Layer, WorkerProfile, ZygoteConfig, ZygoteReport, ZygoteRequest, ZygoteStatus,
};
use webrunner_protocol::ids::{CoreId, WorkerId};
use webrunner_protocol::limits::{MAX_CONTROL_BYTES, MAX_FORK_BYTES, MAX_REPORT_BYTES, SOCKETS_PER_PACKET};
use webrunner_protocol::{PROTOCOL_VERSION, codec};

use crate::events::host::HostEvents;

/// Name of the zygote's executable.
const EXECUTABLE: &str = "webrunner-worker";

/// The layer without which no job runs.
const SECCOMP: &str = "seccomp";

/// A zygote measures its clock and probes events when it starts; on a busy machine that may take a while.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What every zygote of a pool is started with.
#[derive(Debug, Clone)]
pub struct ZygoteSettings {
    /// The executable.
    pub executable: PathBuf,
    /// Whether a missing layer of isolation stops the start.
    pub require: Isolation,
    /// CPU seconds a worker may use.
    pub cpu_seconds: u32,
    /// Hardware events, by core.
    pub events: Arc<HostEvents>,
}

/// Why a zygote could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The executable is nowhere it should be.
    #[error("cannot find {EXECUTABLE}; looked at {}; build it (cargo build --release) or install it there",
            list(.looked))]
    NoExecutable {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// There is no thread to start it from.
    #[error(
        "cannot start the thread that starts zygotes; allow this user more processes (ulimit -u, or TasksMax= in the unit)"
    )]
    Thread(#[source] io::Error),
    /// The control socket could not be made.
    #[error("cannot make a control socket")]
    Socket(#[source] io::Error),
    /// The executable could not be started.
    #[error("cannot start {}{}", .path.display(), advice(.source))]
    Spawn {
        /// The executable.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It refused its configuration.
    #[error("{reason}")]
    Unable {
        /// What it said.
        reason: String,
    },
    /// It says that nothing stands between a job and the kernel.
    #[error("{} has no seccomp filter in force; jobs are not run without one", .path.display())]
    Unlocked {
        /// The executable.
        path: PathBuf,
    },
    /// It says nothing.
    #[error(
        "{} was not ready within {} s; name webrunner's own webrunner-worker with --worker, or where that is it, start again \
         when this machine is less busy",
        .path.display(), START_LIMIT.as_secs()
    )]
    Silent {
        /// The executable.
        path: PathBuf,
    },
    /// It ended, or said something unexpected, before it was ready.
    #[error("{} ended before it was ready ({detail}); is it webrunner's own executable, of the same version?", .path.display())]
    NotReady {
        /// The executable.
        path: PathBuf,
        /// What happened.
        detail: String,
    },
}

/// What to do about an executable that could not be started, where the reason does not say.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::WouldBlock => "; allow this user more processes (ulimit -u, or TasksMax= in the unit)",
        _ => "",
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Finds the zygote's executable: beside this one, or where a package puts it.
///
/// # Errors
/// [`LaunchError::NoExecutable`] with the places looked at.
pub fn find_executable() -> Result<PathBuf, LaunchError> {
    let own = std::env::current_exe().unwrap_or_default();
    let folder = own.parent().unwrap_or(Path::new("."));
    let looked = [folder.join(EXECUTABLE), folder.join("../lib/webrunner").join(EXECUTABLE)];
    match looked.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(LaunchError::NoExecutable { looked: looked.to_vec() }),
    }
}

/// A zygote that is ready to fork.
#[derive(Debug)]
pub struct Zygote {
    _process: Process,
    control: OwnedFd,
    status: ZygoteStatus,
}

/// What a zygote sent.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A worker waits for a job.
    Forked {
        /// Its number.
        worker: WorkerId,
        /// Its job socket; an error if this process had no room for it.
        socket: io::Result<OwnedFd>,
        /// Workers that ended since the last report.
        ended: Ends,
    },
    /// Any other report.
    Report(ZygoteReport),
}

impl Zygote {
    /// Starts a zygote for `core`. It dies with the thread that calls this: see [`Launcher`](super::launcher::Launcher).
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub(super) fn start(
        settings: &ZygoteSettings,
        core: CoreId,
        lane: Lane,
    ) -> Result<Starting, LaunchError> {
        let socket = |error: rustix::io::Errno| LaunchError::Socket(error.into());
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(socket)?;
        let config = ZygoteRequest::Configure(ZygoteConfig {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            core,
            lane,
            require: settings.require,
            cpu_seconds: settings.cpu_seconds,
            events: settings.events.usual(core).and_then(|usual| usual.set.clone()),
        });
        let packet = codec::encode(&config, MAX_CONTROL_BYTES)
            .map_err(|error| LaunchError::Socket(io::Error::other(error)))?;
        rustix::net::send(&ours, &packet, SendFlags::NOSIGNAL).map_err(socket)?;
        let path = settings.executable.clone();
        let child = Command::new(&path)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| LaunchError::Spawn { path: path.clone(), source })?;
        Ok(Starting { process: Process(child), control: ours, path, require: settings.require })
    }

    /// Itself, if its jobs are locked or need not be.
    fn checked(self, require: Isolation, path: PathBuf) -> Result<Self, LaunchError> {
        let in_force = |layer: &Layer| layer.name == SECCOMP && layer.missing.is_none();
        if self.status.layers.iter().any(in_force) {
            return Ok(self);
        }
        if require != Isolation::Unlocked {
            return Err(LaunchError::Unlocked { path });
        }
        tracing::error!(
            "jobs are NOT LOCKED: whoever can post one can do all that its user can; for tests only"
        );
        Ok(self)
    }

    /// What it found and put in force.
    #[must_use]
    pub fn status(&self) -> &ZygoteStatus {
        &self.status
    }

    /// Its control socket, to wait on.
    ///
    /// # Errors
    /// If no further descriptor can be had.
    pub fn control(&self) -> io::Result<OwnedFd> {
        self.control.try_clone()
    }
}

/// A zygote that is not ready yet.
#[derive(Debug)]
pub(super) struct Starting {
    process: Process,
    control: OwnedFd,
    path: PathBuf,
    require: Isolation,
}

impl Starting {
    /// Waits until it is ready. Blocks.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub(super) fn ready(self) -> Result<Zygote, LaunchError> {
        self.ready_within(START_LIMIT)
    }

    fn ready_within(self, limit: Duration) -> Result<Zygote, LaunchError> {
        let Self { mut process, control, path, require } = self;
        match await_ready(&control, &path, limit) {
            Ok(status) => Zygote { _process: process, control, status }.checked(require, path),
            Err(refusal) => {
                let ended = process.end();
                Err(refusal.unwrap_or_else(|| LaunchError::NotReady {
                    path,
                    detail: ended.map_or_else(|error| error.to_string(), |status| status.to_string()),
                }))
            }
        }
    }
}

/// A zygote's process, which ends when nobody holds it any more. That takes as long as the kernel takes to reap it.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn end(&mut self) -> io::Result<ExitStatus> {
        // It may have ended already, which is as good.
        let _ = self.0.kill();
        self.0.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Waits for the first report; `Err(None)` where the zygote ended or spoke nonsense.
fn await_ready(control: &OwnedFd, path: &Path, limit: Duration) -> Result<ZygoteStatus, Option<LaunchError>> {
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: 0 };
    let mut polled = [PollFd::new(control, PollFlags::IN)];
    if !matches!(poll(&mut polled, Some(&limit)), Ok(1..)) {
        return Err(Some(LaunchError::Silent { path: path.to_owned() }));
    }
    match receive_first(control) {
        Ok(Incoming::Report(ZygoteReport::Ready(status))) => Ok(status),
        Ok(Incoming::Report(ZygoteReport::Unable { reason })) => Err(Some(LaunchError::Unable { reason })),
        Ok(_) | Err(_) => Err(None),
    }
}

/// Asks for a worker, and for the end of another.
///
/// # Errors
/// If the zygote is gone, or so far behind that its socket is full.
pub(super) fn request_fork(
    control: impl AsFd,
    worker: WorkerId,
    profile: WorkerProfile,
    end: Option<WorkerId>,
) -> io::Result<()> {
    request(control, &ZygoteRequest::Fork { worker, profile, end })
}

/// Asks for the end of a worker.
///
/// # Errors
/// As [`request_fork`].
pub(super) fn request_end(control: impl AsFd, worker: WorkerId) -> io::Result<()> {
    request(control, &ZygoteRequest::End { worker })
}

/// Asks for a sign of life.
///
/// # Errors
/// As [`request_fork`].
pub(super) fn ask(control: impl AsFd) -> io::Result<()> {
    request(control, &ZygoteRequest::Ping)
}

fn request(control: impl AsFd, request: &ZygoteRequest) -> io::Result<()> {
    let mut packet = [0; MAX_FORK_BYTES];
    let len = codec::encode_into(request, &mut packet).map_err(io::Error::other)?;
    rustix::net::send(control, &packet[..len], SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// Job sockets that a zygote sent, in order; those of workers that are still to come. An error stands for one that this
/// process had no room for.
#[derive(Debug, Default)]
pub(super) struct JobSockets(VecDeque<io::Result<OwnedFd>>);

impl JobSockets {
    /// Adds those of one packet, which comes when the last of the one before are used. The kernel leaves out what does
    /// not fit.
    fn add(&mut self, came: impl Iterator<Item = OwnedFd>) -> io::Result<()> {
        if !self.0.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "job sockets came before their time"));
        }
        let lost = || Err(rustix::io::Errno::MFILE.into());
        self.0.extend(came.map(Ok).chain(iter::repeat_with(lost)).take(SOCKETS_PER_PACKET));
        Ok(())
    }

    /// That of the next worker.
    fn next(&mut self) -> io::Result<OwnedFd> {
        let none = || Err(io::Error::new(io::ErrorKind::InvalidData, "a worker came without a job socket"));
        self.0.pop_front().unwrap_or_else(none)
    }
}

/// Takes one report off the control socket.
///
/// # Errors
/// `WouldBlock` when there is none, `UnexpectedEof` when the zygote is gone, `InvalidData` for a report that makes no
/// sense, else the kernel's error.
pub(super) fn receive(control: impl AsFd, sockets: &mut JobSockets) -> io::Result<Incoming> {
    receive_into(control, sockets, &mut [0; MAX_REPORT_BYTES])
}

/// The same for the first report, which may be long and comes before any worker.
fn receive_first(control: impl AsFd) -> io::Result<Incoming> {
    receive_into(control, &mut JobSockets::default(), &mut [0; MAX_CONTROL_BYTES])
}

fn receive_into(control: impl AsFd, sockets: &mut JobSockets, bytes: &mut [u8]) -> io::Result<Incoming> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_PER_PACKET))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        control,
        &mut [IoSliceMut::new(bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut came = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let came = came.next();
    // Where none at all fits, the kernel only says so.
    if came.is_some() || received.flags.contains(ReturnFlags::CTRUNC) {
        sockets.add(came.into_iter().flatten())?;
    }
    let report = codec::decode(&bytes[..received.bytes])
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let ZygoteReport::Forked { worker, ended } = report else { return Ok(Incoming::Report(report)) };
    Ok(Incoming::Forked { worker, socket: sockets.next(), ended })
}

/// Fills a buffer from the kernel's random numbers.
///
/// # Errors
/// If there is no source of them.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::NOSYS) => {
                io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
                filled = N;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_that_says_nothing_is_named() {
        let path = PathBuf::from("/bin/cat");
        let settings = ZygoteSettings {
            executable: path.clone(),
            require: Isolation::Best,
            cpu_seconds: 1,
            events: Arc::default(),
        };
        let starting = Zygote::start(&settings, CoreId(0), Lane::Measuring).unwrap();
        let error = starting.ready_within(Duration::ZERO).unwrap_err().to_string();
        assert!(error.starts_with("/bin/cat was not ready") && error.contains("--worker"), "{error}");
    }
}
