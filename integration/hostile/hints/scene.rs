//! How a hint is provoked and followed.

use crate::harness::{Call, Sandbox, YCRED};

/// A sandbox in which a call fails with a hint, and what to expect of the hint's command.
pub struct Scene {
    /// Whatever must outlive the test.
    keep: Box<dyn std::any::Any>,
    sandbox: fn(&dyn std::any::Any) -> &Sandbox,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    stdin: Option<String>,
    /// How the command starts in the hint.
    command: &'static str,
    /// Replaces what only the user knows, such as FILE.
    fill: Vec<(&'static str, String)>,
    then: Then,
}

/// What must hold after the hint's command.
#[derive(Clone, Copy)]
pub enum Then {
    /// The same call succeeds, without a warning.
    Fixed,
    /// The hint's command itself is what the user wanted.
    Done,
    /// The same call fails with another error, which contains this.
    Other(&'static str),
}

impl Scene {
    /// A scene in which `arguments` fail.
    pub fn new<K: Holder + 'static>(keep: K, arguments: &[&str], command: &'static str) -> Scene {
        if !keep.sandbox().path("bin/ycred").exists() {
            keep.sandbox().link("ycred");
        }
        Scene {
            keep: Box::new(keep),
            sandbox: |keep| keep.downcast_ref::<K>().expect("the type that it was made of").sandbox(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            environment: Vec::new(),
            stdin: None,
            command,
            fill: Vec::new(),
            then: Then::Fixed,
        }
    }

    pub fn env(mut self, name: &'static str, value: impl Into<String>) -> Scene {
        self.environment.push((name, value.into()));
        self
    }

    pub fn stdin(mut self, text: impl Into<String>) -> Scene {
        self.stdin = Some(text.into());
        self
    }

    pub fn fill(mut self, place: &'static str, value: impl Into<String>) -> Scene {
        self.fill.push((place, value.into()));
        self
    }

    pub fn then(mut self, then: Then) -> Scene {
        self.then = then;
        self
    }

    fn prepared(&self, mut call: Call) -> Call {
        for (name, value) in &self.environment {
            call = call.env(name, value);
        }
        match &self.stdin {
            Some(text) => call.stdin(text.as_str()),
            None => call,
        }
    }

    /// Fails, follows the hint, and tries again in the same shell.
    #[track_caller]
    pub fn follow(&self, hint: &str) {
        let sandbox = (self.sandbox)(self.keep.as_ref());
        let failed = self.prepared(sandbox.ycred(&self.arguments)).run();
        let label = if failed.status.success() { "ycred: warning: " } else { "ycred: hint: " };
        // A report has them on stdout.
        let fixes = failed.stdout.lines().filter(|line| line.starts_with("fix "));
        let printed: String = failed.lines_of_stderr(label).into_iter().chain(fixes).collect();
        // Where another profile than the default was chosen, the command names it.
        let chosen = self.arguments.iter().position(|argument| argument == "-p").map(|at| &self.arguments[at + 1]);
        let unnamed =
            chosen.map_or_else(|| printed.clone(), |name| printed.replacen(&format!(" --profile {name}"), "", 1));
        assert!(has_parts(&printed, hint) || has_parts(&unnamed, hint), "expected the hint {hint:?}\n{failed}");
        let mut command =
            command_in(&printed, self.command).unwrap_or_else(|| panic!("no {:?}\n{failed}", self.command));
        for (place, value) in &self.fill {
            assert!(command.contains(place), "no {place} in {command}");
            command = command.replace(place, value);
        }
        // A shell of its own for what must not see the request.
        let script = match self.then {
            Then::Done => command.clone(),
            _ => format!("{command} >followed 2>&1 </dev/null || {{ cat followed >&2; exit 99; }}\nexec \"$@\""),
        };
        let call = sandbox.call("sh", ["-c", &script, "sh", YCRED]).and(&self.arguments);
        let run = self.prepared(call).run();
        match self.then {
            Then::Fixed => drop(run.succeeds().stderr_is_empty()),
            Then::Done => drop(run.succeeds()),
            Then::Other(error) => {
                assert_ne!(run.status.code(), Some(99), "{command}\n{run}");
                assert!(run.stderr != failed.stderr, "{run}");
                run.stderr_has(error);
            }
        }
    }
}

/// What has a sandbox.
pub trait Holder {
    fn sandbox(&self) -> &Sandbox;
}

/// Returns true if the text has the fixed parts of a format string, in their order.
pub fn has_parts(text: &str, format: &str) -> bool {
    let mut rest = text;
    let mut parts = Vec::new();
    let mut open = format;
    while let Some((fixed, more)) = open.split_once('{') {
        parts.push(fixed);
        open = more.split_once('}').map_or("", |(_, after)| after);
    }
    parts.push(open);
    parts.iter().all(|part| match rest.find(part.trim()) {
        Some(at) => {
            rest = &rest[at + part.trim().len()..];
            true
        }
        None => false,
    })
}

/// Returns the command in a hint: from its first words to the end, or to what no command has outside of quotes.
pub fn command_in(hint: &str, start: &str) -> Option<String> {
    let text = &hint[hint.find(start)?..];
    let mut is_quoted = false;
    let end = text.char_indices().find(|(at, c)| {
        is_quoted ^= *c == '\'';
        let rest = &text[*at..];
        !is_quoted && ["`", ", ", "; ", " (", ": "].iter().any(|end| rest.starts_with(end))
    });
    Some(text[..end.map_or(text.len(), |(at, _)| at)].to_owned())
}
