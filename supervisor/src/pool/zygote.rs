//! Starting a zygote, talking to it, and noticing when it is gone.
//!
//! Owns the zygote's process and control socket. The zygote is this program's own executable and trusted until it
//! forks, yet nothing it sends can panic: a report that makes no sense ends it, and the pool starts another.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags, SocketType,
};
use webrunner_protocol::control::{
    Ended, Isolation, Lane, Layer, WorkerProfile, ZygoteConfig, ZygoteReport, ZygoteRequest, ZygoteStatus,
};
use webrunner_protocol::ids::{CoreId, WorkerId};
use webrunner_protocol::limits::MAX_CONTROL_BYTES;
use webrunner_protocol::{PROTOCOL_VERSION, codec};

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
    /// The control socket could not be made.
    #[error("cannot make a control socket")]
    Socket(#[source] io::Error),
    /// The executable could not be started.
    #[error("cannot start {}", .path.display())]
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
    /// It ended, or said something unexpected, before it was ready.
    #[error("{} ended before it was ready ({detail}); is it webrunner's own executable, of the same version?", .path.display())]
    NotReady {
        /// The executable.
        path: PathBuf,
        /// What happened.
        detail: String,
    },
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
    child: Child,
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
        /// Its job socket.
        socket: OwnedFd,
        /// Its process.
        pidfd: OwnedFd,
        /// A worker that ended since the last report.
        ended: Option<Ended>,
    },
    /// Any other report.
    Report(ZygoteReport),
}

impl Zygote {
    /// Starts a zygote for `core` and waits until it is ready. Blocks.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn launch(settings: &ZygoteSettings, core: CoreId, lane: Lane) -> Result<Self, LaunchError> {
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
        });
        let packet = codec::encode(&config, MAX_CONTROL_BYTES)
            .map_err(|error| LaunchError::Socket(io::Error::other(error)))?;
        rustix::net::send(&ours, &packet, SendFlags::NOSIGNAL).map_err(socket)?;
        let path = settings.executable.clone();
        let mut child = Command::new(&path)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| LaunchError::Spawn { path: path.clone(), source })?;
        match await_ready(&ours) {
            Ok(status) => Self { child, control: ours, status }.checked(settings),
            Err(refusal) => {
                let _ = child.kill();
                let ended = child.wait();
                Err(refusal.unwrap_or_else(|| LaunchError::NotReady {
                    path,
                    detail: ended.map_or_else(|error| error.to_string(), |status| status.to_string()),
                }))
            }
        }
    }

    /// Itself, if its jobs are locked or need not be.
    fn checked(self, settings: &ZygoteSettings) -> Result<Self, LaunchError> {
        let in_force = |layer: &Layer| layer.name == SECCOMP && layer.missing.is_none();
        if self.status.layers.iter().any(in_force) {
            return Ok(self);
        }
        if settings.require != Isolation::Unlocked {
            return Err(LaunchError::Unlocked { path: settings.executable.clone() });
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

    /// Ends it, and waits for that.
    pub fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends a zygote that nobody holds any more.
impl Drop for Zygote {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits for the first report; `Err(None)` where the zygote ended or spoke nonsense.
fn await_ready(control: &OwnedFd) -> Result<ZygoteStatus, Option<LaunchError>> {
    let limit = Timespec { tv_sec: START_LIMIT.as_secs() as i64, tv_nsec: 0 };
    let mut polled = [PollFd::new(control, PollFlags::IN)];
    if !matches!(poll(&mut polled, Some(&limit)), Ok(1..)) {
        return Err(Some(LaunchError::Unable {
            reason: format!("the zygote was not ready in {START_LIMIT:?}"),
        }));
    }
    match receive_first(control) {
        Ok(Incoming::Report(ZygoteReport::Ready(status))) => Ok(status),
        Ok(Incoming::Report(ZygoteReport::Unable { reason })) => Err(Some(LaunchError::Unable { reason })),
        Ok(_) | Err(_) => Err(None),
    }
}

/// Asks for a worker.
///
/// # Errors
/// If the zygote is gone, or so far behind that its socket is full.
pub(super) fn request_fork(control: impl AsFd, worker: WorkerId, profile: WorkerProfile) -> io::Result<()> {
    let mut packet = [0; 32];
    let len = codec::encode_into(&ZygoteRequest::Fork { worker, profile }, &mut packet)
        .map_err(io::Error::other)?;
    rustix::net::send(control, &packet[..len], SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    Ok(())
}

/// Takes one report off the control socket.
///
/// # Errors
/// `WouldBlock` when there is none, `UnexpectedEof` when the zygote is gone, `InvalidData` for a report that makes no sense, else the kernel's error.
pub(super) fn receive(control: impl AsFd) -> io::Result<Incoming> {
    let mut bytes = [0; 256];
    receive_into(control, &mut bytes)
}

/// The same for the first report, which may be long.
fn receive_first(control: impl AsFd) -> io::Result<Incoming> {
    receive_into(control, &mut [0; MAX_CONTROL_BYTES])
}

fn receive_into(control: impl AsFd, bytes: &mut [u8]) -> io::Result<Incoming> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        control,
        &mut [IoSliceMut::new(bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    );
    let len = received?.bytes;
    if len == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // Descriptors nobody asked for are closed when this list goes.
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let report =
        codec::decode(&bytes[..len]).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let ZygoteReport::Forked { worker, ended } = report else { return Ok(Incoming::Report(report)) };
    let mut descriptors = descriptors.into_iter();
    match (descriptors.next(), descriptors.next()) {
        (Some(socket), Some(pidfd)) => Ok(Incoming::Forked { worker, socket, pidfd, ended }),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a worker came without its descriptors")),
    }
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
