//! The hooks as their clients call them, one row each. Suites that cover all hooks read this table.
//!
//! A new hook is a new row in [`HOOKS`]. Rows follow the documentation of the clients. Only the symlink comes from
//! ycred's own table.
//!
//! One subject: the rows of the table, each with the code of its wire format.

use std::fmt;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use ycred::hooks::HOOKS as TABLE;

use crate::harness::{Call, Run, Sandbox, YCRED};

/// How a client calls a hook, and which replies it expects.
pub struct Hook {
    /// As in `ycred NAME`.
    pub name: &'static str,
    /// The calls for a token to `cr.yandex` or to another host of the default list. The first one is `ycred NAME …`.
    pub forms: &'static [Form],
    /// How the client names a host; `None` if it names none.
    pub host: Option<Host>,
    /// The reply holds the token itself, not something that the token was exchanged for.
    pub returns_token: bool,
    /// The exit code of a failure for which other hooks exit with this code.
    pub failure: fn(i32) -> i32,
    /// The exit code for wrong arguments and for a request that cannot be read.
    pub usage: i32,
    /// Stdout for a request that cannot be read, given the reason.
    pub rejection: fn(&str) -> String,
    /// Flags that mean something else to this client than to ycred.
    pub client_flags: &'static [&'static str],
    /// The response to an unknown operation, called by the symlink; `None` if there is no symlink.
    pub unknown: Option<Reply>,
    /// An operation with an extra argument, and the error message.
    pub extra_argument: Option<(&'static [&'static str], &'static str)>,
    /// The command with which a person runs the client; `None` if people call the hook themselves.
    pub run_by: Option<&'static str>,
}

/// One way in which a client calls a hook.
pub struct Form {
    pub name: &'static str,
    /// The arguments of `ycred`.
    pub words: &'static [&'static str],
    /// Empty if the hook must not read it.
    pub stdin: &'static str,
    /// Stdout for this token and this expiry, to the byte; `None` if it depends on more than these.
    pub reply: Option<fn(&str, &str) -> String>,
    /// Stdout of a run that failed with this stderr, to the byte.
    pub refusal: fn(&Run) -> String,
}

/// An exit code, stdout, and the number of lines on stderr.
pub struct Reply {
    pub code: i32,
    pub stdout: &'static str,
    pub lines: usize,
}

/// How a client names the host that it wants a token for.
pub struct Host {
    /// The arguments after the hook's name, and stdin. The host may be a whole URL.
    pub request: fn(&str) -> (Vec<String>, String),
    /// Arguments that only a call by symlink has.
    pub by_symlink: &'static [&'static str],
    /// True if the client can ask for this host.
    pub can_ask: fn(&str) -> bool,
    /// Exit code and stdout for a host that is not allowed: the protocol's "not found" response, to the byte.
    pub not_found: fn(&str, &Run) -> (i32, String),
    /// Stderr explains why a host is not allowed.
    pub explains: bool,
    /// People name the host, not programs.
    pub by_people: bool,
    /// Spellings of an allowed host, `{}`, that the client sends.
    pub spellings: &'static [&'static str],
    /// True if a token is supplied for plain http to a listed host on this machine; `None` if the client names no
    /// scheme.
    pub plain_http: Option<bool>,
    /// A token is supplied for the installation's APIs, not only for its registries.
    pub apis: bool,
}

pub const V1: &str =
    r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":true}}"#;

const KUBELET: &str = "credentialprovider.kubelet.k8s.io/v1";

