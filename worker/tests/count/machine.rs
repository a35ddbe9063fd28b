//! A place below 2 GiB where code can lie with its copy, and two ways to call it: counted, and step by step.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

use webrunner_protocol::counts::Counts;
use webrunner_protocol::job::EntryRule;
use webrunner_protocol::plan::Argument;
use webrunner_protocol::stack::StackUse;
use webrunner_worker::count::{
    Analysis, Data, Ending, Text, analyse, code_bytes, instrument, read, set_budget, stack_use, totals,
};
use webrunner_worker::load::{Object, Rights};
use webrunner_worker::measure::{Host, PreparedCall, Session, call_once};

const PAGE: usize = 4096;
const ROOM: usize = 8 << 20;

/// Executable and writable memory: copies are written there, then images.
struct Low {
    start: usize,
    bytes: usize,
}

impl Low {
    fn new(image: usize) -> Self {
        let bytes = ROOM + image;
        let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        // SAFETY: a new mapping.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        Self { start: start as usize, bytes }
    }

    /// `bytes` from `at` on.
    fn slice(&self, at: usize, bytes: usize) -> &'static mut [u8] {
        assert!(at + bytes <= self.bytes);
        // SAFETY: inside the mapping, which lasts as long as the program whose slices these are; each caller takes
        // another part.
        unsafe { std::slice::from_raw_parts_mut((self.start + at) as *mut u8, bytes) }
    }
}

impl Drop for Low {
    fn drop(&mut self) {
        // SAFETY: this value's own mapping; what lies in it belongs to the program that is dropped with it. There is
        // room for about a hundred at a time.
        unsafe { libc::munmap(self.start as *mut libc::c_void, self.bytes) };
    }
}

/// A function in memory, analysed.
pub struct Program {
    low: Low,
    text: Text<'static>,
    pub analysis: Analysis,
}

/// How a counted call went.
pub struct Run {
    pub ending: Ending,
    pub counts: Counts,
    pub returned: u64,
    /// Low half of xmm0.
    pub vector: u64,
}

impl Program {
    /// Code that depends on no other address.
    pub fn of_code(code: &[u8]) -> Self {
        let low = Low::new(code.len().next_multiple_of(PAGE));
        let text = low.slice(ROOM, code.len());
        text.copy_from_slice(code);
        let address = (low.start + ROOM) as u64;
        let text = Text { bytes: text, address, entry: address };
        Self { low, text, analysis: analyse(text, &[]) }
    }

    /// A function of an object: the named one, or the one a worker would call.
    pub fn of_object(object: &[u8], symbol: Option<&str>) -> Self {
        let object = Object::parse(object).unwrap();
        let rule = EntryRule { symbol: symbol.map(str::to_owned), kernel: "playground".into() };
        let entry = object.entry(&rule).unwrap();
        let layout = object.layout();
        let low = Low::new(layout.bytes as usize);
        let base = (low.start + ROOM) as u64;
        let place = |segment: &webrunner_worker::load::Segment| {
            low.slice(ROOM + segment.offset as usize, segment.bytes as usize)
        };
        let mut slices: Vec<&mut [u8]> = layout.segments.iter().map(place).collect();
        object.link(base, &mut slices).unwrap();
        let mut text = None;
        let mut data: Vec<(u64, &[u8])> = Vec::new();
        for (segment, bytes) in layout.segments.iter().zip(slices) {
            let address = base + segment.offset;
            match segment.rights {
                Rights::ReadExecute => text = Some(Text { bytes, address, entry: base + entry.offset }),
                Rights::Read | Rights::ReadWrite => data.push((address, bytes)),
            }
        }
        let text = text.unwrap();
        Self { low, text, analysis: analyse(text, &data) }
    }

    /// Address of so many words of memory, all zero, that 32 bits can name. They lie where the room for copies begins,
    /// of which those of a few instructions take the end.
    pub fn low_words(&self, words: usize) -> u64 {
        self.low.slice(0, words * 8).as_ptr() as u64
    }

    /// Calls the copy, which may take `budget` loop turns.
    pub fn count_within(
        &self,
        budget: u64,
        arguments: &[Argument],
        buffers: &[u64],
    ) -> Result<Run, webrunner_protocol::counts::NotCountable> {
        let (code, data) = (code_bytes(&self.analysis), Data::bytes(&self.analysis));
        let code_at = (ROOM - code) / PAGE * PAGE;
        let data_at = (code_at - data) / PAGE * PAGE;
        let address = |at: usize| (self.low.start + at) as u64;
        let (code, data) = (self.low.slice(code_at, code), self.low.slice(data_at, data));
        data.fill(0);
        let copy =
            instrument(&self.analysis, self.text, (code, address(code_at)), (&mut *data, address(data_at)))?;
        set_budget(data, budget);
        let returned = Caller::new().call(copy.entry, arguments, buffers);
        let (ending, counters) = read(&self.analysis, data);
        let counts = totals(&self.analysis, &counters);
        Ok(Run { ending, counts, returned: returned.integer, vector: returned.vector })
    }

    /// Calls the copy with all the time it needs.
    pub fn count(&self, arguments: &[Argument], buffers: &[u64]) -> Run {
        let run = self.count_within(1 << 40, arguments, buffers).unwrap();
        assert_eq!(run.ending, Ending::Returned);
        run
    }

