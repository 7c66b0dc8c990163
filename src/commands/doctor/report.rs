//! The report of `doctor`: lines for people, and JSON.

use std::fmt::Write as _;

use serde_json::json;

use crate::base::error::{Error, clean};
use crate::commands::check::{Finding, Verdict};
use crate::commands::doctor::runner::CheckResult;

/// The results of a run, with the lines to print.
pub struct DoctorReport {
    rows: Vec<Row>,
}

struct Row {
    id: String,
    verdict: Verdict,
    what: String,
    fix: Option<String>,
    seconds: f64,
}

impl DoctorReport {
    /// Takes the findings that `is_selected` chooses, by check and part. `rewrite` changes each text.
    pub fn new(
        results: &[CheckResult],
        is_selected: impl Fn(&str, &str) -> bool,
        rewrite: impl Fn(&str, Field) -> String,
    ) -> Self {
        let mut rows = Vec::new();
        for CheckResult { check, findings, took } in results {
            let row = |finding: &Finding| Row {
                id: if finding.part.is_empty() {
                    check.id.to_owned()
                } else {
                    format!("{}.{}", check.id, finding.part)
                },
                verdict: finding.verdict,
                what: rewrite(&clean(&finding.what), Field::What),
                fix: finding.fix.as_deref().map(|fix| rewrite(&clean(fix), Field::Fix)),
                seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
            };
            let selected = rows.len();
            rows.extend(findings.iter().filter(|finding| is_selected(check.id, finding.part)).map(row));
            // A finding about the whole check applies to each part.
            if rows.len() == selected {
                rows.extend(findings.iter().filter(|finding| finding.part.is_empty()).map(row));
            }
        }
        Self { rows }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }

    /// Returns true if the run fails: after a failure, or with `is_strict` also after a warning.
    pub fn is_failure(&self, is_strict: bool) -> bool {
        self.count(Verdict::Fail) > 0 || is_strict && self.count(Verdict::Warn) > 0
    }

    /// Returns the lines for people. The tags are ASCII, because people paste them into issues.
    pub fn text(&self) -> String {
        let width = self.rows.iter().map(|row| row.id.len()).max().unwrap_or_default();
        let mut text = String::new();
        let mut failures: Vec<&Row> = Vec::new();
        for row in &self.rows {
            let tag = format!("[{}]", row.verdict.name());
            let first = same_failure(row, &failures);
            let what = match first {
                Some((first, start)) => format!("{}as above ({})", &row.what[..start], first.id),
                None => row.what.clone(),
            };
            if first.is_none() && row.verdict == Verdict::Fail {
                failures.push(row);
            }
            let _ = writeln!(text, "{tag:6} {:width$} {what}", row.id);
            if let Some(fix) =
                row.fix.as_ref().filter(|fix| first.is_none_or(|(first, _)| first.fix.as_ref() != Some(*fix)))
            {
                // What is skipped is not broken.
                let label = if row.verdict == Verdict::Skip { "to use it" } else { "fix" };
                let _ = writeln!(text, "{:6} {:width$} {label}: {fix}", "", "");
            }
        }
        text.push_str(&self.summary());
        text
    }

    fn summary(&self) -> String {
        let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        let mut parts = vec![format!("{} ok", self.count(Verdict::Ok))];
        for (verdict, noun) in [(Verdict::Warn, "warning"), (Verdict::Fail, "failure")] {
            parts.push(plural(self.count(verdict), noun));
        }
        parts.push(format!("{} skipped", self.count(Verdict::Skip)));
        format!("{}\n", parts.join(", "))
    }

    /// Returns the report as JSON. docs/troubleshooting.md describes the fields.
    pub fn json(&self) -> serde_json::Value {
        let checks: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "id": row.id, "state": row.verdict.name(), "what": row.what, "fix": row.fix,
                    "seconds": row.seconds,
                })
            })
            .collect();
        json!({
            "version": 1, "ycred": env!("CARGO_PKG_VERSION"), "os": system_name(), "checks": checks,
            "ok": self.count(Verdict::Ok), "warnings": self.count(Verdict::Warn), "failures": self.count(Verdict::Fail),
        })
    }
}