/// The hooks, in the order of ycred's own table.
pub static HOOKS: &[Hook] = &[
    Hook {
        name: "kubectl",
        forms: &[Form {
            name: "kubectl",
            words: &["kubectl"],
            stdin: "",
            reply: Some(|token, expires| {
                format!(
                    "{{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"spec\":\
                     {{\"interactive\":true}},\"status\":{{\"expirationTimestamp\":\"{expires}\",\"token\":\"{token}\"}}}}\n"
                )
            }),
            refusal: |run| {
                let (reason, code) = match run.status.code() {
                    Some(1) => ("Unauthorized", 401),
                    Some(2 | 3) => ("BadRequest", 400),
                    Some(4) => ("ServiceUnavailable", 503),
                    _ => ("InternalError", 500),
                };
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": format!("ycred: {}", message(run)), "reason": reason, "code": code});
                format!("{status}\n")
            },
        }],
        // A kubeconfig names the server next to the plugin, and kubectl does not pass it on.
        host: None,
        run_by: Some(""),
        ..PLAIN
    },
    Hook {
        name: "docker",
        forms: &[Form {
            name: "docker",
            words: &["docker", "get"],
            stdin: "cr.yandex",
            reply: Some(|token, _| {
                format!("{{\"ServerURL\":\"cr.yandex\",\"Username\":\"iam\",\"Secret\":\"{token}\"}}\n")
            }),
            refusal: |run| format!("ycred: {}\n", message(run)),
        }],
        host: Some(Host {
            request: |host| (words(&["get"]), host.to_owned()),
            // docker trims its input.
            can_ask: |host| host.trim_ascii() == host || host.trim_ascii().is_empty(),
            not_found: |host, _| match host.trim_ascii().is_empty() {
                true => (1, "no credentials server URL\n".into()),
                false => (1, "credentials not found in native keychain\n".into()),
            },
            spellings: &[
                "{}",
                "{}:443",
                "https://{}",
                "https://{}/",
                "https://{}:443/v2/",
                "{}/crp123/app",
                "{}\n",
                "HTTPS://{}",
            ],
            plain_http: Some(true),
            ..HOST
        }),
        usage: 1,
        rejection: |reason| format!("ycred: {reason}\n"),
        client_flags: &["-v"],
        unknown: Some(Reply { code: 1, stdout: "ycred: unknown credential action `frobnicate`\n", lines: 1 }),
        extra_argument: Some((&["get", "cr.yandex"], "`ycred docker get` takes no arguments")),
        run_by: Some(""),
        ..PLAIN
    },
    Hook {
        name: "git",
        forms: &[
            Form {
                name: "git",
                words: &["git", "get"],
                stdin: "protocol=https\nhost=cr.yandex\n\n",
                reply: Some(|token, expires| {
                    format!("username=iam\npassword={token}\npassword_expiry_utc={}\n", seconds(expires))
                }),
                refusal: |_| "quit=1\n".into(),
            },
            Form {
                name: "git, bearer",
                words: &["git", "get"],
                stdin: "capability[]=authtype\nprotocol=https\nhost=cr.yandex\n\n",
                reply: Some(|token, expires| {
                    format!(
                        "capability[]=authtype\nauthtype=Bearer\ncredential={token}\nephemeral=1\npassword_expiry_utc={}\n",
                        seconds(expires)
                    )
                }),
                refusal: |_| "quit=1\n".into(),
            },
        ],
        host: Some(Host {
            request: |host| {
                let (scheme, rest) = host.split_once("://").unwrap_or(("https", host));
                (words(&["get"]), format!("capability[]=authtype\nprotocol={scheme}\nhost={rest}\n\n"))
            },
            // A value in a request cannot contain a line break.
            can_ask: |host| !host.contains(['\n', '\r']),
            not_found: |_, _| (0, String::new()),
            spellings: &["{}", "{}:443"],
            plain_http: Some(false),
            ..HOST
        }),
        unknown: Some(Reply { code: 0, stdout: "", lines: 0 }),
        extra_argument: Some((&["erase", "cr.yandex"], "`ycred git erase` takes no arguments")),
        run_by: Some(""),
        ..PLAIN
    },
    Hook {
        name: "terraform",
        forms: &[Form {
            name: "terraform",
            words: &["terraform", "get", "cr.yandex"],
            stdin: "",
            reply: Some(|token, _| format!("{{\"token\":\"{token}\"}}\n")),
            refusal: |_| String::new(),
        }],
        host: Some(Host {
            request: |host| (words(&["get", host]), String::new()),
            can_ask: |host| !host.contains('\0') && !host.starts_with('-'),
            not_found: |_, _| (0, "{}\n".into()),
            spellings: &["{}", "{}:443"],
            ..HOST
        }),
        unknown: Some(Reply { code: 2, stdout: "", lines: 1 }),
        extra_argument: Some((&["get", "cr.yandex", "x"], "`ycred terraform get` takes HOST")),
        run_by: Some("ycred exec -- "),
        ..PLAIN
    },
    Hook {
        name: "aws",
        // The reply is an access key, which only the emulator knows: stories/access_keys.rs checks it.
        forms: &[Form { name: "aws", words: &["aws"], stdin: "", reply: None, refusal: |_| String::new() }],
        // A profile of the AWS SDKs names the server next to the helper, and they do not pass it on.
        host: None,
        returns_token: false,
        // The AWS CLI needs keys. A token in its environment does not replace them.
        run_by: Some("ycred exec --serve -- "),
        ..PLAIN
    },
    Hook {
        name: "kubelet",
        // The reply holds the token's remaining validity: stories/kubelet.rs checks it.
        forms: &[Form {
            name: "kubelet",
            words: &["kubelet"],
            stdin: r#"{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"cr.yandex/a/b:1"}"#,
            reply: None,
            refusal: |_| String::new(),
        }],
        host: Some(Host {
            request: |host| {
                let image = format!("{host}/team/image:1");
                let request = json!({"kind": "CredentialProviderRequest", "apiVersion": KUBELET, "image": image});
                (Vec::new(), request.to_string())
            },
            // The reply repeats the image. Each test checks that it holds no token.
            not_found: |_, run| (0, run.stdout.clone()),
            spellings: &["{}", "{}:443"],
            ..HOST
        }),
        ..PLAIN
    },
    Hook {
        name: "bazel",
        forms: &[Form {
            name: "bazel",
            words: &["bazel", "get"],
            stdin: r#"{"uri":"https://cr.yandex/v2/?x=y"}"#,
            reply: Some(|token, expires| {
                format!("{{\"expires\":\"{expires}\",\"headers\":{{\"Authorization\":[\"Bearer {token}\"]}}}}\n")
            }),
            refusal: |_| String::new(),
        }],
        host: Some(Host {
            request: |host| (words(&["get"]), json!({"uri": url(host)}).to_string()),
            // Bazel gets tokens for the cloud's own APIs.
            can_ask: |host| !host.ends_with(".api.cloud.yandex.net"),
            not_found: |_, _| (1, String::new()),
            explains: true,
            spellings: &["{}", "{}:443", "https://{}", "https://{}:443/v2/?x=y@evil.example", "HTTPS://{}/"],
            plain_http: Some(true),
            apis: true,
            ..HOST
        }),
        unknown: Some(Reply { code: 2, stdout: "", lines: 1 }),
        extra_argument: Some((&["get", "https://cr.yandex/"], "`ycred bazel get` takes no arguments")),
        run_by: Some(""),
        ..PLAIN
    },
    Hook {
        name: "cargo",
        forms: &[
            Form { name: "cargo", words: &["cargo"], ..CARGO },
            Form { name: "cargo, by its flag", words: &["--cargo-plugin"], ..CARGO },
        ],
        host: Some(Host {
            request: |host| {
                let registry = json!({"index-url": format!("sparse+{}", url(host)), "name": "x", "headers": []});
                let request = json!({"v": 1, "registry": registry, "kind": "get", "operation": "read", "args": []});
                (Vec::new(), format!("{request}\n"))
            },
            by_symlink: &["--cargo-plugin"],
            not_found: |_, _| (0, "{\"v\":[1]}\n{\"Err\":{\"kind\":\"url-not-supported\"}}\n".into()),
            spellings: &["{}", "{}:443", "https://{}", "https://{}:443/index/"],
            plain_http: Some(true),
            ..HOST
        }),
        // The exit code is 0 even if a request fails.
        failure: |_| 0,
        // Cargo passes no arguments. The hook sends its greeting even if there is one.
        unknown: Some(Reply { code: 0, stdout: "{\"v\":[1]}\n", lines: 0 }),
        run_by: Some(""),
        ..PLAIN
    },
    Hook {
        name: "goauth",
        forms: &[
            Form {
                name: "goauth",
                words: &["goauth"],
                stdin: "",
                reply: Some(|token, _| {
                    format!(
                        "https://cr.yandex\nhttps://cr.cloud.yandex.net\nhttps://container-registry.cloud.yandex.net\n\
                         https://registry.yandexcloud.net\nhttps://registry.pe.yandexcloud.net\n\nAuthorization: {}\n\n",
                        basic(token)
                    )
                }),
                refusal: |_| String::new(),
            },
            Form {
                name: "goauth, for a URL",
                words: &["goauth", "https://registry.yandexcloud.net/go/x/@v/list"],
                stdin: "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
                reply: Some(|token, _| {
                    format!("https://registry.yandexcloud.net\n\nAuthorization: {}\n\n", basic(token))
                }),
                refusal: |_| String::new(),
            },
        ],
        host: Some(Host {
            request: |host| (vec![url(host)], String::new()),
            can_ask: |host| !host.contains('\0'),
            not_found: |_, _| (0, String::new()),
            spellings: &["{}", "https://{}:443/go/x"],
            plain_http: Some(false),
            ..HOST
        }),
        run_by: Some(""),
        ..PLAIN
    },
    Hook {
        name: "pnpm",
        forms: &[Form {
            name: "pnpm",
            words: &["pnpm"],
            stdin: "",
            reply: Some(|token, _| format!("Bearer {token}\n")),
            refusal: |_| String::new(),
        }],
        // An .npmrc names the server next to the helper, and pnpm does not pass it on.
        host: None,
        unknown: Some(Reply { code: 2, stdout: "", lines: 1 }),
        run_by: Some(""),
        ..PLAIN
    },
    Hook {
        name: "keyring",
        forms: &[
            Form {
                name: "keyring, pip 23 and uv",
                words: &["keyring", "get", "https://registry.yandexcloud.net/pypi/x/simple/", "iam"],
                stdin: "",
                reply: Some(|token, _| format!("{token}\n")),
                refusal: |_| String::new(),
            },
            Form {
                name: "keyring, pip 26",
                words: &[
                    "keyring",
                    "--mode=creds",
                    "--output=json",
                    "get",
                    "https://registry.yandexcloud.net/pypi/x/simple/",
                ],
                stdin: "",
                reply: Some(|token, _| format!("{{\"password\":\"{token}\",\"username\":\"iam\"}}\n")),
                refusal: |_| String::new(),
            },
            Form {
                name: "keyring, uv without a user",
                words: &["keyring", "get", "https://registry.yandexcloud.net/pypi/x/simple/", "--mode", "creds"],
                stdin: "",
                reply: Some(|token, _| format!("iam\n{token}\n")),
                refusal: |_| String::new(),
            },
        ],
        host: Some(Host {
            request: |host| (words(&["get", host, "iam"]), String::new()),
            can_ask: |host| !host.contains('\0') && !host.starts_with('-'),
            not_found: |_, _| (1, String::new()),
            spellings: &["{}", "{}:443", "https://{}/pypi/x/simple/", "https://{}:443"],
            plain_http: Some(true),
            ..HOST
        }),
        unknown: Some(Reply { code: 1, stdout: "", lines: 2 }),
        run_by: Some(""),
        ..PLAIN
    },
    Hook {
        name: "token",
        forms: &[
            Form {
                name: "token",
                words: &["token"],
                stdin: "",
                reply: Some(|token, _| format!("{token}\n")),
                refusal: |_| String::new(),
            },
            Form {
                name: "token, json",
                words: &["token", "--format", "json"],
                stdin: "",
                reply: Some(|token, expires| format!("{}\n", json!({"iam_token": token, "expires_at": expires}))),
                refusal: |_| String::new(),
            },
            Form {
                name: "token, netrc",
                words: &["token", "--format", "netrc", "--host", "cr.yandex"],
                stdin: "",
                reply: Some(|token, _| format!("machine cr.yandex login iam password {token}\n")),
                refusal: |_| String::new(),
            },
            Form {
                name: "token, curl",
                words: &["token", "--format", "curl"],
                stdin: "",
                reply: Some(|token, _| format!("header = \"Authorization: Bearer {token}\"\n")),
                refusal: |_| String::new(),
            },
        ],
        host: Some(Host {
            request: |host| (vec!["--format=netrc".into(), format!("--host={host}")], String::new()),
            can_ask: |host| !host.contains('\0'),
            not_found: |_, _| (2, String::new()),
            explains: true,
            by_people: true,
            spellings: &["{}", "{}:443"],
            ..HOST
        }),
        ..PLAIN
    },
];

