//! Finds cycles in a directed graph.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The successors of each node.
pub type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Nodes that can all reach each other.
#[derive(Debug, PartialEq, Eq)]
pub struct Cycle<'a> {
    pub members: Vec<&'a str>,
    /// The shortest cycle, without the return to its start.
    pub shortest: Vec<&'a str>,
}

/// Finds every cycle of the graph. A node is a member of at most one.
pub fn cycles<'a>(graph: &Graph<'a>) -> Vec<Cycle<'a>> {
    let reachable: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|from| (*from, reachable_from(graph, from))).collect();
    let reaches = |from: &str, to: &str| reachable.get(from).is_some_and(|nodes| nodes.contains(to));
    let mut cycles = Vec::new();
    let mut seen = BTreeSet::new();
    for from in graph.keys().copied() {
        if seen.contains(from) || !reaches(from, from) {
            continue;
        }
        let members: Vec<&str> = graph.keys().copied().filter(|to| reaches(from, to) && reaches(to, from)).collect();
        seen.extend(members.iter().copied());
        let paths = members.iter().filter_map(|start| path_back(graph, start));
        let shortest = paths.min_by_key(Vec::len).expect("a member of a cycle reaches itself");
        cycles.push(Cycle { members, shortest });
    }
    cycles
}

fn reachable_from<'a>(graph: &Graph<'a>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut pending: Vec<&str> = graph.get(from).into_iter().flatten().copied().collect();
    while let Some(next) = pending.pop() {
        if reached.insert(next) {
            pending.extend(graph.get(next).into_iter().flatten());
        }
    }
    reached
}

/// Returns the shortest path from a node back to itself.
fn path_back<'a>(graph: &Graph<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut pending = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = pending.pop_front() {
        for next in graph.get(path[path.len() - 1]).into_iter().flatten() {
            if *next == start {
                return Some(path);
            }
            if seen.insert(*next) {
                pending.push_back([&path[..], &[*next]].concat());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cycle_is_reported_with_its_members_and_its_shortest_path() {
        let arrows = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "b"), ("c", "d"), ("d", "e"), ("f", "g"), ("g", "f")];
        let mut graph = Graph::new();
        for (from, to) in arrows {
            graph.entry(from).or_default().insert(to);
        }
        let found = cycles(&graph);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((&found[0].members[..], &found[0].shortest[..]), (&["a", "b", "c"][..], &["b", "c"][..]));
        assert_eq!(found[1].members, ["f", "g"]);
    }
}
