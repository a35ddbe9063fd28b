//! The lock as data: every system call that is allowed after it, with the arguments that are allowed and why.
//!
//! One filter serves the zygote and, inherited, all its workers. Calls without a key are what code under test can make;
//! calls with one need the secret in their sixth argument (see [`keyed`](crate::sys::keyed)). Anything else raises
//! SIGSYS, which a handler reports; a call through another architecture's gate kills the process.
//!
//! Arguments that the kernel takes as 32 bits (descriptors, commands, most flags) are compared as 32; the rest as 64.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use webrunner_protocol::frame::ReplyHeader;
use webrunner_protocol::limits::MAX_REPLY_BYTES;

use crate::sys::keyed::{FORK_FLAGS, Key};
use crate::sys::memory::Arena;
use crate::sys::{fd, perf};

/// What one argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// 32-bit argument `.0` equals `.1`.
    Is(u8, u32),
    /// 32-bit argument `.0` lies between `.1` and `.2`, both included.
    Between(u8, u32, u32),
    /// 64-bit argument `.0` equals `.1`.
    IsLong(u8, u64),
    /// 64-bit argument `.0` is at most `.1`.
    AtMost(u8, u64),
    /// 64-bit argument `.0` is at least `.1`.
    AtLeast(u8, u64),
}

/// One way a system call is allowed.
#[derive(Debug, Clone)]
pub struct Rule {
    /// System call number.
    pub call: i64,
    /// The key it must carry; `None` for what code under test may do.
    pub key: Option<Key>,
    /// What its arguments must be, all of them.
    pub tests: Vec<Test>,
    /// Why it is allowed.
    pub reason: &'static str,
}

/// Argument in which a keyed call carries its key.
const KEY_ARGUMENT: u8 = 5;

/// Every rule, for job memory in `arenas` and workers that begin on the stack below `worker_stack`.
#[must_use]
pub fn rules(arenas: &[Arena], worker_stack: usize) -> Vec<Rule> {
    let mut rules = open_rules();
    rules.extend(setup_rules(worker_stack));
    for arena in arenas {
        for protection in
            [libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ, libc::PROT_READ | libc::PROT_EXEC]
        {
            rules.push(Rule {
                call: libc::SYS_mprotect,
                key: Some(Key::Load),
                tests: vec![
                    Test::AtLeast(0, arena.range.start as u64),
                    Test::AtMost(0, arena.range.end as u64 - 1),
                    Test::AtMost(1, arena.longest as u64),
                    Test::IsLong(2, protection as u64),
                ],
                reason: "open a part of the job's memory, or take write access from it; never both W and X",
            });
        }
    }
    rules
}

fn open_rules() -> Vec<Rule> {
    let open = |call, tests, reason| Rule { call, key: None, tests, reason };
    // In a worker these numbers are events or nothing; 98 are enough for every pass of every event a job may ask for.
    let counters = Test::Between(0, fd::FIRST_PERF as u32, fd::LAST_PERF as u32);
    let longest_write = (ReplyHeader::BYTES + MAX_REPLY_BYTES) as u64;
    vec![
        open(
            libc::SYS_read,
            vec![Test::Is(0, fd::JOB as u32)],
            "read the job, and the challenge if there is one",
        ),
        open(
            libc::SYS_read,
            vec![counters, Test::AtMost(2, perf::LONGEST_READING as u64)],
            "read the worker's own event counters, one group at a time",
        ),
        open(
            libc::SYS_ioctl,
            vec![counters, Test::Is(1, perf::ENABLE), Test::IsLong(2, 0)],
            "put one of the worker's own groups of counters on the hardware: only one pass fits at a time",
        ),
        open(
            libc::SYS_ioctl,
            vec![counters, Test::Is(1, perf::DISABLE), Test::IsLong(2, 0)],
            "take it off again for the next pass",
        ),
        open(
            libc::SYS_write,
            vec![Test::Is(0, fd::JOB as u32), Test::AtMost(2, longest_write)],
            "write the reply, or outputs, no more at a time than a reply may be long",
        ),
        open(
            libc::SYS_shutdown,
            vec![Test::Is(0, fd::JOB as u32), Test::Is(1, libc::SHUT_WR as u32)],
            "say that the reply is whole, before the kernel takes the process apart",
        ),
        open(
            libc::SYS_clock_gettime,
            vec![Test::Is(0, libc::CLOCK_THREAD_CPUTIME_ID as u32)],
            "learn how much of the time that passed the worker's own code ran",
        ),
        open(libc::SYS_exit_group, vec![], "end"),
    ]
}