/// The defaults of a row.
const PLAIN: Hook = Hook {
    name: "",
    forms: &[],
    host: None,
    returns_token: true,
    failure: |code| code,
    usage: 2,
    rejection: |_| String::new(),
    client_flags: &[],
    unknown: None,
    extra_argument: None,
    run_by: None,
};

/// The defaults of a host in a row.
const HOST: Host = Host {
    request: |_| (Vec::new(), String::new()),
    by_symlink: &[],
    can_ask: |_| true,
    not_found: |_, _| (0, String::new()),
    explains: false,
    by_people: false,
    spellings: &[],
    plain_http: None,
    apis: false,
};

/// The parts that cargo's forms share.
const CARGO: Form = Form {
    name: "",
    words: &[],
    stdin: "{\"v\":1,\"registry\":{\"index-url\":\"sparse+https://cr.yandex/\",\"name\":\"yc\",\"headers\":[]},\
            \"kind\":\"get\",\"operation\":\"read\",\"args\":[]}\n",
    reply: Some(|token, expires| {
        format!(
            "{{\"v\":[1]}}\n{{\"Ok\":{{\"cache\":\"expires\",\"expiration\":{},\"kind\":\"get\",\
             \"operation_independent\":true,\"token\":\"Bearer {token}\"}}}}\n",
            seconds(expires)
        )
    }),
    refusal: |run| {
        let (error, causes) = (line(run, "ycred: error: "), Vec::from_iter(line(run, "ycred: hint: ")));
        format!("{{\"v\":[1]}}\n{}\n", json!({"Err": {"kind": "other", "message": error, "caused-by": causes}}))
    },
};

