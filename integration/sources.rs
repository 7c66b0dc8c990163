//! The sources of tokens, one row each. Suites that cover all sources read this table.
//!
//! A new source is a new row in [`SOURCES`].
//!
//! One subject: the rows of the table, each with the files and variables that its source reads.

pub mod case;
pub mod person;
pub mod workload;

use std::path::PathBuf;

use base64::Engine as _;
use rand::Rng as _;
use serde_json::json;

use crate::emulator::keys::{AuthorizedKey, RsaKey};
use crate::harness::Sandbox;
use case::Case;
use workload::{COMMAND, FILE, GITHUB, VARIABLE, github};

/// A source, as the suites use it.
pub struct Source {
    /// As in `source = "NAME"`.
    pub name: &'static str,
    /// Ways to use it against the emulator. Suites that need only one take the last.
    pub uses: &'static [Use],
    /// Ways in which it gets a secret.
    pub ways: &'static [Way],
    /// ycred caches its tokens.
    pub is_cached: bool,
}

/// A way to use a source against the emulator.
pub struct Use {
    pub name: &'static str,
    pub start: fn() -> Case,
}

/// A way in which a source gets a secret, for the search of leaked secrets.
pub struct Way {
    pub name: &'static str,
    /// How many responses of the cloud are tried: [`EVERY`], or fewer if the source makes no request, or if another row
    /// differs only in where the secret is.
    pub answers: usize,
    /// Writes the files in the sandbox. Returns the profile, for a cloud at this URL, and the variables.
    pub prepare: fn(&Sandbox, &str, &mut Secrets) -> (String, Variables),
}

/// Every response of the cloud is tried.
const EVERY: usize = usize::MAX;

