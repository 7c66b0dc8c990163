//! Shows a change as lines with `-` and `+`.

/// Returns the lines that differ, in order, each with its sign.
pub fn lines(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    // The length of the longest common subsequence of the lines from here on.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for at in (0..old.len()).rev() {
        for other in (0..new.len()).rev() {
            common[at][other] = if old[at] == new[other] {
                common[at + 1][other + 1] + 1
            } else {
                common[at + 1][other].max(common[at][other + 1])
            };
        }
    }
    let (mut at, mut other, mut lines) = (0, 0, Vec::new());
    while at < old.len() || other < new.len() {
        if at < old.len() && other < new.len() && old[at] == new[other] {
            (at, other) = (at + 1, other + 1);
        } else if other == new.len() || (at < old.len() && common[at + 1][other] >= common[at][other + 1]) {
            lines.push(format!("- {}", old[at]));
            at += 1;
        } else {
            lines.push(format!("+ {}", new[other]));
            other += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_different_lines_are_shown() {
        assert_eq!(super::lines("a\nb\nc\n", "a\nx\nc\nd\n"), ["- b", "+ x", "+ d"]);
        assert_eq!(super::lines("", "a\n"), ["+ a"]);
        assert_eq!(super::lines("a\n", "a\n"), [""; 0]);
    }
}