impl Hook {
    /// Returns the row of this name.
    #[track_caller]
    pub fn named(name: &str) -> &'static Hook {
        HOOKS.iter().find(|hook| hook.name == name).unwrap_or_else(|| panic!("there is no row for the hook {name}"))
    }

    /// Returns the name under which the client finds the hook, from ycred's own table.
    pub fn symlink(&self) -> Option<&'static str> {
        let hooks = TABLE.iter();
        hooks.into_iter().find(|hook| hook.name == self.name).and_then(|hook| hook.symlink)
    }

    /// Returns the arguments after the hook's name in its first form.
    pub fn operands(&self) -> &'static [&'static str] {
        &self.forms[0].words[1..]
    }

    /// Checks that the reply holds this token: as Basic credentials if the hook writes them, and in the clear
    /// otherwise.
    #[track_caller]
    pub fn assert_gave_token(&self, run: &Run, token: &str) {
        let is_basic = self.forms[0].reply.is_some_and(|reply| !reply(token, "").contains(token));
        let shown = if is_basic { basic(token) } else { token.to_owned() };
        assert!(run.stdout.contains(&shown), "{self:?}: expected the token\n{run}");
    }

    /// True if the hook reads one request, up to the end of stdin.
    pub fn reads_one_request(&self) -> bool {
        !self.forms[0].stdin.is_empty() && (self.failure)(1) != 0
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Form {
    /// Returns the call in the sandbox, with these flags in front.
    pub fn call(&self, sandbox: &Sandbox, flags: &[&str]) -> Call {
        let call = sandbox.ycred(flags.iter().chain(self.words)).env("KUBERNETES_EXEC_INFO", V1);
        if self.stdin.is_empty() { call } else { call.stdin(self.stdin) }
    }
}

/// Returns every form of every hook.
pub fn forms() -> impl Iterator<Item = (&'static Hook, &'static Form)> {
    HOOKS.iter().flat_map(|hook| hook.forms.iter().map(move |form| (hook, form)))
}

/// A hook whose client names a host.
#[derive(Clone, Copy)]
pub struct HostHook {
    pub hook: &'static Hook,
    pub host: &'static Host,
}

/// Returns every hook that gets a host from its client.
pub fn with_host() -> impl Iterator<Item = HostHook> {
    HOOKS.iter().filter_map(|hook| Some(HostHook { hook, host: hook.host.as_ref()? }))
}

/// Returns those of them that programs call, not people.
pub fn programs() -> impl Iterator<Item = HostHook> {
    with_host().filter(|client| !client.host.by_people)
}

impl fmt::Debug for HostHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hook.name)
    }
}

