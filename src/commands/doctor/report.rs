//! The report of `doctor`: lines for people, and JSON.

use std::fmt::Write as _;

use serde_json::json;

use crate::base::error::clean;
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
            rows.extend(findings.iter().filter(|finding| is_selected(check.id, finding.part)).map(row));
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
        for row in &self.rows {
            let tag = format!("[{}]", row.verdict.name());
            let _ = writeln!(text, "{tag:6} {:width$} {}", row.id, row.what);
            if let Some(fix) = &row.fix {
                let _ = writeln!(text, "{:6} {:width$} fix: {fix}", "", "");
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