pub type Variables = Vec<(&'static str, String)>;

/// The secrets of a [`Way`], by name.
#[derive(Default)]
pub struct Secrets(pub Vec<(&'static str, String)>);

impl Secrets {
    fn add(&mut self, name: &'static str, secret: &str) {
        self.0.push((name, secret.to_owned()));
    }
}

/// The rows, in the order of ycred's own table.
pub static SOURCES: &[Source] = &[
    Source {
        name: "authorized-key",
        uses: &[Use { name: "a key file", start: Case::authorized_key }],
        ways: &[
            Way {
                name: "authorized key in a file",
                answers: EVERY,
                prepare: |sandbox, url, secrets| {
                    let key = AuthorizedKey::new("ajeaaaaaaaaaaaaaaaaa", RsaKey::shared());
                    key.write(sandbox.path("config/key.json")).expect("a key file");
                    secrets.add("key", &key.file().without_line().pem());
                    (format!("source = \"authorized-key\"\nkey-file = \"key.json\"\niam-url = \"{url}\"\n"), Vec::new())
                },
            },
            Way {
                name: "authorized key, to impersonate",
                answers: EVERY,
                prepare: |sandbox, url, secrets| {
                    let key = AuthorizedKey::new("ajeaaaaaaaaaaaaaaaaa", RsaKey::shared());
                    key.write(sandbox.path("config/key.json")).expect("a key file");
                    secrets.add("key", &key.file().without_line().pem());
                    let more = "impersonate = [\"ajebbbbbbbbbbbbbbbbb\", \"ajeccccccccccccccccc\"]";
                    (
                        format!("source = \"authorized-key\"\nkey-file = \"key.json\"\niam-url = \"{url}\"\n{more}\n"),
                        Vec::new(),
                    )
                },
            },
        ],
        is_cached: true,
    },
    Source {
        name: "oauth",
        uses: &[Use { name: "a token file", start: Case::oauth }],
        ways: &[
            Way {
                name: "OAuth token in a file",
                answers: EVERY,
                prepare: |sandbox, url, secrets| {
                    let oauth = random_secret(58);
                    sandbox.file("config/oauth", format!("{oauth}\n"));
                    secrets.add("OAuth token", &oauth);
                    (format!("source = \"oauth\"\noauth-token-file = \"oauth\"\niam-url = \"{url}\"\n"), Vec::new())
                },
            },
            Way {
                name: "OAuth token in a variable",
                answers: 3,
                prepare: |_, url, secrets| {
                    let oauth = random_secret(58);
                    secrets.add("OAuth token", &oauth);
                    (
                        format!("source = \"oauth\"\noauth-token-env = \"MY_OAUTH\"\niam-url = \"{url}\"\n"),
                        vec![("MY_OAUTH", oauth)],
                    )
                },
            },
            Way {
                name: "OAuth token of a command",
                answers: 3,
                prepare: |sandbox, url, secrets| {
                    let oauth = random_secret(58);
                    secrets.add("OAuth token", &oauth);
                    // Not in the script itself, which ycred cannot keep free of secrets.
                    let file = sandbox.file("config/oauth", format!("{oauth}\n"));
                    let script = command(sandbox, &format!("cat '{}'; cat '{0}' >&2", file.display()));
                    (
                        format!(
                            "source = \"oauth\"\noauth-token-command = [\"{}\"]\niam-url = \"{url}\"\n",
                            script.display()
                        ),
                        Vec::new(),
                    )
                },
            },
        ],
        is_cached: true,
    },
    Source {
        name: "metadata",
        uses: &[Use { name: "the metadata service", start: Case::metadata }],
        ways: &[Way {
            name: "metadata",
            answers: EVERY,
            prepare: |_, url, _| {
                let address = url.trim_start_matches("http://");
                (format!("source = \"metadata\"\nmetadata-addr = \"{address}\"\n"), Vec::new())
            },
        }],
        is_cached: true,
    },
    Source {
        name: "workload",
        uses: &[
            Use { name: "a file", start: || Case::workload(|_| FILE.to_owned()) },
            Use { name: "a variable", start: || Case::workload(|_| VARIABLE.to_owned()) },
            Use { name: "a command", start: || Case::workload(|_| COMMAND.to_owned()) },
            Use { name: "GitHub Actions", start: || Case::workload(github) },
        ],
        ways: &[
            Way {
                name: "a subject token in a file",
                answers: EVERY,
                prepare: |sandbox, url, secrets| {
                    let token = jwt();
                    secrets.add("subject token", &token);
                    sandbox.file("config/subject-token", format!("{token}\n"));
                    (workload(url, "subject-token-file = \"subject-token\""), Vec::new())
                },
            },
            Way {
                name: "an opaque subject token in a file, to impersonate",
                answers: EVERY,
                prepare: |sandbox, url, secrets| {
                    let token = random_secret(200);
                    secrets.add("subject token", &token);
                    sandbox.file("config/subject-token", format!("{token}\n"));
                    let more = format!("iam-url = \"{url}\"\nimpersonate = \"ajebbbbbbbbbbbbbbbbb\"");
                    (workload(url, &format!("subject-token-file = \"subject-token\"\n{more}")), Vec::new())
                },
            },
            Way {
                name: "a subject token in a variable",
                answers: 3,
                prepare: |_, url, secrets| {
                    let token = jwt();
                    secrets.add("subject token", &token);
                    (workload(url, "subject-token-env = \"MY_ID_TOKEN\""), vec![("MY_ID_TOKEN", token)])
                },
            },
            Way {
                name: "an opaque subject token in a variable",
                answers: EVERY,
                prepare: |_, url, secrets| {
                    let token = random_secret(200);
                    secrets.add("subject token", &token);
                    (workload(url, "subject-token-env = \"MY_ID_TOKEN\""), vec![("MY_ID_TOKEN", token)])
                },
            },
            Way {
                name: "two subject tokens in a file",
                answers: 1,
                prepare: |sandbox, url, secrets| {
                    let (first, second) = (jwt(), random_secret(60));
                    secrets.add("subject tokens", &format!("{first}\n{second}"));
                    sandbox.file("config/subject-token", format!("{first}\n{second}\n"));
                    (workload(url, "subject-token-file = \"subject-token\""), Vec::new())
                },
            },
            Way {
                name: "a subject token of a command",
                answers: 3,
                prepare: |sandbox, url, secrets| {
                    let token = jwt();
                    secrets.add("subject token", &token);
                    let file = sandbox.file("config/subject-token", format!("{token}\n"));
                    let script = command(sandbox, &format!("cat '{}'; cat '{0}' >&2", file.display()));
                    (workload(url, &format!("subject-token-command = [\"{}\"]", script.display())), Vec::new())
                },
            },
            Way {
                name: "an ID token of GitHub Actions",
                answers: EVERY,
                prepare: |_, url, secrets| {
                    let token = random_secret(200);
                    secrets.add("request token", &token);
                    let variables = vec![
                        ("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{url}{GITHUB}?api-version=2.0")),
                        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", token),
                    ];
                    (workload(url, "github-audience = \"https://github.com/owner\""), variables)
                },
            },
        ],
        is_cached: true,
    },
    // The tests of logins have their own fixture, and search for secrets themselves.
    Source { name: "login", uses: &[], ways: &[], is_cached: true },
    Source {
        name: "command",
        uses: &[Use { name: "a command", start: Case::command }],
        ways: &[
            Way {
                name: "a command that succeeds and prints the token to stderr",
                answers: 1,
                prepare: |sandbox, _, secrets| {
                    let token = random_secret(100);
                    secrets.add("token", &token);
                    let file = sandbox.file("config/token", format!("{token}\n"));
                    let script =
                        command(sandbox, &format!("cat '{}'; echo \"+ gave $(cat '{0}')\" >&2", file.display()));
                    (format!("source = \"command\"\ncommand = [\"{}\"]\n", script.display()), Vec::new())
                },
            },
            Way {
                name: "a command that fails after printing a token",
                answers: 1,
                prepare: |sandbox, _, secrets| {
                    let token = random_secret(100);
                    secrets.add("command's output", &token);
                    let file = sandbox.file("config/token", format!("{token}\n"));
                    let script = command(
                        sandbox,
                        &format!("cat '{}'; echo \"+ gave $(cat '{0}')\" >&2; exit 7", file.display()),
                    );
                    (format!("source = \"command\"\ncommand = [\"{}\"]\n", script.display()), Vec::new())
                },
            },
            Way {
                name: "a command that prints no token",
                answers: 1,
                prepare: |sandbox, _, secrets| {
                    let (first, second) = (random_secret(60), random_secret(60));
                    secrets.add("command's output", &format!("{first}\n{second}"));
                    let file = sandbox.file("config/token", format!("{first} {second}\n"));
                    let script = command(sandbox, &format!("cat '{}'; cat '{0}' >&2", file.display()));
                    (format!("source = \"command\"\ncommand = [\"{}\"]\n", script.display()), Vec::new())
                },
            },
            Way {
                name: "a command that prints broken JSON",
                answers: 1,
                prepare: |sandbox, _, secrets| {
                    let token = random_secret(100);
                    secrets.add("command's output", &token);
                    let file =
                        sandbox.file("config/token", format!("{{\"iam_token\": \"{token}\", \"expires_at\": 7\n"));
                    let script = command(sandbox, &format!("cat '{}'", file.display()));
                    (format!("source = \"command\"\ncommand = [\"{}\"]\n", script.display()), Vec::new())
                },
            },
        ],
        is_cached: true,
    },
    Source {
        name: "static",
        uses: &[Use { name: "a variable", start: Case::fixed }],
        ways: &[
            Way {
                name: "a static token in a file",
                answers: 1,
                prepare: |sandbox, _, secrets| {
                    let token = random_secret(100);
                    secrets.add("token", &token);
                    sandbox.file("config/token", format!("{token}\n"));
                    ("source = \"static\"\ntoken-file = \"token\"\n".to_owned(), Vec::new())
                },
            },
            Way {
                name: "a static token in a variable",
                answers: 1,
                prepare: |_, _, secrets| {
                    let token = random_secret(100);
                    secrets.add("token", &token);
                    ("source = \"static\"\ntoken-env = \"MY_TOKEN\"\n".to_owned(), vec![("MY_TOKEN", token)])
                },
            },
            Way {
                name: "two static tokens in a variable",
                answers: 1,
                prepare: |_, _, secrets| {
                    let (first, second) = (random_secret(50), random_secret(50));
                    secrets.add("static token", &format!("{first}\n{second}"));
                    (
                        "source = \"static\"\ntoken-env = \"MY_TOKEN\"\n".to_owned(),
                        vec![("MY_TOKEN", format!("{first} '{second}"))],
                    )
                },
            },
        ],
        is_cached: false,
    },
];

impl Use {
    /// Returns the use of this name of this source.
    #[track_caller]
    pub fn of(source: &str, name: &str) -> &'static Use {
        let row = SOURCES.iter().find(|row| row.name == source);
        let row = row.and_then(|row| row.uses.iter().find(|row| row.name == name));
        row.unwrap_or_else(|| panic!("the source {source} has no use {name}"))
    }
}

/// Returns a secret in no known format, so that ycred can mask it only if it knows the value.
pub fn random_secret(length: usize) -> String {
    rand::thread_rng().sample_iter(rand::distributions::Alphanumeric).take(length).map(char::from).collect()
}

/// Returns a JWT without a valid signature.
fn jwt() -> String {
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let (id, signature) = (random_secret(20), random_secret(86));
    let payload = json!({"jti": id, "iss": "https://issuer.example", "sub": "somebody", "aud": "yc", "exp": 1});
    format!("{}.{}.{signature}", encode(&json!({"kid": id}).to_string()), encode(&payload.to_string()))
}

/// Returns a profile of source `workload` with these lines added.
fn workload(url: &str, more: &str) -> String {
    format!("source = \"workload\"\nservice-account-id = \"ajeaaaaaaaaaaaaaaaaa\"\nauth-url = \"{url}\"\n{more}\n")
}

/// Writes a shell script with a random name.
fn command(sandbox: &Sandbox, script: &str) -> PathBuf {
    sandbox.script(format!("bin/{}", random_secret(8)), &format!("#!/bin/sh\n{script}\n"))
}

#[test]
fn the_rows_are_the_sources_of_ycred() {
    let known: Vec<&str> = ycred::sources::SOURCES.iter().map(|source| source.name).collect();
    let rows: Vec<&str> = SOURCES.iter().map(|source| source.name).collect();
    for name in &known {
        assert!(rows.contains(name), "ycred has the source {name}: add its row to integration/sources.rs");
    }
    for name in &rows {
        assert!(known.contains(name), "ycred has no source {name}: remove its row from integration/sources.rs");
    }
    assert_eq!(rows, known, "the rows must be in the order of ycred's table");
}
