//! Finds circles among things that lead to one another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What each thing leads to.
pub type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Things that all lead to one another.
#[derive(Debug, PartialEq, Eq)]
pub struct Circle<'a> {
    pub members: Vec<&'a str>,
    /// The shortest way round, without the return to the start.
    pub shortest: Vec<&'a str>,
}

/// Every circle of the graph. A thing stands in one at most.
pub fn circles<'a>(graph: &Graph<'a>) -> Vec<Circle<'a>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = graph.keys().map(|from| (*from, reachable(graph, from))).collect();
    let leads = |from: &str, to: &str| reached.get(from).is_some_and(|all| all.contains(to));
    let mut circles = Vec::new();
    let mut seen = BTreeSet::new();
    for from in graph.keys().copied() {
        if seen.contains(from) || !leads(from, from) {
            continue;
        }
        let members: Vec<&str> = graph.keys().copied().filter(|to| leads(from, to) && leads(to, from)).collect();
        seen.extend(members.iter().copied());
        let ways = members.iter().filter_map(|start| way_round(graph, start));
        let shortest = ways.min_by_key(Vec::len).expect("a member of a circle leads back to itself");
        circles.push(Circle { members, shortest });
    }
    circles
}

fn reachable<'a>(graph: &Graph<'a>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut pending: Vec<&str> = graph.get(from).into_iter().flatten().copied().collect();
    while let Some(next) = pending.pop() {
        if reached.insert(next) {
            pending.extend(graph.get(next).into_iter().flatten());
        }
    }
    reached
}

/// The shortest way from a thing back to itself.
fn way_round<'a>(graph: &Graph<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut pending = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = pending.pop_front() {
        for next in graph.get(way[way.len() - 1]).into_iter().flatten() {
            if *next == start {
                return Some(way);
            }
            if seen.insert(*next) {
                pending.push_back([&way[..], &[*next]].concat());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_apart_from_each_other_and_with_their_shortest_way() {
        let arrows = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "b"), ("c", "d"), ("d", "e"), ("f", "g"), ("g", "f")];
        let mut graph = Graph::new();
        for (from, to) in arrows {
            graph.entry(from).or_default().insert(to);
        }
        let found = circles(&graph);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((&found[0].members[..], &found[0].shortest[..]), (&["a", "b", "c"][..], &["b", "c"][..]));
        assert_eq!(found[1].members, ["f", "g"]);
    }
}
