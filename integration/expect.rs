//! What a run of ycred must have said: one token, one warning, or one error.

use crate::harness::Run;

/// It ended well and said nothing but the token, which is returned.
#[track_caller]
pub fn handed(run: Run) -> String {
    one_token(&run.exits(0).quietly())
}

/// It ended well, with one warning that says all this; the token.
#[track_caller]
pub fn warned(run: Run, words: &[&str]) -> String {
    let run = run.exits(0);
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert!(lines.len() == 1 && lines[0].starts_with("ycred: warning: "), "one warning expected\n{run}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} expected in the warning\n{run}");
    }
    one_token(&run)
}

#[track_caller]
pub fn one_token(run: &Run) -> String {
    let token = run.stdout.strip_suffix('\n').unwrap_or_default();
    assert!(!token.is_empty() && !token.contains(char::is_whitespace), "one token expected\n{run}");
    token.to_owned()
}

/// It ended with this code, nothing on stdout, and one error line that says all this, perhaps with a hint; the error.
#[track_caller]
pub fn refused(run: Run, code: i32, words: &[&str]) -> String {
    let run = run.exits(code).stdout_is("");
    let lines: Vec<&str> = run.stderr.lines().collect();
    let shape = matches!(lines.as_slice(), [_] | [_, _])
        && lines[0].starts_with("ycred: error: ")
        && lines.get(1).is_none_or(|line| line.starts_with("ycred: hint: "))
        && lines.iter().all(|line| line.chars().count() <= 500);
    assert!(shape, "one error line and at most one hint expected\n{run}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} expected in the error\n{run}");
    }
    lines[0].strip_prefix("ycred: error: ").expect("an error").to_owned()
}

/// The same with a hint that says this.
#[track_caller]
pub fn refused_with_hint(run: Run, code: i32, words: &[&str], hint: &str) -> String {
    let hints = run.lines_of_stderr("ycred: hint: ").join("\n");
    assert!(hints.contains(hint), "{hint:?} expected in the hint\n{run}");
    refused(run, code, words)
}