impl HostHook {
    /// Returns the call for a host, by the subcommand, or by the symlink if there is one.
    pub fn call_for_host(self, sandbox: &Sandbox, by_symlink: bool, host: &str) -> Call {
        match self.hook.symlink().filter(|_| by_symlink) {
            Some(link) => self.call_by_symlink(sandbox, link, host),
            None => {
                let (words, stdin) = (self.host.request)(host);
                let words = [self.hook.name.to_owned()].into_iter().chain(words);
                with_stdin(sandbox.call(YCRED, words), stdin).env("PATH", sandbox.path("bin"))
            }
        }
    }

    /// Returns the call for a host by a symlink in `bin`.
    pub fn call_by_symlink(self, sandbox: &Sandbox, link: &str, host: &str) -> Call {
        let (words, stdin) = (self.host.request)(host);
        let words = words.into_iter().chain(self.host.by_symlink.iter().map(|&word| word.to_owned()));
        let call = sandbox.call(sandbox.path("bin").join(link), words);
        // No other program of that name may respond, except those that the test installs.
        with_stdin(call, stdin).env("PATH", sandbox.path("bin"))
    }

    /// Checks that the run gave the protocol's own response for a host that is not allowed, and nothing else.
    #[track_caller]
    pub fn assert_not_found(self, run: &Run, what: &str) {
        let (code, stdout) = (self.host.not_found)(what, run);
        assert_eq!((run.status.code(), &run.stdout), (Some(code), &stdout), "{self:?} for {what:?}\n{run}");
        let lines: Vec<&str> = run.stderr.lines().collect();
        match self.host.explains {
            true => {
                assert!(lines.len() <= 2 && lines[0].starts_with("ycred: error: "), "{self:?} for {what:?}\n{run}");
            }
            false => assert!(lines.is_empty() || what.trim_ascii().is_empty(), "{self:?} for {what:?}\n{run}"),
        }
    }
}