fn setup_rules(worker_stack: usize) -> Vec<Rule> {
    let keyed = |call, tests, reason| Rule { call, key: Some(Key::Setup), tests, reason };
    vec![
        keyed(
            libc::SYS_read,
            vec![Test::Between(0, fd::CONTROL as u32, fd::CHILD_SIGNAL as u32)],
            "zygote: read a request or the pending SIGCHLD",
        ),
        keyed(libc::SYS_ppoll, vec![], "zygote: wait for either"),
        keyed(
            libc::SYS_socketpair,
            vec![
                Test::Is(0, libc::AF_UNIX as u32),
                Test::Is(1, (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u32),
                Test::Is(2, 0),
            ],
            "zygote: make a worker's job socket",
        ),
        keyed(
            libc::SYS_clone,
            vec![Test::IsLong(0, FORK_FLAGS as u64), Test::IsLong(1, worker_stack as u64)],
            "zygote: fork a worker, and nothing but a plain fork, on the stack made for it",
        ),
        keyed(
            libc::SYS_sendmsg,
            vec![Test::Is(0, fd::CONTROL as u32), Test::Is(2, libc::MSG_NOSIGNAL as u32)],
            "zygote: report, handing over job sockets",
        ),
        keyed(
            libc::SYS_close,
            vec![],
            "zygote: let go of what was handed over; worker: of a group that could not be opened whole",
        ),
        keyed(
            libc::SYS_kill,
            vec![Test::Between(0, 1, i32::MAX as u32), Test::Is(1, libc::SIGKILL as u32)],
            "zygote: end one worker whose job is over, never a group",
        ),
        keyed(
            libc::SYS_wait4,
            vec![Test::Is(2, libc::WNOHANG as u32)],
            "zygote: reap a worker and learn how it ended",
        ),
        keyed(
            libc::SYS_dup3,
            vec![Test::Is(1, fd::JOB as u32), Test::Is(2, libc::O_CLOEXEC as u32)],
            "worker: put its job socket in its place",
        ),
        keyed(
            libc::SYS_close_range,
            vec![Test::Is(0, fd::JOB as u32 + 1), Test::Is(1, u32::MAX), Test::Is(2, 0)],
            "worker: close all that is the zygote's",
        ),
        keyed(
            libc::SYS_prctl,
            vec![Test::Is(0, libc::PR_SET_PDEATHSIG as u32), Test::IsLong(1, libc::SIGKILL as u64)],
            "worker: die with the zygote",
        ),
        keyed(
            libc::SYS_prlimit64,
            vec![Test::Is(0, 0), Test::Is(1, libc::RLIMIT_CPU), Test::IsLong(3, 0)],
            "worker: limit its CPU time",
        ),
        keyed(
            libc::SYS_prlimit64,
            vec![Test::Is(0, 0), Test::Is(1, libc::RLIMIT_NPROC), Test::IsLong(3, 0)],
            "worker: have no children even if a clone were allowed",
        ),
        keyed(
            libc::SYS_perf_event_open,
            vec![Test::Is(1, 0), Test::Is(2, u32::MAX), Test::IsLong(4, perf::CLOSE_ON_EXEC.into())],
            "worker: open counters on itself",
        ),
    ]
}

/// Why the table could not be compiled; a fault of the table, seen by the first test that runs.
#[derive(Debug, thiserror::Error)]
#[error("cannot compile the seccomp filter")]
pub struct PolicyError(#[from] seccompiler::BackendError);

/// Compiles the rules, with placeholders where keys belong ([`seal`](crate::sys::keyed::seal) puts the real ones in).
///
/// # Errors
/// See [`PolicyError`].
pub fn compile(rules: &[Rule]) -> Result<BpfProgram, PolicyError> {
    let mut by_call: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for rule in rules {
        let chains = by_call.entry(rule.call).or_default();
        let conditions = conditions(rule)?;
        // An empty list of rules allows a call whatever its arguments.
        if !conditions.is_empty() {
            chains.push(SeccompRule::new(conditions)?);
        }
    }
    let filter = SeccompFilter::new(by_call, SeccompAction::Trap, SeccompAction::Allow, TargetArch::x86_64)?;
    Ok(BpfProgram::try_from(filter)?)
}

fn conditions(rule: &Rule) -> Result<Vec<SeccompCondition>, PolicyError> {
    let key = rule.key.map(|key| Test::IsLong(KEY_ARGUMENT, key.placeholder()));
    let mut conditions = Vec::new();
    for test in rule.tests.iter().copied().chain(key) {
        use SeccompCmpArgLen::{Dword, Qword};
        use SeccompCmpOp::{Eq, Ge, Le};
        let parts = match test {
            Test::Is(argument, value) => vec![(argument, Dword, Eq, value.into())],
            Test::Between(argument, low, high) => {
                vec![(argument, Dword, Ge, low.into()), (argument, Dword, Le, high.into())]
            }
            Test::IsLong(argument, value) => vec![(argument, Qword, Eq, value)],
            Test::AtMost(argument, value) => vec![(argument, Qword, Le, value)],
            Test::AtLeast(argument, value) => vec![(argument, Qword, Ge, value)],
        };
        for (argument, length, operator, value) in parts {
            conditions.push(SeccompCondition::new(argument, length, operator, value)?);
        }
    }
    Ok(conditions)
}