/// Returns the JSON object for a command line that could not be used, so that nothing was checked. Only this one has an
/// `error`.
pub fn unusable_json(error: &Error) -> serde_json::Value {
    json!({
        "version": 1, "ycred": env!("CARGO_PKG_VERSION"), "os": system_name(), "checks": [],
        "ok": 0, "warnings": 0, "failures": 0,
        "error": { "message": error.reason(), "hint": error.hint_text(), "exit_code": error.kind.exit_code() },
    })
}

/// Returns the earlier failure with the same cause as this one, and where the cause begins in the text.
fn same_failure<'a>(row: &Row, earlier: &[&'a Row]) -> Option<(&'a Row, usize)> {
    if row.verdict != Verdict::Fail {
        return None;
    }
    let cause = Cause::of(row);
    earlier.iter().find_map(|first| {
        let by_server = cause.filter(|cause| Cause::of(first).is_some_and(|other| other.is_same(cause)));
        let by_text = || {
            let start = row.what.strip_suffix(first.what.as_str()).map(str::len)?;
            (start == 0 || row.what[..start].ends_with(": ")).then_some(start)
        };
        Some((*first, by_server.map(|cause| cause.start).or_else(by_text)?))
    })
}

/// The end of a failure that says which server did what: `https://host/path: why`.
#[derive(Clone, Copy)]
struct Cause<'a> {
    /// Where it begins in the text.
    start: usize,
    server: &'a str,
    why: &'a str,
}

impl<'a> Cause<'a> {
    fn of(row: &'a Row) -> Option<Self> {
        let start = ["http://", "https://"].into_iter().filter_map(|scheme| row.what.rfind(scheme)).max()?;
        let (url, why) = row.what[start..].split_once(": ").filter(|_| row.verdict == Verdict::Fail)?;
        let server_end = url.match_indices('/').nth(2).map_or(url.len(), |(at, _)| at);
        let why = why.split_once(" (remembered, ").map_or(why, |(why, _)| why);
        Some(Self { start, server: &url[..server_end], why })
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.server, self.why) == (other.server, other.why)
    }
}

/// A text of a finding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Field {
    What,
    Fix,
}

/// Returns the name of the system and of the architecture.
pub fn system_name() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::commands::check::{Check, LOCAL_LIMIT};

    static NETWORK: Check =
        Check { id: "network", about: "", parts: &[], limit: LOCAL_LIMIT, needs_network: false, run: |_| Vec::new() };
    static TOKEN: Check =
        Check { id: "token", about: "", parts: &[], limit: LOCAL_LIMIT, needs_network: false, run: |_| Vec::new() };

    #[test]
    fn a_cause_is_printed_once_and_counts_each_time() {
        let of = |check: &'static Check, findings: &[Finding]| CheckResult {
            check,
            findings: findings.to_vec(),
            took: Duration::ZERO,
        };
        let fail = |what: &str| Finding::fail(what).fix("check the port");
        let results = [
            of(&NETWORK, &[fail("http://h:9/a: nothing listens there")]),
            of(
                &TOKEN,
                &[
                    fail("profile p: http://h:9/b: nothing listens there (remembered, 3s ago)"),
                    fail("profile p: http://h:8/b: nothing listens there"),
                    fail("profile p: http://h:9/b: 500"),
                    fail("/etc/x: no such file"),
                ],
            ),
        ];
        let report = DoctorReport::new(&results, |_, _| true, |text, _| text.to_owned());
        let text = report.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "[fail] network http://h:9/a: nothing listens there");
        assert_eq!(lines[2], "[fail] token   profile p: as above (network)");
        assert_eq!(lines[3], "[fail] token   profile p: http://h:8/b: nothing listens there");
        assert_eq!(lines[5], "[fail] token   profile p: http://h:9/b: 500");
        assert_eq!(text.matches("fix:").count(), 4, "{text}");
        assert!(text.ends_with("5 failures, 0 skipped\n"), "{text}");
        let json = report.json();
        assert!(json["checks"][1]["what"].as_str().is_some_and(|what| what.contains("http://h:9/b")), "{json}");
        assert_eq!(json["checks"][1]["fix"], "check the port");
    }
}
