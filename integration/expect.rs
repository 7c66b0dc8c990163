//! Checks of what a run of ycred printed: one token, one warning, or one error.

use crate::harness::Run;

/// Checks that the run succeeded and printed only a token. Returns the token.
#[track_caller]
pub fn prints_token(run: Run) -> String {
    token_on_stdout(&run.exits(0).stderr_is_empty())
}

/// Checks that the run succeeded, and printed a token and one warning that contains these parts. Returns the token.
#[track_caller]
pub fn prints_token_with_warning(run: Run, parts: &[&str]) -> String {
    let run = run.exits(0);
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert!(lines.len() == 1 && lines[0].starts_with("ycred: warning: "), "one warning expected\n{run}");
    for part in parts {
        assert!(lines[0].contains(part), "{part:?} expected in the warning\n{run}");
    }
    token_on_stdout(&run)
}

/// Checks that stdout is one token and a line break. Returns the token.
#[track_caller]
pub fn token_on_stdout(run: &Run) -> String {
    let token = run.stdout.strip_suffix('\n').unwrap_or_default();
    assert!(!token.is_empty() && !token.contains(char::is_whitespace), "one token expected\n{run}");
    token.to_owned()
}

/// Checks that the run failed with this exit code, an empty stdout and one error line that contains these parts.
///
/// A hint may follow the error. Returns the error without its label.
#[track_caller]
pub fn fails_with(run: Run, code: i32, parts: &[&str]) -> String {
    let run = run.exits(code).stdout_is("");
    let lines: Vec<&str> = run.stderr.lines().collect();
    let is_well_formed = matches!(lines.as_slice(), [_] | [_, _])
        && lines[0].starts_with("ycred: error: ")
        && lines.get(1).is_none_or(|line| line.starts_with("ycred: hint: "))
        && lines.iter().all(|line| line.chars().count() <= 500);
    assert!(is_well_formed, "one error line and at most one hint expected\n{run}");
    for part in parts {
        assert!(lines[0].contains(part), "{part:?} expected in the error\n{run}");
    }
    lines[0].strip_prefix("ycred: error: ").expect("an error").to_owned()
}

/// [`fails_with`], with a hint that contains this string.
#[track_caller]
pub fn fails_with_hint(run: Run, code: i32, parts: &[&str], hint: &str) -> String {
    let hints = run.lines_of_stderr("ycred: hint: ").join("\n");
    assert!(hints.contains(hint), "{hint:?} expected in the hint\n{run}");
    fails_with(run, code, parts)
}
