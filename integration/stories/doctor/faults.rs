//! Faults to seed: each is found by its check, and the printed fix is followed until doctor is content.

use std::ffi::OsString;

use serde_json::Value;

use crate::harness::{Run, Running, YCRED, find};
use crate::stories::setup::Machine;

/// A fault on a machine where all else works.
pub struct Fault {
    /// The id that doctor prints, with the part.
    pub id: &'static str,
    /// `warn` or `fail`.
    pub state: &'static str,
    pub name: &'static str,
    /// Programs without which the row is skipped.
    pub needs: &'static [&'static str],
    /// Creates the machine with its fault.
    pub seed: fn() -> Seeded,
    pub fix: Fix,
}

/// How the printed fix is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fix {
    /// A shell runs it, and doctor is content afterwards.
    Run,
    /// A command that cannot run here: a shell and ycred's own parser accept it.
    Command,
    /// Says what to change where; contains this.
    Text(&'static str),
}

/// A machine with a fault, and what must live until the end of the test.
pub struct Seeded {
    pub machine: Machine,
    /// Arguments of `doctor`.
    pub arguments: Vec<&'static str>,
    pub variables: Vec<(&'static str, OsString)>,
    pub running: Option<Running>,
    pub listener: Option<std::net::TcpListener>,
}

impl Seeded {
    pub fn of(machine: Machine) -> Seeded {
        Seeded { machine, arguments: Vec::new(), variables: Vec::new(), running: None, listener: None }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Seeded {
        self.variables.push((name, value.into()));
        self
    }

    pub fn asking(mut self, arguments: &[&'static str]) -> Seeded {
        self.arguments = arguments.to_vec();
        self
    }
}

/// A finding in doctor's JSON.
pub struct Printed {
    pub id: String,
    pub state: String,
    pub what: String,
    pub fix: Option<String>,
}

/// Reads doctor's JSON.
#[track_caller]
pub fn report(run: &Run) -> Vec<Printed> {
    let value: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let checks = value["checks"].as_array().expect("checks");
    checks
        .iter()
        .map(|check| Printed {
            id: text(&check["id"]).expect("an id"),
            state: text(&check["state"]).expect("a state"),
            what: text(&check["what"]).expect("a text"),
            fix: text(&check["fix"]),
        })
        .collect()
}

/// Seeds each fault and follows its fix. Returns how many were found, and how many fixes were run.
#[track_caller]
pub fn try_all(faults: &[Fault]) -> (usize, usize) {
    let (mut found, mut run_fixes) = (0, 0);
    for fault in faults {
        if let Some(missing) = fault.needs.iter().find(|name| find(name).is_none()) {
            crate::harness::skip(&format!("{}: {missing} is not in PATH", fault.name));
            continue;
        }
        let seeded = (fault.seed)();
        let call = |arguments: &[&str]| {
            let call = seeded.machine.world.ycred(&["doctor"]).and(arguments).and(&seeded.arguments);
            seeded.variables.iter().fold(call, |call, (name, value)| call.env(name, value))
        };
        let run = call(&["--json"]).run();
        let findings = report(&run);
        let printed = findings.iter().find(|it| it.id == fault.id && it.state == fault.state);
        let printed = printed.unwrap_or_else(|| panic!("{}: no {} {}\n{run}", fault.name, fault.state, fault.id));
        assert!(!printed.what.is_empty(), "{}", fault.name);
        let mut bad = findings.iter().filter(|it| matches!(it.state.as_str(), "fail" | "warn"));
        assert!(bad.all(|it| it.fix.is_some()), "{}: a finding without a fix\n{run}", fault.name);
        let base = fault.id.split('.').next().expect("an id");
        let is_failure = findings.iter().any(|it| it.state == "fail");
        run.exits(i32::from(is_failure));
        // Alone, the check finds the same.
        call(&[base, "--json", "--strict"]).run().exits(1);
        found += 1;
        let fix = printed.fix.clone().unwrap_or_else(|| panic!("{}: no fix: {}", fault.name, printed.what));
        match fault.fix {
            Fix::Run => {
                follow(&seeded, fault, &fix);
                run_fixes += 1;
            }
            Fix::Command => parse(&seeded, fault, &fix),
            Fix::Text(part) => assert!(fix.contains(part), "{}: {fix}", fault.name),
        }
        // Not before: the fault would be gone.
        drop((seeded.running, seeded.listener));
    }
    (found, run_fixes)
}

/// Runs a fix as it is printed, in the shell in which doctor then runs again. Its other findings are followed too.
#[track_caller]
fn follow(seeded: &Seeded, fault: &Fault, fix: &str) {
    let mut fixes = vec![fix.to_owned()];
    for _ in 0..4 {
        let arguments = seeded.arguments.join(" ");
        let script = format!("{}\nexec '{YCRED}' doctor --json --strict {arguments}", fixes.join("\n"));
        let call = seeded.machine.world.sandbox.call("sh", ["-c", &script]);
        let run = seeded.variables.iter().fold(call, |call, (name, value)| call.env(name, value)).run();
        let findings = printed_by(&run);
        let bad = findings.iter().find(|it| it.state == "fail" || it.state == "warn");
        match bad.map(|it| (&it.fix, &it.id)) {
            None => {
                assert_eq!(run.status.code(), Some(0), "{}\n{run}", fault.name);
                return;
            }
            Some((Some(next), id)) if id != fault.id && !fixes.contains(next) => fixes.push(next.clone()),
            Some(_) => panic!("{}: {fix} has not fixed it\n{run}", fault.name),
        }
    }
    panic!("{}: doctor is not content after {fixes:?}", fault.name);
}

/// Reads the report after the output of the fixes.
#[track_caller]
fn printed_by(run: &Run) -> Vec<Printed> {
    let start = run.stdout.find("{\"checks\"").unwrap_or_else(|| panic!("no report\n{run}"));
    report(&Run { stdout: run.stdout[start..].to_owned(), ..run.clone() })
}

/// Checks that a shell and, for ycred's own commands, its parser accept a command.
#[track_caller]
fn parse(seeded: &Seeded, fault: &Fault, fix: &str) {
    seeded.machine.world.sandbox.call("sh", ["-n", "-c", fix]).run().succeeds().stderr_is_empty();
    if let Some(rest) = fix.strip_prefix("ycred ") {
        let argv: Vec<OsString> = std::iter::once("ycred").chain(rest.split(' ')).map(OsString::from).collect();
        let parsed = ycred::cli::parse(&argv);
        assert!(parsed.is_ok(), "{}: {fix}: {}", fault.name, parsed.err().expect("a fault").error.render());
    } else {
        let program = fix.split(' ').next().expect("a word");
        let known = ["sudo", "podman", "docker", "kubectl", "\"${EDITOR:-vi}\""];
        assert!(known.contains(&program), "{}: {fix}", fault.name);
    }
}