/// Creates the symlink of every hook that gets a host from its client.
pub fn link_all(sandbox: &Sandbox) {
    for link in with_host().filter_map(|client| client.hook.symlink()) {
        sandbox.link(link);
    }
}

fn with_stdin(call: Call, stdin: String) -> Call {
    if stdin.is_empty() { call } else { call.stdin(stdin) }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Returns the URL that a client sends for a host if it only sends URLs.
fn url(host: &str) -> String {
    if host.contains("://") { host.to_owned() } else { format!("https://{host}/x?y=z") }
}

/// Returns the value of `Authorization` for the user `iam` and this password.
fn basic(password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("iam:{password}")))
}

/// Returns true if the reply holds any token: in the clear, or as Basic credentials that start with `iam:t1.`.
pub fn has_token(run: &Run) -> bool {
    run.stdout.contains("t1.") || run.stdout.contains("aWFtOnQxL")
}

/// Returns the line of stderr with this label, without the label.
fn line(run: &Run, label: &str) -> Option<String> {
    run.lines_of_stderr(label).first().map(|line| line[label.len()..].to_owned())
}

/// Returns the error and the hint on stderr, in the form that error messages of protocols repeat.
#[track_caller]
fn message(run: &Run) -> String {
    let error = line(run, "ycred: error: ").unwrap_or_else(|| panic!("no error\n{run}"));
    match line(run, "ycred: hint: ") {
        Some(hint) => format!("{error} ({hint})"),
        None => error,
    }
}

/// Returns the seconds since 1970 of a time in RFC 3339.
fn seconds(time: &str) -> i64 {
    OffsetDateTime::parse(time, &Rfc3339).map_or(0, OffsetDateTime::unix_timestamp)
}

/// Returns the expiry in a reply, in RFC 3339.
pub fn expiry_in(stdout: &str) -> String {
    if let Some(at) = stdout.find("20").filter(|at| stdout[*at..].get(10..11) == Some("T")) {
        return stdout[at..at + 20].to_owned();
    }
    let after = ["password_expiry_utc=", "\"expiration\":"].iter().find_map(|name| stdout.rsplit_once(name));
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let seconds = after.and_then(|(_, text)| digits(text).parse().ok());
    let time = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

#[test]
fn the_rows_are_the_hooks_of_ycred() {
    let known: Vec<&str> = TABLE.iter().map(|hook| hook.name).collect();
    let rows: Vec<&str> = HOOKS.iter().map(|hook| hook.name).collect();
    for name in &known {
        assert!(rows.contains(name), "ycred has the hook {name}: add its row to integration/hooks.rs");
    }
    for hook in HOOKS {
        let name = hook.name;
        assert!(known.contains(&name), "ycred has no hook {name}: remove its row from integration/hooks.rs");
        assert!(!hook.forms.is_empty(), "{name}: the row has no form");
        assert_eq!(hook.forms[0].words[0], name, "the first form is `ycred {name} …`");
        assert_eq!(
            hook.unknown.is_some(),
            hook.symlink().is_some(),
            "{name}: `unknown` must be set if and only if the hook has a symlink"
        );
    }
    assert_eq!(rows, known, "the rows must be in the order of ycred's table");
}
