//! Which function of the object is called.
//!
//! In this order: the symbol the client named; the one named as the kernel; the only global function; for an object without
//! functions in its symbol table, the start of its text. A function is a named symbol in loaded text; NASM gives its own no
//! type, so those count, but behind symbols typed as functions. A size is not asked for: PeachPy writes none.

use goblin::elf::Sym;
use goblin::elf::sym::{STB_LOCAL, STB_WEAK, STT_FILE, STT_FUNC, STT_NOTYPE, STT_SECTION};
use webrunner_protocol::job::EntryRule;
use webrunner_protocol::limits::MAX_CANDIDATES;
use webrunner_protocol::refusal::{EntryRefusal, Name};

use super::Object;
use super::image::Rights;
use super::symbol::{Definition, definition};

/// The function to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name; `None` if the object has no symbols.
    pub symbol: Option<Name>,
    /// Bytes from the start of the image to its first instruction.
    pub offset: u64,
    /// Bytes from the start of the text segment to its first instruction.
    pub text_offset: u64,
    /// Size in bytes as the object states it, at most to the end of its section; 0 if it states none.
    pub size: u64,
}

/// How good a symbol is as a function, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    binding: Binding,
    typed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Local,
    Weak,
    Global,
}

impl Object<'_> {
    /// Finds the function to call.
    ///
    /// # Errors
    /// There is no such function, or there are several; with the names of those there are.
    pub fn entry(&self, rule: &EntryRule) -> Result<Entry, EntryRefusal> {
        if self.image.segment_index(Rights::ReadExecute).is_none() {
            return Err(EntryRefusal::NoCode);
        }
        if let Some(wanted) = &rule.symbol {
            return self.named(wanted)?.ok_or_else(|| self.missing(wanted));
        }
        match self.named(&rule.kernel)? {
            Some(entry) => Ok(entry),
            None => self.only_function(&rule.kernel),
        }
    }

    /// The best function of this name; `None` if no defined symbol has it.
    fn named(&self, wanted: &str) -> Result<Option<Entry>, EntryRefusal> {
        let names = self.symbols.names();
        let mut best: Option<(Rank, Sym)> = None;
        let (mut is_duplicate, mut is_other) = (false, false);
        for symbol in self.symbols.iter() {
            if !is_nameable(&symbol) || !names.is(symbol.st_name, wanted.as_bytes()) {
                continue;
            }
            let Some(rank) = self.rank(&symbol) else {
                is_other |= definition(&symbol) != Some(Definition::Undefined);
                continue;
            };
            let held = best.map(|(rank, _)| rank);
            if held < Some(rank) {
                best = Some((rank, symbol));
                is_duplicate = false;
            } else {
                is_duplicate |= held == Some(rank);
            }
        }
        let name = || Name::new(wanted.as_bytes());
        match best {
            Some(_) if is_duplicate => Err(EntryRefusal::Duplicate { name: name() }),
            Some((_, symbol)) => Ok(Some(self.entry_of(&symbol))),
            None if is_other => Err(EntryRefusal::NotAFunction { name: name() }),
            None => Ok(None),
        }
    }

    fn only_function(&self, kernel: &str) -> Result<Entry, EntryRefusal> {
        let is_global = |rank: Rank| rank.binding > Binding::Local;
        let first_two = |typed| {
            let mut found = self.functions(|rank| is_global(rank) && rank.typed == typed);
            (found.next(), found.next())
        };
        // One typed function is the only one, whatever labels there are beside it.
        let found = match first_two(true) {
            (None, _) => first_two(false),
            found => found,
        };
        match found {
            (Some(only), None) => Ok(self.entry_of(&only)),
            (Some(_), Some(_)) => Err(EntryRefusal::Ambiguous {
                kernel: Name::new(kernel.as_bytes()),
                candidates: self.candidates(is_global),
            }),
            (None, _) if self.functions(|_| true).next().is_some() => Err(self.missing(kernel)),
            (None, _) => Ok(self.start_of_text()),
        }
    }

    fn missing(&self, wanted: &str) -> EntryRefusal {
        let mut candidates = self.candidates(|rank| rank.binding > Binding::Local);
        if candidates.is_empty() {
            candidates = self.candidates(|_| true);
        }
        EntryRefusal::Missing { wanted: Name::new(wanted.as_bytes()), candidates }
    }

    fn candidates(&self, wanted: impl Fn(Rank) -> bool) -> Vec<Name> {
        let name = |symbol: Sym| Name::new(self.symbols.names().prefix(symbol.st_name));
        self.functions(wanted).take(MAX_CANDIDATES).map(name).collect()
    }

    fn functions(&self, wanted: impl Fn(Rank) -> bool) -> impl Iterator<Item = Sym> {
        self.symbols.iter().filter(move |symbol| self.rank(symbol).is_some_and(&wanted))
    }

    /// How good a function a symbol is; `None` if it is none.
    fn rank(&self, symbol: &Sym) -> Option<Rank> {
        let typed = match symbol.st_type() {
            STT_FUNC => true,
            STT_NOTYPE => false,
            _ => return None,
        };
        let Some(Definition::Section(section)) = definition(symbol) else { return None };
        let in_text = self.sections.rights(section) == Some(Rights::ReadExecute)
            && symbol.st_value < self.sections.bytes_of(section);
        if !in_text || !self.symbols.names().has(symbol.st_name) {
            return None;
        }
        let binding = match symbol.st_bind() {
            STB_LOCAL => Binding::Local,
            STB_WEAK => Binding::Weak,
            _ => Binding::Global,
        };
        Some(Rank { binding, typed })
    }

    fn entry_of(&self, symbol: &Sym) -> Entry {
        let section = symbol.st_shndx;
        let text_offset = self.image.in_segment(section) + symbol.st_value;
        Entry {
            symbol: Some(Name::new(self.symbols.names().prefix(symbol.st_name))),
            offset: self.image.start(Rights::ReadExecute) + text_offset,
            text_offset,
            size: symbol.st_size.min(self.sections.bytes_of(section).saturating_sub(symbol.st_value)),
        }
    }

    fn start_of_text(&self) -> Entry {
        Entry { symbol: None, offset: self.image.start(Rights::ReadExecute), text_offset: 0, size: 0 }
    }
}

/// Files and sections have names too, but nobody calls them.
fn is_nameable(symbol: &Sym) -> bool {
    !matches!(symbol.st_type(), STT_FILE | STT_SECTION)
}