    /// How deep it takes the stack, as static analysis has it.
    pub fn stack_use(&self) -> StackUse {
        stack_use(&self.analysis, self.text)
    }

    /// How many bytes below its return address a call changes.
    pub fn stack_seen(&self, arguments: &[Argument], buffers: &[u64]) -> u64 {
        Caller::new().stack_changed(self.text.entry, arguments, buffers)
    }

    /// Calls the function itself and gives the instructions it executes, counted by single steps, and what it returns.
    pub fn step(&self, arguments: &[Argument], buffers: &[u64]) -> (u64, u64) {
        let mut caller = Caller::new();
        steps::start(
            self.text.bytes.as_ptr_range().start as u64,
            self.text.bytes.len() as u64,
            self.text.entry,
        );
        let returned = caller.call(steps::thunk(), arguments, buffers);
        (steps::counted(), returned.integer)
    }
}

struct Caller {
    session: Session,
    host: Host,
    stack: Box<UnsafeCell<[u128; 4096]>>,
}

impl Caller {
    /// Waits for the tests that run beside this one.
    fn new() -> Self {
        let mut session = loop {
            match Session::open() {
                Some(session) => break session,
                None => std::thread::yield_now(),
            }
        };
        let host = Host::probe(&mut session, 2500.0);
        Self { session, host, stack: Box::new(UnsafeCell::new([0; 4096])) }
    }

    fn call(
        &mut self,
        function: u64,
        arguments: &[Argument],
        buffers: &[u64],
    ) -> webrunner_protocol::reply::Returned {
        let top = self.stack.get() as u64 + 4000 * 16;
        let call = PreparedCall::new(arguments, buffers, function, top).unwrap();
        // SAFETY: tests call functions that stay on their stack and in their buffers; the stack is this caller's own.
        unsafe { call_once(&mut self.session, &call, &self.host) }.1
    }

    /// Calls a function on a stack of one pattern, then on one of another, and gives the bytes below the return address
    /// that were changed in either.
    fn stack_changed(&mut self, function: u64, arguments: &[Argument], buffers: &[u64]) -> u64 {
        let below = |stack: &[u128; 4096], pattern: u128| {
            let changed = stack.iter().position(|&word| word != pattern).unwrap_or(4000);
            let inside = stack[changed]
                .to_le_bytes()
                .iter()
                .zip(pattern.to_le_bytes())
                .take_while(|(a, b)| **a == *b)
                .count();
            (4000 * 16 - changed * 16 - inside) as u64
        };
        let mut deepest = 0;
        for pattern in [0x5c5c_5c5c_5c5c_5c5c_5c5c_5c5c_5c5c_5c5c_u128, 0x13131313_13131313_13131313_13131313]
        {
            self.stack.get_mut().fill(pattern);
            self.call(function, arguments, buffers);
            deepest = deepest.max(below(self.stack.get_mut(), pattern));
        }
        // Between the top and what the function uses lies its return address.
        deepest.saturating_sub(8)
    }
}

/// Counting by the trap flag. Only the holder of the one session steps, so statics do.
mod steps {
    use std::arch::global_asm;
    use std::sync::Once;

    use super::{AtomicU64, Ordering};

    static FUNCTION: AtomicU64 = AtomicU64::new(0);
    static START: AtomicU64 = AtomicU64::new(0);
    static BYTES: AtomicU64 = AtomicU64::new(0);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static LAST: AtomicU64 = AtomicU64::new(0);

    // Sets the trap flag and goes to the function; the trampoline clears it when it is back.
    global_asm!(
        ".globl test_step_thunk",
        ".hidden test_step_thunk",
        "test_step_thunk:",
        "pushfq",
        "or qword ptr [rsp], 0x100",
        "popfq",
        "jmp qword ptr [rip + {function}]",
        function = sym FUNCTION,
    );

    pub(super) fn thunk() -> u64 {
        unsafe extern "sysv64" {
            #[link_name = "test_step_thunk"]
            fn thunk();
        }
        thunk as *const () as u64
    }

    pub(super) fn start(start: u64, bytes: u64, function: u64) {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            // SAFETY: an all-zero sigaction is a valid one; the handler touches only atomics.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = trap as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO;
                assert_eq!(libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut()), 0);
            }
        });
        FUNCTION.store(function, Ordering::SeqCst);
        BYTES.store(bytes, Ordering::SeqCst);
        COUNT.store(0, Ordering::SeqCst);
        LAST.store(0, Ordering::SeqCst);
        START.store(start, Ordering::SeqCst);
    }

    pub(super) fn counted() -> u64 {
        COUNT.load(Ordering::SeqCst)
    }

    extern "C" fn trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
        // SAFETY: the kernel gives a valid context.
        let ip = unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] } as u64;
        let inside = ip.wrapping_sub(START.load(Ordering::SeqCst)) < BYTES.load(Ordering::SeqCst);
        let last = LAST.swap(ip, Ordering::SeqCst);
        // A repeated string instruction traps after each turn; it is one instruction.
        // SAFETY: `ip` lies in the text.
        let again = inside && last == ip && unsafe { matches!(*(ip as *const u8), 0xf2 | 0xf3) };
        if inside && !again {
            COUNT.fetch_add(1, Ordering::SeqCst);
        }
    }
}
