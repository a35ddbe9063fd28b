//! Follows the stack pointer through each function, from its entry along every branch.
#![forbid(unsafe_code)]

use iced_x86::InstructionInfoFactory;
use webrunner_protocol::stack::{StackObstacle, Unbounded};

use super::super::graph::{After, Graph};
use super::super::step::{Kind, Step};
use super::state::State;
use super::{Call, Function};

/// Most instructions that are followed, counted each time; a few tens of nanoseconds each.
pub(super) const MOST_STEPS: usize = 128 << 10;

/// Most blocks of one function whose state is kept.
const MOST_STATES: usize = 4 << 10;

/// Visits of a block after which what still changes is not followed further.
const MOST_VISITS: u8 = 32;

/// Most calls, counted each time one is come to.
const MOST_CALLS: usize = 16 << 10;

/// What a call pushes.
const ADDRESS_BYTES: i64 = 8;

/// What is known of a block of the function that is being followed.
struct Visited {
    block: u32,
    before: State,
    visits: u8,
    /// Waits to be followed, again or for the first time.
    waits: bool,
}

/// The following of functions, one after the other.
pub(super) struct Flow<'g> {
    graph: &'g Graph<'g>,
    info: InstructionInfoFactory,
    functions: Vec<Function>,
    calls: Vec<Call>,
    /// For each block one more than the number of the function that begins with it, or 0.
    begins: Vec<u32>,
    /// For each block one more than its place among `visited`, or 0.
    places: Vec<u32>,
    visited: Vec<Visited>,
    pending: Vec<u32>,
    steps: usize,
}

type Followed<T> = Result<T, Unbounded>;

impl<'g> Flow<'g> {
    pub(super) fn new(graph: &'g Graph<'g>) -> Self {
        Self {
            graph,
            info: InstructionInfoFactory::new(),
            functions: Vec::with_capacity(4),
            calls: Vec::new(),
            begins: vec![0; graph.blocks()],
            places: vec![0; graph.blocks()],
            visited: Vec::with_capacity(8),
            pending: Vec::with_capacity(8),
            steps: 0,
        }
    }

    /// All functions that the first may call, itself first, and all their calls.
    pub(super) fn functions(mut self) -> Followed<(Vec<Function>, Vec<Call>)> {
        let nothing = Unbounded { why: StackObstacle::UnknownFlow, offset: 0 };
        self.number_of(self.graph.entry().ok_or(nothing)?);
        let mut next = 0;
        while let Some(block) = self.functions.get(next).map(|function| function.block) {
            let first = self.calls.len();
            let own = self.function(block)?;
            let function = &mut self.functions[next];
            (function.own, function.calls) = (own, first..self.calls.len());
            next += 1;
        }
        Ok((self.functions, self.calls))
    }

    /// The number of the function that begins with a block.
    fn number_of(&mut self, block: u32) -> usize {
        let begins = &mut self.begins[block as usize];
        if *begins == 0 {
            self.functions.push(Function { block, own: 0, calls: 0..0 });
            *begins = self.functions.len() as u32;
        }
        *begins as usize - 1
    }

    /// Follows one function, and gives how deep it goes by itself.
    fn function(&mut self, block: u32) -> Followed<i64> {
        for visited in self.visited.drain(..) {
            self.places[visited.block as usize] = 0;
        }
        self.begin(block, State::at_entry());
        let mut deepest = 0;
        while let Some(place) = self.pending.pop() {
            let visited = &mut self.visited[place as usize];
            visited.waits = false;
            let (block, before) = (visited.block, visited.before);
            deepest = deepest.max(self.block(block, before)?);
        }
        Ok(deepest)
    }

    /// Follows the instructions of a block, and what comes after; gives how deep it goes.
    fn block(&mut self, block: u32, mut state: State) -> Followed<i64> {
        let mut deepest = 0;
        let Some((last, others)) = self.graph.steps(block).split_last() else { return Ok(deepest) };
        for step in others {
            deepest = deepest.max(self.apply(step, &mut state)?);
        }
        let depth = match self.graph.kind(last) {
            Kind::Plain => {
                let depth = self.apply(last, &mut state)?;
                self.go_on(block, last, &state)?;
                depth
            }
            kind => self.branch(kind, block, last, &state)?,
        };
        Ok(deepest.max(depth))
    }

