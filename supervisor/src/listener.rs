//! Sockets to listen on: those that systemd hands over, else one of our own.
//!
//! One of our own is bound first, so that a start fails early where it cannot be, and listens only once there is
//! somebody to serve: until then whoever connects is refused, and not kept waiting.
//!
//! A Unix socket is made with its final permissions, so that there is no moment in which others may connect, and its
//! file is removed at the end. A file left by a service that was killed is replaced; one that is in use is not.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Mode, chmod, fchmod};
use rustix::net::sockopt::{set_socket_reuseaddr, socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, shutdown, socket_with};

use crate::config::ServeConfig;
use crate::settings::Listen;
use crate::systemd::{self, Inherited};

/// Connections the kernel completes ahead of us.
const BACKLOG: i32 = 1024;

/// What a socket unit calls the socket for operators (`FileDescriptorName=`); any other is for clients.
const OPERATORS: &str = "metrics";

/// A socket that listens, or is bound to.
#[derive(Debug)]
pub enum Listener {
    /// At an address of a network.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener),
}

/// Every socket of the service, and the file of its own Unix socket, if it has one.
#[derive(Debug)]
pub struct Listeners {
    /// Those for clients.
    pub sockets: Vec<Listener>,
    /// Those for operators, if they have their own.
    pub operators: Vec<Listener>,
    /// Whether those for clients are systemd's, so that others listen there after this service.
    outlive: bool,
    /// Removes the file when dropped.
    pub file: Option<SocketFile>,
}

/// Why there is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address or path cannot be listened on.
    #[error("cannot listen on {address}; choose another with {flag}")]
    Bind {
        /// The flag that chooses it.
        flag: &'static str,
        /// Address or path.
        address: Listen,
        /// Why.
        source: io::Error,
    },
    /// The sockets handed over cannot be had.
    #[error("cannot take the sockets of systemd (LISTEN_FDS)")]
    Inherit(#[source] io::Error),
    /// A socket handed over is none to listen on.
    #[error("the socket {name} of systemd is no listening stream socket; use ListenStream= and Accept=no")]
    Kind {
        /// Its name.
        name: String,
    },
}

/// Takes the sockets that systemd hands over, and makes those that are wanted beside.
///
/// # Errors
/// See [`ListenError`].
pub fn open(config: &ServeConfig) -> Result<Listeners, ListenError> {
    let mut listeners = Listeners { sockets: Vec::new(), operators: Vec::new(), outlive: true, file: None };
    for inherited in systemd::sockets().map_err(ListenError::Inherit)? {
        let sort =
            if inherited.name == OPERATORS { &mut listeners.operators } else { &mut listeners.sockets };
        sort.push(Listener::inherited(inherited)?);
    }
    if listeners.sockets.is_empty() {
        listeners.outlive = false;
        listeners.bind(&config.listen, config.socket_mode)?;
    }
    if let Some(address) = config.metrics_listen {
        let bound = bind_tcp(address).map_err(bind_error("--metrics-listen", &Listen::Tcp(address)))?;
        listeners.operators.push(Listener::Tcp(bound));
    }
    Ok(listeners)
}

impl Listeners {
    /// Takes the address that the settings give.
    fn bind(&mut self, address: &Listen, socket_mode: u32) -> Result<(), ListenError> {
        let failed = bind_error("--listen", address);
        match address {
            Listen::Tcp(address) => self.sockets.push(Listener::Tcp(bind_tcp(*address).map_err(failed)?)),
            Listen::Unix(path) => {
                let (socket, file) = bind_unix(path, socket_mode).map_err(failed)?;
                self.sockets.push(Listener::Unix(socket));
                self.file = Some(file);
            }
        }
        Ok(())
    }

    /// Listens at all that were made by [`open`] with this configuration; those of systemd have done so before.
    ///
    /// # Errors
    /// [`ListenError::Bind`] if another service has listened there meanwhile.
    pub fn listen(&self, config: &ServeConfig) -> Result<(), ListenError> {
        if self.file.as_ref().is_some_and(|file| !file.is_in_place()) {
            let taken = io::ErrorKind::AddrInUse.into();
            return Err(bind_error("--listen", &config.listen)(taken));
        }
        for socket in &self.sockets {
            listen_at(socket).map_err(bind_error("--listen", &config.listen))?;
        }
        if let (Some(socket), Some(address)) = (self.operators.last(), config.metrics_listen) {
            listen_at(socket).map_err(bind_error("--metrics-listen", &Listen::Tcp(address)))?;
        }
        Ok(())
    }

