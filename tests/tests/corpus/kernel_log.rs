//! What the kernel says meanwhile: an attack over which the kernel itself stumbles was not contained.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

/// Words with which the kernel begins to speak of a fault of its own. What it says of a process that it ended is none.
const ALARMS: [&str; 7] =
    ["BUG:", "Oops", "WARNING: CPU", "Kernel panic", "soft lockup", "blocked for more than", "refcount_t:"];

/// Longest record.
const RECORD_BYTES: usize = 8 << 10;

/// The kernel's log from a moment on.
pub(crate) struct KernelLog(Option<File>);

impl KernelLog {
    /// The log from now on. Who may not read it is told so, and learns of no alarm.
    pub(crate) fn follow() -> Self {
        let opened = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open("/dev/kmsg");
        let followed = opened.and_then(|mut log| log.seek(SeekFrom::End(0)).map(|_| log));
        if let Err(error) = &followed {
            eprintln!("skipped: what the kernel says of its own faults is not looked at ({error})");
        }
        Self(followed.ok())
    }

    /// Alarms since then.
    pub(crate) fn alarms(mut self) -> Vec<String> {
        let Some(log) = &mut self.0 else { return Vec::new() };
        let (mut record, mut alarms) = ([0; RECORD_BYTES], Vec::new());
        loop {
            match log.read(&mut record) {
                Ok(0) => break,
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]);
                    alarms.extend(ALARMS.iter().any(|words| text.contains(words)).then(|| text.into_owned()));
                }
                // Older records were overwritten meanwhile.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(_) => break,
            }
        }
        alarms
    }
}