    fn apply(&mut self, step: &Step, state: &mut State) -> Followed<i64> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(self.obstacle(StackObstacle::TooLarge, step));
        }
        let deepest = state.apply(&step.instruction, &mut self.info);
        if state.depth().is_none() { Err(self.obstacle(StackObstacle::Computed, step)) } else { Ok(deepest) }
    }

    /// Goes where a branch at the end of a block leads; gives how deep the branch itself goes.
    fn branch(&mut self, kind: Kind, block: u32, step: &Step, state: &State) -> Followed<i64> {
        let depth = state.depth().unwrap_or_default();
        match kind {
            Kind::Jump(target) => self.go_to(target, step, state)?,
            Kind::Conditional(target) | Kind::Short(target) => {
                self.go_to(target, step, state)?;
                self.go_on(block, step, state)?;
            }
            Kind::Call(target) => {
                let begin = self.graph.block_of(target);
                let begin = begin.ok_or_else(|| self.obstacle(StackObstacle::UnknownFlow, step))?;
                if self.calls.len() >= MOST_CALLS {
                    return Err(self.obstacle(StackObstacle::TooLarge, step));
                }
                let (callee, offset) = (self.number_of(begin), self.graph.offset(step));
                self.calls.push(Call { depth: depth + ADDRESS_BYTES, callee, offset });
                self.go_on(block, step, &state.after_call())?;
                return Ok(depth + ADDRESS_BYTES);
            }
            Kind::Return(0) if state.is_balanced() => {}
            Kind::Return(_) => return Err(self.obstacle(StackObstacle::Unbalanced, step)),
            Kind::IndirectJump | Kind::IndirectCall => {
                return Err(self.obstacle(StackObstacle::Indirect, step));
            }
            Kind::Unsupported => return Err(self.obstacle(StackObstacle::UnknownFlow, step)),
            // A signal ends the process.
            Kind::Stops | Kind::Plain => {}
        }
        Ok(depth)
    }

    fn go_to(&mut self, target: u64, step: &Step, state: &State) -> Followed<()> {
        match self.graph.block_of(target) {
            Some(block) => self.arrive(block, state, step),
            None => Err(self.obstacle(StackObstacle::UnknownFlow, step)),
        }
    }

    fn go_on(&mut self, block: u32, step: &Step, state: &State) -> Followed<()> {
        match self.graph.after(block) {
            After::Block(next) => self.arrive(next, state, step),
            After::Nothing => Err(self.obstacle(StackObstacle::UnknownFlow, step)),
        }
    }

    /// Comes to a block from `step`; it waits to be followed if that tells anything new.
    fn arrive(&mut self, block: u32, state: &State, step: &Step) -> Followed<()> {
        let place = self.places[block as usize];
        if place == 0 {
            if self.visited.len() >= MOST_STATES {
                return Err(self.obstacle(StackObstacle::TooLarge, step));
            }
            self.begin(block, *state);
            return Ok(());
        }
        let visited = &mut self.visited[place as usize - 1];
        let mut joined = visited.before.join(state);
        if joined == visited.before {
            return Ok(());
        }
        if visited.visits >= MOST_VISITS {
            if joined.depth() > visited.before.depth() {
                return Err(self.obstacle(StackObstacle::Grows, step));
            }
            joined = joined.only_rsp();
        }
        visited.visits = visited.visits.saturating_add(1);
        visited.before = joined;
        if !visited.waits {
            visited.waits = true;
            self.pending.push(place - 1);
        }
        Ok(())
    }

    fn begin(&mut self, block: u32, before: State) {
        self.pending.push(self.visited.len() as u32);
        self.visited.push(Visited { block, before, visits: 0, waits: true });
        self.places[block as usize] = self.visited.len() as u32;
    }

    fn obstacle(&self, why: StackObstacle, step: &Step) -> Unbounded {
        Unbounded { why, offset: self.graph.offset(step).into() }
    }
}
