//! Which places that a jump goes back to begin a loop.
//!
//! One does if the code there can come to the jump again without a return: if both lie in one strongly connected
//! component of the graph of blocks, calls left out. What is called is none, whichever way the call goes, nor is a
//! function that another ends in by a jump.
//!
//! The blocks are hostile code: the components are found in time linear in them, and nothing recurses (Tarjan 1972).
#![forbid(unsafe_code)]

use super::graph::{After, Graph};
use super::step::Kind;
use super::walk::{Analysis, CANDIDATE, Text};

/// Not yet come to, and not yet in a component.
const NONE: u32 = u32::MAX;

/// Offsets in the text of the first instructions of loops.
pub(super) fn heads(found: &Analysis, text: &Text<'_>) -> Vec<u32> {
    let graph = Graph::of(found, text);
    let edges = Edges::of(found, &graph);
    let component = components(&edges);
    let blocks = 0..graph.blocks() as u32;
    let head = |block: u32| {
        let last = graph.steps(block).last()?;
        let (Kind::Jump(to) | Kind::Conditional(to) | Kind::Short(to)) = graph.kind(last) else {
            return None;
        };
        let target = graph.block_of(to).filter(|_| to <= last.instruction.ip())?;
        let again = component.get(block as usize)? == component.get(target as usize)?;
        again.then(|| (to - text.address) as u32)
    };
    blocks.filter_map(head).collect()
}

/// Where each block may lead, and one node more, that all indirect jumps lead to and that leads to all their candidates.
struct Edges {
    /// For each node the first of its targets, and the end of all.
    firsts: Vec<u32>,
    targets: Vec<u32>,
}

impl Edges {
    fn of(found: &Analysis, graph: &Graph<'_>) -> Self {
        let blocks = graph.blocks() as u32;
        let mut firsts = Vec::with_capacity(graph.blocks() + 2);
        let mut targets: Vec<u32> = Vec::with_capacity(2 * graph.blocks());
        for block in 0..blocks {
            firsts.push(targets.len() as u32);
            let kind = graph.steps(block).last().map_or(Kind::Unsupported, |last| graph.kind(last));
            let goes_on = match kind {
                Kind::Plain | Kind::Conditional(_) | Kind::Short(_) | Kind::Call(_) | Kind::IndirectCall => {
                    true
                }
                Kind::Jump(_) | Kind::IndirectJump | Kind::Return(_) | Kind::Stops | Kind::Unsupported => {
                    false
                }
            };
            if let (true, After::Block(next)) = (goes_on, graph.after(block)) {
                targets.push(next);
            }
            match kind {
                Kind::Jump(to) | Kind::Conditional(to) | Kind::Short(to) => {
                    targets.extend(graph.block_of(to));
                }
                Kind::IndirectJump => targets.push(blocks),
                Kind::Plain | Kind::Call(_) | Kind::IndirectCall => {}
                Kind::Return(_) | Kind::Stops | Kind::Unsupported => {}
            }
        }
        firsts.push(targets.len() as u32);
        let is_candidate = |block: &u32| {
            let first = graph.steps(*block).first();
            first.is_some_and(|step| found.marks_at(found.offset(step)) & CANDIDATE != 0)
        };
        targets.extend((0..blocks).filter(is_candidate));
        firsts.push(targets.len() as u32);
        Self { firsts, targets }
    }

    fn nodes(&self) -> usize {
        self.firsts.len() - 1
    }

    fn of_node(&self, node: u32) -> &[u32] {
        let bounds = self.firsts.get(node as usize..).and_then(|firsts| firsts.first_chunk());
        let &[first, end] = bounds.unwrap_or(&[0, 0]);
        self.targets.get(first as usize..end as usize).unwrap_or_default()
    }
}

/// A node whose targets are being looked at, and how many were.
struct Open {
    node: u32,
    looked_at: usize,
}

/// The component of each node, by the number of one of its members.
fn components(edges: &Edges) -> Vec<u32> {
    let nodes = edges.nodes();
    let mut component = vec![NONE; nodes];
    // When each node was come to, and the earliest that can be come to from it.
    let (mut order, mut earliest) = (vec![NONE; nodes], vec![NONE; nodes]);
    let (mut path, mut waiting) = (Vec::with_capacity(16), Vec::with_capacity(16));
    let mut met = 0;
    for root in 0..nodes as u32 {
        if order[root as usize] == NONE {
            path.push(Open { node: root, looked_at: 0 });
        }
        while let Some(open) = path.last_mut() {
            let node = open.node;
            let at = node as usize;
            if open.looked_at == 0 && order[at] == NONE {
                (order[at], earliest[at]) = (met, met);
                met += 1;
                waiting.push(node);
            }
            if let Some(&target) = edges.of_node(node).get(open.looked_at) {
                let to = target as usize;
                if order[to] == NONE {
                    path.push(Open { node: target, looked_at: 0 });
                    continue;
                }
                // Come back to after it was followed, or met again: either way its earliest is known as far as it matters.
                if component[to] == NONE {
                    earliest[at] = earliest[at].min(earliest[to]);
                }
                open.looked_at += 1;
                continue;
            }
            path.pop();
            if earliest[at] == order[at] {
                while let Some(member) = waiting.pop() {
                    component[member as usize] = node;
                    if member == node {
                        break;
                    }
                }
            }
        }
    }
    component
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODES: usize = 9;

    /// Which nodes can be come to from which, by trying.
    fn reachable(targets: &[Vec<u32>]) -> [[bool; NODES]; NODES] {
        let mut reached = [[false; NODES]; NODES];
        for (from, targets) in targets.iter().enumerate() {
            reached[from][from] = true;
            targets.iter().for_each(|&to| reached[from][to as usize] = true);
        }
        for middle in 0..NODES {
            for from in 0..NODES {
                for to in 0..NODES {
                    reached[from][to] |= reached[from][middle] && reached[middle][to];
                }
            }
        }
        reached
    }

    proptest! {
        #[test]
        fn a_component_is_what_can_be_come_to_from_each_other(
            targets in prop::collection::vec(prop::collection::vec(0..NODES as u32, 0..4), NODES),
        ) {
            let firsts = targets.iter().scan(0, |end, targets| {
                *end += targets.len() as u32;
                Some(*end)
            });
            let firsts = std::iter::once(0).chain(firsts).collect();
            let found = components(&Edges { firsts, targets: targets.concat() });
            let reached = reachable(&targets);
            for (from, to) in (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to))) {
                prop_assert_eq!(found[from] == found[to], reached[from][to] && reached[to][from]);
            }
        }
    }
}