    /// The line of clients at the sockets that nobody takes over from this service.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn line(&self) -> io::Result<Line> {
        let own = if self.outlive { &[][..] } else { &self.sockets };
        own.iter().map(|socket| socket.as_fd().try_clone_to_owned()).collect::<io::Result<_>>().map(Line)
    }
}

/// Clients that are not accepted yet.
#[derive(Debug, Default)]
pub struct Line(Vec<OwnedFd>);

impl Line {
    /// Sends those who stand in it away, and refuses whoever comes.
    pub fn close(&self) {
        for socket in &self.0 {
            // One that listens no more is closed.
            let _ = shutdown(socket, Shutdown::Read);
        }
    }
}

fn listen_at(socket: impl AsFd) -> io::Result<()> {
    if !socket_acceptconn(&socket)? {
        rustix::net::listen(socket, BACKLOG)?;
    }
    Ok(())
}

fn bind_error(flag: &'static str, address: &Listen) -> impl FnOnce(io::Error) -> ListenError {
    let address = address.clone();
    move |source| ListenError::Bind { flag, address, source }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    // What lingers of an earlier service's connections does not keep the port from the next.
    set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    remove_dead(path)?;
    let mode = Mode::from_bits_truncate(mode);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux gives the file the socket's own permissions, less the umask; what that took is put back after.
    fchmod(&socket, mode)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let file = SocketFile::of(path)?;
    chmod(path, mode)?;
    Ok((socket.into(), file))
}

/// Removes a socket's file that nobody listens at any more. One in use is left for `bind` to stumble over.
fn remove_dead(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::other("a file that is no socket is there; move it away")),
        Err(_) => return Ok(()),
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Ok(()),
    }
}

impl Listener {
    fn inherited(inherited: Inherited) -> Result<Self, ListenError> {
        let Inherited { name, socket } = inherited;
        let listens =
            socket_acceptconn(&socket) == Ok(true) && socket_type(&socket) == Ok(SocketType::STREAM);
        match (listens, socket_domain(&socket)) {
            (true, Ok(AddressFamily::INET | AddressFamily::INET6)) => {
                let listener = TcpListener::from(socket);
                listener.set_nonblocking(true).map_err(ListenError::Inherit)?;
                Ok(Self::Tcp(listener))
            }
            (true, Ok(AddressFamily::UNIX)) => {
                let listener = UnixListener::from(socket);
                listener.set_nonblocking(true).map_err(ListenError::Inherit)?;
                Ok(Self::Unix(listener))
            }
            _ => Err(ListenError::Kind { name }),
        }
    }

    /// Where it listens, for people.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(socket) => {
                socket.local_addr().map_or_else(|_| "unknown".into(), |address| address.to_string())
            }
            Self::Unix(socket) => {
                let address = socket.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                Listen::Unix(path.unwrap_or(Path::new("")).to_owned()).to_string()
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// The file of a Unix socket; removed when dropped, unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }

    /// Whether it is still there, and no other in its place.
    fn is_in_place(&self) -> bool {
        identity(&self.path).is_ok_and(|now| now == self.identity)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_in_place() {
            // It is of no use to anybody; the next start removes it too.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device, number and time of birth, where the file system knows it.
type Identity = (u64, u64, Option<SystemTime>);

/// What tells a file from another one that took its name: a number alone may be given out again at once.
fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino(), found.created().ok()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_unix_socket_has_its_permissions_and_goes_with_its_service() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (listener, file) = bind_unix(&path, 0o640).unwrap();
        listen_at(&listener).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(bind_unix(&path, 0o640).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        // As after SIGKILL: nobody listens, the file is still there.
        let (_second, replacement) = bind_unix(&path, 0o600).unwrap();
        assert!(replacement.is_in_place() && !file.is_in_place());
        drop(file);
        assert!(path.exists());
        drop(replacement);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_is_not_removed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(bind_unix(file.path(), 0o600).is_err());
        assert!(file.path().exists());
    }
}
