//! Secrets: none of them, nor any eight bytes of one, is anywhere but where it belongs, whatever goes wrong.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use super::commons::{Commons, NOBODY};
use super::records::{record, token_in};
use crate::emulator::access_keys::EPHEMERAL_ACCESS_KEYS;
use crate::emulator::faults::{Endpoint, Fault};
use crate::emulator::keys::{AuthorizedKey, RsaKey};
use crate::emulator::{METADATA, TOKENS, auth};
use crate::harness::files::{make_private, mode, names, set_mode};
use crate::harness::machine::{require_root, require_tracer};
use crate::harness::strace::{Step, traced};
use crate::harness::{Run, Sandbox, YCRED, run_all, tried};
use crate::hooks::{HOOKS, forms};
use crate::server::{Delivery, Request, Response, Server, Stage};
use crate::sources::person::Person;
use crate::sources::workload::GITHUB;
use crate::sources::{SOURCES, Secrets, Source, Way, shapeless};
use crate::world::World;

// ------------------------------------------------------------------------------------------------------------- the net

/// The shortest piece of a secret that counts as the secret.
const PIECE: usize = 8;

/// Secrets by name, and every piece of them.
#[derive(Default, Clone)]
struct Net {
    secrets: Vec<(String, String)>,
    pieces: HashMap<[u8; PIECE], usize>,
}

impl Net {
    fn add(&mut self, name: &str, secret: &str) {
        let number = self.secrets.len();
        self.secrets.push((name.to_owned(), secret.to_owned()));
        // A PEM's armour is no secret.
        for line in secret.lines().filter(|line| !line.starts_with("-----")) {
            let pieces = line.as_bytes().windows(PIECE).filter_map(|piece| piece.try_into().ok());
            self.pieces.extend(pieces.map(|piece: [u8; PIECE]| (piece, number)));
        }
    }

    /// The first piece of a secret in this text, and of which.
    fn catch(&self, text: &[u8]) -> Option<String> {
        text.windows(PIECE).find_map(|piece| {
            let number = self.pieces.get(piece)?;
            Some(format!("{}: {:?}", self.secrets[*number].0, String::from_utf8_lossy(piece)))
        })
    }

    /// Without the secrets of this name.
    fn without(&self, name: &str) -> Net {
        let mut net = Net::default();
        for (other, secret) in self.secrets.iter().filter(|(other, _)| other != name) {
            net.add(other, secret);
        }
        net
    }
}

#[test]
fn the_net_catches_pieces_of_eight_bytes_and_none_of_seven() {
    let mut net = Net::default();
    net.add("secret", "correct-horse");
    assert!(net.catch(b"a correct-").is_some());
    assert!(net.catch(b"ct-horse").is_some());
    assert!(net.catch(b"a correct x").is_none());
    assert!(net.catch(b"t-horse").is_none());
}

// ------------------------------------------------------------------------------------------------------ the eavesdropper

/// What the cloud does with what it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Gives a token.
    Good,
    /// Refuses with google.rpc.Status, quoting the request.
    QuotesInStatus,
    /// Refuses with plain text, quoting the request.
    QuotesInText,
    /// Quotes it in every header that is read.
    QuotesInHeaders,
    /// Redirects to an address with the request in it.
    Redirects,
    /// Answers 200 with the request in place of a token, and in the content type.
    Garbles,
    /// Gives a token that is none, with the real one in it.
    GivesBadToken,
    /// Breaks off in the middle of the token.
    BreaksOff,
    /// Refuses for the moment, quoting the request.
    IsBusy,
}

const MANNERS: [Manner; 9] = [
    Manner::Good,
    Manner::QuotesInStatus,
    Manner::QuotesInText,
    Manner::QuotesInHeaders,
    Manner::Redirects,
    Manner::Garbles,
    Manner::GivesBadToken,
    Manner::BreaksOff,
    Manner::IsBusy,
];

/// A cloud that repeats what it hears, and remembers it.
struct Eavesdropper {
    server: Server,
    shared: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    manner: Option<Manner>,
    /// What it was shown since it was last told how to behave: JWTs, OAuth tokens, bearers.
    shown: Vec<(String, String)>,
    /// What it gave since then.
    given: Vec<String>,
    /// The same of all time.
    all_shown: Vec<(String, String)>,
    all_given: Vec<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Eavesdropper {
    fn start() -> Eavesdropper {
        let shared = Arc::new(Mutex::new(Heard::default()));
        let server = Server::start(None, {
            let shared = Arc::clone(&shared);
            move |request| lock(&shared).answer(request)
        });
        Eavesdropper { server, shared }
    }

    fn behave(&self, manner: Manner) {
        let mut heard = lock(&self.shared);
        let Heard { shown, given, all_shown, all_given, .. } = &mut *heard;
        all_shown.append(shown);
        all_given.append(given);
        heard.manner = Some(manner);
    }
}

impl Heard {
    fn answer(&mut self, request: &Request) -> Response {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut quoted = request.text();
        for name in ["jwt", "yandexPassportOauthToken"] {
            if let Some(text) = body.get(name).and_then(Value::as_str) {
                self.shown.push((name.to_owned(), text.to_owned()));
                quoted += &format!(" {text}");
            }
        }
        if let Some(token) = auth::read_form(request).ok().and_then(|mut form| form.remove("subject_token")) {
            quoted += &format!(" {token}");
            self.shown.push(("subject token".to_owned(), token));
        }
        if let Some(bearer) = request.bearer() {
            self.shown.push(("bearer".to_owned(), bearer.to_owned()));
            quoted += &format!(" Bearer {bearer}");
        }
        let flat: String = quoted.chars().filter(|c| c.is_ascii_graphic()).collect();
        let token = shapeless(120);
        self.given.push(token.clone());
        let good = match request.path.as_str() {
            METADATA | auth::TOKEN => json!({"access_token": token, "expires_in": 40_000, "token_type": "Bearer"}),
            GITHUB => json!({"value": token}),
            EPHEMERAL_ACCESS_KEYS => {
                let (id, secret) = (shapeless(20), shapeless(43));
                self.given.extend([id.clone(), secret.clone()]);
                let expires = "2099-01-01T00:00:00Z";
                json!({"accessKeyId": id, "secret": secret, "sessionToken": token, "expiresAt": expires})
            }
            _ => json!({"iamToken": token, "expiresAt": "2099-01-01T00:00:00Z"}),
        };
        let status = |code: u16, message: &str| {
            let details = json!([{"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": flat}]);
            Response::json(code, json!({"code": 16, "message": message, "details": details}).to_string())
        };
        match self.manner.unwrap_or(Manner::Good) {
            Manner::Good => Response::json(200, good.to_string()),
            Manner::QuotesInStatus => status(401, &format!("who showed {quoted}?")),
            // Short, as whoever shows plain text at all shows no long one; and in pieces.
            Manner::QuotesInText => {
                let end =
                    |text: &str| text.chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect::<String>();
                Response::text(403, format!("no: {}", end(&flat)))
            }
            Manner::QuotesInHeaders => Response::text(403, "")
                .header("x-request-id", flat.as_str())
                .header("x-server-trace-id", flat.as_str())
                .header("Retry-After", flat.as_str())
                .header("Date", flat.as_str()),
            Manner::Redirects => Response::new(302).header("Location", format!("https://evil.example/{flat}/?{flat}")),
            Manner::Garbles => Response::typed(200, &format!("text/x-{flat}"), format!("{quoted} {token}")),
            Manner::GivesBadToken => {
                Response::json(200, good.to_string().replace(&token, &format!("{token} \\\" {token}")))
            }
            Manner::BreaksOff => Response::json(200, good.to_string()).delivered(Delivery::Break(Stage::MidBody)),
            Manner::IsBusy => status(503, &format!("not now, {quoted}")).header("Retry-After", "50"),
        }
    }
}

/// Commands that use a token without printing it on stdout, or that look at the cache.
const COMMANDS: &[&[&str]] = &[&["env"], &["exec", "true"], &["exec", "--serve", "true"], &["refresh"], &["list"]];

/// The calls by which a token goes out, or does not: arguments and stdin.
fn calls() -> impl Iterator<Item = (&'static [&'static str], &'static str)> {
    let hooks = forms().filter(|(hook, _)| hook.gives_token).map(|(_, form)| (form.words, form.stdin));
    hooks.chain(COMMANDS.iter().map(|words| (*words, "")))
}

#[test]
fn no_source_by_any_hook_in_any_failure_at_any_verbosity_tells_eight_bytes_of_a_secret() {
    // Much of it is waiting: for a lock, and before another try.
    let runs = std::thread::scope(|scope| {
        let ways: Vec<_> = SOURCES.iter().flat_map(|source| source.ways.iter().map(move |way| (source, way))).collect();
        let expose_all = |ways: &[(&Source, &Way)]| ways.iter().map(|(source, way)| expose(source, way)).sum::<usize>();
        let parts: Vec<_> =
            ways.chunks(3).map(<[_]>::to_vec).map(|ways| scope.spawn(move || expose_all(&ways))).collect();
        parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    });
    tried("run searched for pieces of its secrets", runs);
}

/// Throws everything at one way of a source, and counts the runs.
#[track_caller]
fn expose(source: &Source, way: &Way) -> usize {
    let mut count = 0;
    let eavesdropper = Eavesdropper::start();
    let mut sandbox = Sandbox::new();
    let mut net = Net::default();
    let mut secrets = Secrets::default();
    let (profile, variables) = (way.prepare)(&sandbox, &eavesdropper.server.url(), &mut secrets);
    for (name, secret) in secrets.0 {
        net.add(name, &secret);
    }
    sandbox.profile("default", &profile);
    for (name, value) in variables {
        sandbox.set(name, value);
    }
    // Whatever else an environment holds, and is none of our business.
    for name in ["AWS_SECRET_ACCESS_KEY", "YC_OAUTH_TOKEN", "YC_TOKEN", "YC_IAM_TOKEN"] {
        let secret = shapeless(40);
        net.add(name, &secret);
        sandbox.set(name, secret);
    }
    for manner in &MANNERS[..way.answers.min(MANNERS.len())] {
        let cache = sandbox.path(format!("cache-{manner:?}"));
        for flags in [&["-vvv"][..], &["-vvv", "--no-cache"]] {
            eavesdropper.behave(*manner);
            let runs = run_all(calls().map(|(words, stdin)| {
                let words: Vec<&str> = flags.iter().chain(words).copied().collect();
                sandbox.ycred(&words).stdin(stdin).env("YCRED_CACHE_DIR", &cache)
            }));
            judge(&format!("{}, {manner:?}", way.name), &net, &eavesdropper, &runs);
            count += runs.len();
            // Apart, since to an access key the token is what buys it, and nothing to be seen.
            if profile.contains("iam-url") {
                eavesdropper.behave(*manner);
                let words: Vec<&str> = flags.iter().chain(&["aws"]).copied().collect();
                let call = sandbox.ycred(&words).env("YCRED_CACHE_DIR", sandbox.path(format!("cache-aws-{manner:?}")));
                let runs = [call.run()];
                judge(&format!("{}, {manner:?}, aws", way.name), &net, &eavesdropper, &runs);
                count += runs.len();
            }
        }
    }
    look_around(source, way.name, &sandbox, &net, &eavesdropper);
    count
}

/// Nothing on stderr; on stdout the token alone, and in failure not even that.
#[track_caller]
fn judge(what: &str, net: &Net, eavesdropper: &Eavesdropper, runs: &[Run]) {
    let heard = lock(&eavesdropper.shared);
    let mut all = net.clone();
    for (name, secret) in &heard.shown {
        all.add(name, secret);
    }
    // A link's token is a caller's bearer to the next, and only the last one's is for us.
    let is_bearer = |token: &str| heard.shown.iter().any(|(_, shown)| shown == token);
    for token in heard.given.iter().filter(|token| !is_bearer(token)) {
        all.add("token", token);
    }
    for run in runs {
        assert!(run.status.code().is_some_and(|code| code != 5), "{what}: a defect\n{run}");
        assert_eq!(all.catch(run.stderr.as_bytes()), None, "{what}: on stderr\n{run}");
        let mut stdout = run.stdout.clone();
        if run.status.success() {
            for (_, token) in all.secrets.iter().filter(|(name, _)| name == "token") {
                stdout = stdout.replace(token, " ");
            }
        }
        assert_eq!(all.catch(stdout.as_bytes()), None, "{what}: on stdout\n{run}");
    }
}

/// No file's name has a piece of a secret, nor any file but a record, which has tokens alone and is 0600.
#[track_caller]
fn look_around(source: &Source, what: &str, sandbox: &Sandbox, net: &Net, eavesdropper: &Eavesdropper) {
    eavesdropper.behave(Manner::Good);
    let heard = lock(&eavesdropper.shared);
    let mut all = net.clone();
    // A bearer is a token that was given before.
    for (name, secret) in heard.all_shown.iter().filter(|(_, secret)| !heard.all_given.contains(secret)) {
        all.add(name, secret);
    }
    for token in &heard.all_given {
        all.add("token", token);
    }
    let no_tokens = all.without("token");
    let mut records = 0;
    for path in sandbox.files("") {
        if ["config", "runs", "bin"].iter().any(|inputs| path.starts_with(sandbox.path(inputs))) {
            continue;
        }
        let name = path.display().to_string();
        assert_eq!(all.catch(name.as_bytes()), None, "{what}: the name {name}");
        // Neither an account nor a key is in a name.
        assert!(!name.contains("aje"), "{what}: the name {name}");
        let text = fs::read(&path).expect("a file");
        if path.extension().is_some_and(|end| end == "json") && name.contains("/v1/") {
            records += 1;
            assert_eq!(mode(&path), 0o600, "{what}: {name}");
            assert_eq!(no_tokens.catch(&text), None, "{what}: in {name}");
        } else {
            assert_eq!(all.catch(&text), None, "{what}: in {name}");
        }
    }
    assert_eq!(records > 0, source.is_cached, "{what}: {records} records");
}

#[test]
fn a_key_in_a_variable_is_told_by_no_message_and_the_accounts_id_is() {
    let mut sandbox = Sandbox::new();
    let key = AuthorizedKey::new("ajeaaaaaaaaaaaaaaaaa", RsaKey::shared());
    let mut net = Net::default();
    net.add("key", &key.file().without_line().pem());
    // Nothing listens there, so that the call fails after the key was used.
    sandbox.set("YC_ENDPOINT", "localhost:1").seal();
    for (text, code) in [
        (key.file().json(), 4),
        (key.file().json().replace("\"id\"", "\"other\""), 3),
        (key.file().json().replace("MII", "!!!"), 3),
        (key.file().json()[..900].to_owned(), 3),
        (key.file().user_account().json(), 3),
        (format!("{{ {}", key.file().json()), 3),
    ] {
        for words in [&["-vvv", "token"][..], &["-vvv", "kubectl"], &["-vvv", "token", "--no-cache"]] {
            let run = sandbox.ycred(words).env("YC_SERVICE_ACCOUNT_KEY_FILE", &text).run().exits(code);
            assert_eq!(net.catch(run.stderr.as_bytes()), None, "{run}");
            assert_eq!(net.catch(run.stdout.as_bytes()), None, "{run}");
            let says = if code == 4 { "ajeaaaaaaaaaaaaaaaaa" } else { "YC_SERVICE_ACCOUNT_KEY_FILE" };
            assert!(run.stderr.contains(says), "expected {says:?}\n{run}");
            assert!(!run.lines_of_stderr("ycred: error").concat().contains("***"), "masks what is no secret\n{run}");
        }
    }
    for path in sandbox.files("") {
        if !path.starts_with(sandbox.path("runs")) {
            let text = fs::read(&path).expect("a file");
            assert_eq!(net.catch(&text), None, "{}", path.display());
        }
    }
}

#[test]
fn what_is_no_secret_is_not_masked_in_messages() {
    let world = World::new();
    let target = world.emulator.new_service_account();
    world.emulator.set_impersonation(&target, crate::emulator::Impersonation::Nobody);
    world.profile("default", &format!("impersonate = \"{target}\""));
    let run = world.ycred(&["token"]).run().exits(1);
    assert!(run.stderr.contains(&target), "the account that could not be impersonated is named\n{run}");
    world.emulator.fault(Fault::refuse(400).message("yandexPassportOauthToken or jwt: one of them is wanted"));
    let (oauth, _) = world.emulator.new_oauth();
    let toml = format!("source = \"oauth\"\noauth-token-env = \"OAUTH\"\niam-url = \"{}\"\n", world.emulator.url());
    world.sandbox.profile("oauth", &toml);
    let run = world.ycred(&["token", "-p", "oauth"]).env("OAUTH", oauth).run().exits(1);
    assert!(run.stderr.contains("yandexPassportOauthToken or jwt: one of them is wanted"), "{run}");
}

// ---------------------------------------------------------------------------------------------------------------- proxy

#[test]
fn a_proxys_password_is_told_by_no_message_and_the_proxy_is_named() {
    let password = shapeless(24);
    let encoded = format!("{}%40{}", &password[..12], &password[12..]);
    let decoded = format!("{}@{}", &password[..12], &password[12..]);
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("robot:{decoded}"));
    let mut net = Net::default();
    for secret in [&password, &encoded, &decoded, &basic] {
        net.add("proxy password", secret);
    }
    for status in [407, 403, 502, 200] {
        // It quotes what it was shown wherever an answer has room for it.
        let proxy = Server::start(None, {
            let (decoded, encoded) = (decoded.clone(), encoded.clone());
            move |request| {
                let shown = request.header("proxy-authorization").unwrap_or_default().to_owned();
                Response::text(status, format!("{shown} {decoded} {encoded}"))
                    .header("Proxy-Authenticate", format!("Basic realm=\"{shown} {decoded}\""))
                    .header("x-request-id", encoded.as_str())
            }
        });
        let sandbox = Sandbox::new();
        let key = AuthorizedKey::new("ajeaaaaaaaaaaaaaaaaa", RsaKey::shared());
        key.write(sandbox.path("config/key.json")).expect("a key file");
        net.add("key", &key.file().without_line().pem());
        sandbox.profile(
            "default",
            "source = \"authorized-key\"\nkey-file = \"key.json\"\niam-url = \"https://iam.example\"\ntimeout = \"2s\"\n",
        );
        let address = proxy.address();
        let urls = [
            format!("http://robot:{encoded}@{address}"),
            format!("http://robot:{encoded}@{address}/"),
            format!("robot:{encoded}@{address}"),
        ];
        let runs = run_all(urls.iter().flat_map(|url| {
            let words = [&["-vvv", "token", "--no-cache"][..], &["-vvv", "kubectl", "--no-cache"]];
            words.map(|words| sandbox.ycred(words).env("HTTPS_PROXY", url))
        }));
        for run in runs.into_iter().map(Run::fails) {
            assert_ne!(run.status.code(), Some(5), "{run}");
            assert_eq!(net.catch(run.stderr.as_bytes()), None, "{status}\n{run}");
            assert_eq!(net.catch(run.stdout.as_bytes()), None, "{status}\n{run}");
            // One that opens the way and then speaks no TLS is not known for the culprit.
            let named = run.stderr.contains(&address.to_string());
            assert!(named || status == 200, "{status}: the proxy is not named\n{run}");
        }
    }
    // What is no URL at all is not shown either.
    let mut sandbox = Sandbox::new();
    sandbox.profile("default", "source = \"oauth\"\noauth-token-env = \"O\"\niam-url = \"https://iam.example\"\n");
    for url in [
        format!("http://robot:{decoded}@127.0.0.1:1"),
        format!("http://robot:{}/{}@127.0.0.1:1", &password[..12], &password[12..]),
        format!("http://robot:{password} x@proxy:1"),
        format!("ht!tp://robot:{password}@proxy:1"),
        format!("robot:{password}"),
        format!("http://robot:{password}@"),
        format!("socks9://robot:{password}@127.0.0.1:1"),
    ] {
        sandbox.set("https_proxy", &url).set("O", "y0_x");
        let run = sandbox.ycred(["-vvv", "token", "--no-cache", "--timeout", "2s"]).run().fails();
        assert_ne!(run.status.code(), Some(5), "{url}\n{run}");
        assert_eq!(net.catch(run.stderr.as_bytes()), None, "{url}\n{run}");
    }
}

// -------------------------------------------------------------------------------------------------------------- escapes

/// What must not get to a terminal, in all its forms.
const FOUL: &str = "one\u{1b}[31mtwo\u{1b}]0;title\u{7}three\u{9b}32mfour\u{90}five\r\nsix\u{8}\u{7f}\0seven\u{202e}eight\
    \u{2066}nine\u{200f}ten\u{2028}eleven\u{85}twelve\u{1b}Pthirteen\u{1b}\\fourteen\u{61c}\u{feff}\u{200b}end";

#[track_caller]
fn is_clean(run: &Run) {
    for (name, text) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
        let foul = text.chars().find(|c| {
            (c.is_control() && *c != '\n')
                || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        });
        assert_eq!(foul, None, "on {name}\n{run}");
    }
    for line in run.stderr.lines() {
        assert!(line.starts_with("ycred: "), "a line that is not ours\n{run}");
        assert!(line.chars().count() <= 500, "a line of {} characters\n{run}", line.chars().count());
    }
    let lines = run.stderr.lines().filter(|line| !line.starts_with("ycred: debug: ")).count();
    assert!(lines <= 2, "more than an error and a hint\n{run}");
}

#[test]
fn escape_sequences_and_bidi_controls_of_a_server_reach_no_terminal() {
    let world = World::new();
    for fault in [
        Fault::refuse(401).message(FOUL),
        Fault::refuse(401).message(FOUL.repeat(50)),
        Fault::body(FOUL),
        Fault::body(format!("{{\"iamToken\":{}}}", json!(FOUL))),
        Fault::body(json!({"iamToken": "t1.a.b", "expiresAt": FOUL}).to_string()),
        Fault::refuse(302).header("Location", "https://evil.example/\u{9b}31m"),
        Fault::refuse(403).header("x-request-id", "a\u{9b}31mb"),
    ] {
        world.emulator.clear_faults();
        world.emulator.fault(fault);
        for form in HOOKS.iter().map(|hook| &hook.forms[0]) {
            for flags in [&["-vvv"][..], &["--no-cache"]] {
                let words: Vec<&str> = flags.iter().chain(form.words).copied().collect();
                let run = world.ycred(&words).stdin(form.stdin).env("PATH", world.sandbox.path("bin")).run();
                is_clean(&run);
            }
        }
        let _ = fs::remove_dir_all(world.sandbox.path("cache"));
    }
    // And the words are there all the same.
    world.emulator.clear_faults();
    world.emulator.fault(Fault::refuse(401).message(FOUL));
    let run = world.ycred(&["token"]).run().exits(1);
    assert!(run.stderr.contains("onetwo") && run.stderr.contains("end"), "{run}");
    world.emulator.attach(Some("ajemetadata000000000"));
    world
        .sandbox
        .profile("vm", &format!("source = \"metadata\"\nmetadata-addr = \"{}\"\n", world.emulator.metadata_addr()));
    is_clean(&world.ycred(&["token", "-p", "vm", "-vvv"]).run().exits(1));
}

#[test]
fn escape_sequences_of_a_commands_stderr_and_of_file_names_reach_no_terminal() {
    let world = World::new();
    let text = world.sandbox.file("tmp/foul", FOUL);
    let script = world.sandbox.script("bin/foul", &format!("#!/bin/sh\ncat '{}' >&2; exit 3\n", text.display()));
    world.sandbox.profile("command", &format!("source = \"command\"\ncommand = [\"{}\"]\n", script.display()));
    let run = world.ycred(&["-vvv", "token", "-p", "command"]).run().exits(1);
    is_clean(&run);
    assert!(run.stderr.contains("end"), "the command's last line is told\n{run}");

    // A name with everything that a name can have.
    let odd = FOUL.replace(['\0', '/'], "");
    let directory = world.sandbox.path(format!("tmp/{odd}"));
    make_private(&directory);
    let profile = directory.join("default.toml");
    fs::write(&profile, "source = \"authorized-key\"\nkey-file = \"gone.json\"\n").expect("a profile");
    let call = |words: &[&str]| world.ycred(words).env("YCRED_CONFIG_DIR", &directory);
    is_clean(&call(&["-vvv", "token"]).run().exits(3));
    is_clean(&call(&["kubectl"]).run().exits(3));
    is_clean(&call(&["docker", "get"]).stdin("cr.yandex").run().exits(3));
    fs::write(&profile, format!("source = \"metadata\"\n{} = \"x\"\n", json!(FOUL))).expect("a profile");
    is_clean(&call(&["token"]).run().exits(3));
    fs::write(&profile, format!("source = {}\n", json!(FOUL).to_string().replace("\\b", "\\u0008")))
        .expect("a profile");
    is_clean(&call(&["token"]).run().exits(3));
    // In the cache's name, which a warning tells.
    let file = directory.join("file");
    fs::write(&file, "").expect("a file");
    let run = world.ycred(&["token"]).env("YCRED_CACHE_DIR", file.join("cache")).run().succeeds();
    is_clean(&run);
    assert_eq!(run.stderr.lines().count(), 1, "{run}");
    // In what is typed, and in what clients send.
    for words in [
        &["token", "-p", &odd][..],
        &["token", "--format", &odd],
        &["token", "--host", &odd],
        &[&odd],
        &["use", &odd],
        &["terraform", "get", &odd],
        &["terraform", &odd, "x"],
        &["docker", &odd],
        &["exec", &odd],
        &["goauth", &odd],
        &["keyring", &odd, "x"],
        &["keyring", "get", &odd, "iam"],
        &["pnpm", &odd],
        &["bazel", &odd],
        &["cargo", &odd],
    ] {
        is_clean(&world.ycred(words).env("PATH", world.sandbox.path("bin")).run());
    }
    for uri in [FOUL.to_owned(), format!("https://cr.yandex/{FOUL}"), format!("https://{FOUL}")] {
        is_clean(&world.ycred(&["bazel", "get"]).stdin(json!({"uri": uri}).to_string()).run().exits(1));
        let registry = json!({"index-url": uri});
        for args in [json!([]), json!([FOUL]), json!(["--profile", FOUL])] {
            let request = json!({"v": 1, "registry": registry, "kind": FOUL, "args": args}).to_string();
            is_clean(&world.ycred(&["cargo"]).stdin(request).run().succeeds());
        }
    }
    let stored = json!({"ServerURL": FOUL, "Username": FOUL, "Secret": FOUL}).to_string();
    is_clean(&world.ycred(&["docker", "store"]).stdin(stored).run().exits(1));
    is_clean(&world.ycred(&["kubectl"]).env("KUBERNETES_EXEC_INFO", json!({"kind": FOUL}).to_string()).run().exits(2));
    let version = json!({"kind": "ExecCredential", "apiVersion": FOUL}).to_string();
    is_clean(&world.ycred(&["kubectl"]).env("KUBERNETES_EXEC_INFO", version).run().exits(2));
}

#[test]
fn a_password_given_to_docker_login_is_neither_kept_nor_told() {
    let world = World::new();
    let mut net = Net::default();
    let password = shapeless(40);
    net.add("password", &password);
    for (host, code) in [("cr.yandex", 0), ("https://ghcr.io", 1), ("", 1)] {
        let stored = json!({"ServerURL": host, "Username": "u", "Secret": password}).to_string();
        for text in [stored.clone(), stored[..stored.len() - 1].to_owned(), format!("[{stored}]")] {
            let run = world.ycred(&["-vvv", "docker", "store"]).stdin(text.as_str()).run();
            assert_eq!(run.status.code(), Some(if text == stored { code } else { 1 }), "{run}");
            assert_eq!(net.catch(run.stderr.as_bytes()), None, "{run}");
            assert_eq!(net.catch(run.stdout.as_bytes()), None, "{run}");
        }
    }
    world.ycred(&["terraform", "store", "cr.yandex"]).stdin(json!({"token": password}).to_string()).run().exits(2);
    for path in world.sandbox.files("") {
        assert_eq!(net.catch(&fs::read(&path).expect("a file")), None, "{}", path.display());
    }
}

// ------------------------------------------------------------------------------------------------------------- children

/// The variables in `env -0`'s output.
fn variables(text: &[u8]) -> BTreeMap<String, String> {
    let pairs = text.split(|byte| *byte == 0).filter(|pair| !pair.is_empty());
    pairs
        .filter_map(|pair| {
            let pair = String::from_utf8_lossy(pair).into_owned();
            pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

#[test]
fn a_command_of_a_profile_sees_what_was_inherited_and_one_mark_and_no_secret_on_its_command_line() {
    let mut world = World::new();
    let (saw, args) = (world.sandbox.path("tmp/environ"), world.sandbox.path("tmp/cmdline"));
    let script = world.sandbox.script(
        "bin/helper",
        &format!(
            "#!/bin/sh\ncat /proc/$$/environ > '{}'; cat /proc/$$/cmdline > '{}'; ls /proc/$$/fd > '{}'; echo t1.{}.x\n",
            saw.display(),
            args.display(),
            world.sandbox.path("tmp/fds").display(),
            shapeless(40)
        ),
    );
    let toml = format!("source = \"command\"\ncommand = [\"{}\", \"one\", \"t w o\"]\n", script.display());
    world.sandbox.profile("default", &toml);
    let inherited = variables(world.sandbox.call("env", ["-0"]).run().succeeds().stdout.as_bytes());
    // What is open in it when the test itself runs it.
    world.sandbox.call(&script, ["one"]).run().succeeds();
    let descriptors = fs::read_to_string(world.sandbox.path("tmp/fds")).expect("its descriptors");
    let run = world.ycred(&["token"]).run().succeeds().quietly();
    let mut seen = variables(&fs::read(&saw).expect("what it saw"));
    let mark = seen.remove("YCRED_RUNNING").expect("the mark");
    assert!(mark.bytes().all(|byte| byte.is_ascii_hexdigit()), "{mark}");
    seen.remove("PWD");
    assert_eq!(seen, inherited, "{run}");
    let cmdline = String::from_utf8(fs::read(&args).expect("its command line")).expect("text");
    assert_eq!(cmdline, format!("/bin/sh\0{}\0one\0t w o\0", script.display()));
    // No lock, no socket.
    assert_eq!(fs::read_to_string(world.sandbox.path("tmp/fds")).expect("its descriptors"), descriptors);

    // The same with the token of another source at hand: an OAuth token's command knows nothing of it.
    let url = world.emulator.url();
    let (oauth, _) = world.emulator.new_oauth();
    world.sandbox.set("SOME_SECRET", "inherited-secret");
    let script = world
        .sandbox
        .script("bin/oauth", &format!("#!/bin/sh\ncat /proc/$$/environ > '{}'; echo {oauth}\n", saw.display()));
    let toml = format!("source = \"oauth\"\noauth-token-command = [\"{}\"]\niam-url = \"{url}\"\n", script.display());
    world.sandbox.profile("default", &toml);
    let run = world.ycred(&["token"]).run().succeeds().quietly();
    let mut seen = variables(&fs::read(&saw).expect("what it saw"));
    seen.remove("YCRED_RUNNING");
    seen.remove("PWD");
    let mut expected = inherited;
    expected.insert("SOME_SECRET".into(), "inherited-secret".into());
    assert_eq!(seen, expected);
    world.printed_a_token(&run);
}

#[test]
fn exec_changes_what_is_documented_in_the_environment_and_nothing_else() {
    let mut world = World::new();
    for (name, value) in [
        ("YC_SERVICE_ACCOUNT_KEY_FILE", "/none"),
        ("YC_OAUTH_TOKEN", "y0_other"),
        ("YC_TOKEN", "t1.stale.x"),
        ("YC_IAM_TOKEN", "t1.stale.x"),
        ("YCRED_EXPIRES_AT", "stale"),
        ("YCRED_PROFILE", "default"),
        ("OTHER", "x\ny"),
        ("YCRED_RUNNING", "00"),
        ("EMPTY", ""),
    ] {
        world.sandbox.set(name, value);
    }
    let before = variables(world.sandbox.call("env", ["-0"]).run().succeeds().stdout.as_bytes());
    let run = world.ycred(&["exec", "--", "env", "-0"]).run().succeeds().quietly();
    let mut after = variables(run.stdout.as_bytes());
    let token = world.last_token();
    let mut expected = before.clone();
    for gone in ["YC_SERVICE_ACCOUNT_KEY_FILE", "YC_OAUTH_TOKEN", "YCRED_EXPIRES_AT"] {
        expected.remove(gone);
    }
    for name in ["YC_TOKEN", "YC_IAM_TOKEN"] {
        expected.insert(name.to_owned(), token.clone());
    }
    let expires = after.remove("YCRED_EXPIRES_AT").expect("the expiry");
    assert!(expires.len() == 20 && expires.ends_with('Z') && expires.contains('T'), "{expires}");
    assert_eq!(after, expected);

    // A secret that the profile reads from a variable is kept from the program.
    let (oauth, _) = world.emulator.new_oauth();
    let toml = format!("source = \"oauth\"\noauth-token-env = \"MY_OAUTH\"\niam-url = \"{}\"\n", world.emulator.url());
    world.sandbox.profile("default", &toml);
    world.sandbox.set("MY_OAUTH", oauth);
    let run = world.ycred(&["exec", "env", "-0"]).run().succeeds().quietly();
    let after = variables(run.stdout.as_bytes());
    assert!(!after.contains_key("MY_OAUTH"), "{run}");
    assert_eq!(after.get("YC_TOKEN"), Some(&world.last_token()));
    // A static one that is read from YC_TOKEN itself is there again.
    world.sandbox.profile("default", "source = \"static\"\ntoken-env = \"YC_TOKEN\"\n");
    let run = world.ycred(&["exec", "env", "-0"]).env("YC_TOKEN", "t1.own.x").run().succeeds().quietly();
    assert_eq!(variables(run.stdout.as_bytes()).get("YC_TOKEN").map(String::as_str), Some("t1.own.x"));
    // From the environment alone, the program's own ycred is to find the token there.
    fs::remove_file(world.sandbox.path("config/default.toml")).expect("no profile");
    let call = world.ycred(&["exec", "env", "-0"]).without("YCRED_PROFILE").env("YC_IAM_TOKEN", "t1.env.x");
    let after = variables(call.run().succeeds().quietly().stdout.as_bytes());
    assert_eq!(after.get("YC_IAM_TOKEN").map(String::as_str), Some("t1.env.x"));
    assert!(!after.contains_key("YCRED_PROFILE"));
}

#[test]
fn exec_has_125_126_and_127_of_its_own_and_otherwise_the_programs_code_and_signal() {
    let world = World::new();
    let exec = |words: &[&str]| world.ycred(&[&["exec"], words].concat());
    for code in [0, 1, 7, 125, 126, 127, 255] {
        exec(&["sh", "-c", &format!("exit {code}")]).run().exits(code).quietly();
        exec(&["--", "sh", "-c", &format!("exit {code}")]).run().exits(code).quietly();
    }
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGUSR1, libc::SIGPIPE, libc::SIGSEGV] {
        let run = exec(&["sh", "-c", &format!("kill -{signal} $$")]).run();
        assert_eq!(run.status.signal(), Some(signal), "{run}");
    }
    exec(&["no-such-program"]).run().exits(127).stdout_is("").stderr_has("no-such-program: there is no such program");
    exec(&["./no/such"]).run().exits(127);
    let plain = world.sandbox.file("tmp/plain", "not a program").display().to_string();
    let run = exec(&[&plain]).run().exits(126).stdout_is("");
    assert!(run.stderr.contains("permission denied"), "{run}");
    exec(&[&world.sandbox.path("tmp").display().to_string()]).run().exits(126);
    world.emulator.fault(Fault::refuse(403));
    let run = world.ycred(&["exec", "--force-refresh", "true"]).run();
    let run = run.exits(125).stdout_is("").stderr_has("ycred: error: ");
    assert_eq!(run.stderr.lines().count(), 2, "{run}");
    world.ycred(&["exec", "-p", "none", "true"]).run().exits(125);
}

#[test]
fn exec_is_the_program_itself_with_its_signals_as_they_were_and_no_descriptor_of_ours() {
    let world = World::new();
    let running = world.ycred(&["exec", "sh", "-c", "echo $$; sleep 30"]).start();
    let id = running.id();
    while !running.stdout().ends_with('\n') {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(running.stdout(), format!("{id}\n"), "another process");
    running.signal(libc::SIGTERM);
    assert_eq!(running.finish().status.signal(), Some(libc::SIGTERM));

    // Without the two that glibc keeps for itself.
    let signals = "sed -n 's/^Sig\\(Ign\\|Blk\\):.*\\(.......[0-9a-f]\\)$/\\1 \\2/p' /proc/self/status";
    let ignored = |text: &str| {
        let masks = text.lines().filter_map(|line| u64::from_str_radix(line.split_once(' ')?.1, 16).ok());
        masks.map(|mask| mask & 0x7fff_ffff).collect::<Vec<_>>()
    };
    let plain = ignored(&world.sandbox.call("sh", ["-c", signals]).run().succeeds().stdout);
    // Some may be inherited from whoever runs the tests.
    let descriptors = world.sandbox.call("sh", ["-c", "ls /proc/$$/fd"]).run().succeeds().stdout;
    for what in ["miss", "hit"] {
        if what == "miss" {
            fs::remove_dir_all(world.sandbox.path("cache")).expect("a cold cache");
        }
        let run = world.ycred(&["exec", "sh", "-c", signals]).run().succeeds().quietly();
        assert_eq!(ignored(&run.stdout), plain, "{what}\n{run}");
        let run = world.ycred(&["exec", "sh", "-c", "ls /proc/$$/fd"]).run().succeeds().quietly();
        assert_eq!(run.stdout, descriptors, "{what}");
    }
    // What the caller ignored stays ignored: `nohup ycred exec …`.
    fs::remove_dir_all(world.sandbox.path("cache")).expect("a cold cache");
    let script = "trap '' HUP XFSZ; exec \"$@\"";
    let words = ["-c", script, "sh", YCRED, "exec", "sh", "-c", signals];
    let run = world.sandbox.call("sh", words).run().succeeds().quietly();
    let more = 1 << (libc::SIGHUP - 1) | 1 << (libc::SIGXFSZ - 1);
    assert_eq!(ignored(&run.stdout), [plain[0], plain[1] | more], "{run}");
}

#[test]
fn a_program_under_exec_may_dump_and_has_the_limits_it_would_have_had() {
    let world = World::new();
    let limits = "ulimit -a; ulimit -aH";
    let plain = world.sandbox.call("sh", ["-c", limits]).run().succeeds().stdout;
    let run = world.ycred(&["exec", "sh", "-c", limits]).run().succeeds().quietly();
    assert_eq!(run.stdout, plain);
}

// -------------------------------------------------------------------------------------------------------- the process

#[test]
fn the_process_forbids_dumps_before_it_opens_any_file_of_ours() {
    if !require_tracer() {
        return;
    }
    let world = World::new();
    let steps = Step::of(&world.sandbox, |strace| traced(&world.sandbox, strace, &["token"]));
    let forbids = steps.iter().position(|step| step.line.starts_with("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE"));
    let place = world.sandbox.path("config").display().to_string();
    let opens = steps.iter().position(|step| step.line.contains(&place) && step.name.starts_with("open"));
    let (forbids, opens) = (forbids.expect("dumps are forbidden"), opens.expect("a profile is read"));
    assert!(forbids < opens, "{:?} after {:?}", steps[forbids], steps[opens]);
    assert!(!steps.iter().any(|step| step.name.contains("rlimit") && step.line.contains("RLIMIT_CORE, {")));
}

#[test]
fn the_memory_of_an_ordinary_users_run_belongs_to_root_and_leaves_no_core() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let world = World::new();
    let commons = Commons::new(&world, NOBODY);
    world.emulator.fault(Fault::held().on(crate::emulator::faults::Endpoint::Tokens));
    let running = commons.call(&world, &["token"]).start();
    assert!(world.emulator.wait_for_requests(TOKENS, 1, Duration::from_secs(30)));
    for name in ["environ", "mem", "maps"] {
        let owner = fs::metadata(format!("/proc/{}/{name}", running.id())).expect("it runs").uid();
        assert_eq!(owner, 0, "/proc/…/{name} belongs to the user");
    }
    running.signal(libc::SIGABRT);
    let run = running.finish();
    assert_eq!((run.status.signal(), run.status.core_dumped()), (Some(libc::SIGABRT), false), "{run}");

    // Root's run, with the limit that allows a core.
    let running = world.sandbox.call("sh", ["-c", "ulimit -c unlimited; exec \"$@\"", "sh", YCRED, "token"]).start();
    assert!(world.emulator.wait_for_requests(TOKENS, 2, Duration::from_secs(30)));
    running.signal(libc::SIGABRT);
    let run = running.finish();
    assert_eq!((run.status.signal(), run.status.core_dumped()), (Some(libc::SIGABRT), false), "{run}");
    assert_eq!(names(&world.sandbox.path("work")), Vec::<PathBuf>::new());
    world.emulator.clear_faults();
}

#[test]
fn no_secret_is_ever_on_our_own_command_line_and_none_can_be_put_there() {
    let world = World::new();
    let secret = shapeless(40);
    let mut net = Net::default();
    net.add("typed secret", &secret);
    for flag in ["--token", "--oauth-token", "--password", "--private-key", "--iam-token"] {
        // It is no flag, and what stood behind it is not repeated.
        let run = world.ycred(&["token", flag, &secret]).run().exits(2);
        assert_eq!(net.catch(run.stderr.as_bytes()), None, "{run}");
        let run = world.ycred(&["token", &format!("{flag}={secret}")]).run().exits(2);
        assert_eq!(net.catch(run.stderr.as_bytes()), None, "{run}");
    }
    for key in ["oauth-token", "token", "private-key", "password", "iam-token"] {
        world.sandbox.profile("wrong", &format!("source = \"static\"\n{key} = \"{secret}\"\n"));
        let run = world.ycred(&["token", "-p", "wrong"]).run().exits(3);
        assert!(run.stderr.contains(&format!("unknown key `{key}`")), "{run}");
        assert_eq!(net.catch(run.stderr.as_bytes()), None, "{run}");
    }
    // A secret in the wrong place of a profile, which is no TOML then.
    for text in
        [format!("source = \"static\"\ntoken-file = {secret}\n"), format!("{secret}\n"), format!("\"{secret}\n")]
    {
        world.sandbox.profile("wrong", &text);
        let run = world.ycred(&["token", "-p", "wrong"]).run().exits(3);
        assert_eq!(net.catch(run.stderr.as_bytes()), None, "{run}");
    }
}

// -------------------------------------------------------------------------------------------------------------- key files

#[test]
fn a_key_file_that_others_can_read_is_one_warning_on_a_miss_and_none_on_a_hit() {
    let world = World::new();
    let key = world.sandbox.path("config/key.json");
    for loose in [0o644, 0o640, 0o604] {
        set_mode(&key, loose);
        let run = world.ycred(&["token", "--force-refresh"]).run().succeeds();
        world.printed_a_token(&run);
        let expected = format!(
            "ycred: warning: {path} can be read by others (mode {loose:04o}): chmod 600 {path}\n",
            path = key.display()
        );
        assert_eq!(run.stderr, expected);
        world.is_a_hit(world.ycred(&["token"]));
    }
    set_mode(&key, 0o600);
    world.ycred(&["token", "--force-refresh"]).run().succeeds().quietly();
    // As Kubernetes mounts it: nobody can mend that.
    set_mode(&key, 0o440);
    world.ycred(&["token", "--force-refresh"]).run().succeeds().quietly();
    for (source, file) in [("oauth", "oauth-token-file"), ("static", "token-file")] {
        let secret = if source == "oauth" { world.emulator.new_oauth().0 } else { "t1.abcdefgh.x".to_owned() };
        let path = world.sandbox.file("config/secret", secret);
        set_mode(&path, 0o644);
        let toml = format!("source = \"{source}\"\n{file} = \"secret\"\niam-url = \"{}\"\n", world.emulator.url());
        world.sandbox.profile("loose", &toml);
        let run = world.ycred(&["token", "-p", "loose"]).run().succeeds();
        assert_eq!(run.lines_of_stderr("ycred: warning: ").len(), 1, "{source}\n{run}");
        assert!(run.stderr.contains("can be read by others (mode 0644)"), "{source}\n{run}");
    }
}

#[test]
fn the_record_has_the_token_and_the_token_is_nowhere_else_after_any_command() {
    let world = World::new();
    for (words, stdin) in calls() {
        world.ycred(words).stdin(stdin).run().succeeds();
    }
    let record = record(&world.sandbox.path("cache"));
    assert_eq!(token_in(&record), world.last_token());
    for path in world.sandbox.files("") {
        if path == record || path.starts_with(world.sandbox.path("runs")) {
            continue;
        }
        let text = fs::read(&path).expect("a file");
        for token in world.emulator.tokens() {
            assert!(!text.windows(token.len()).any(|window| window == token.as_bytes()), "{}", path.display());
        }
    }
}

#[test]
fn a_token_goes_to_no_terminal_by_a_childs_inherited_stdout() {
    // What a profile's command prints on its stdout is read, and never ours: our stdout is the reply alone.
    let world = World::new();
    let script = world.sandbox.script("bin/noisy", "#!/bin/sh\necho noise >&2\necho t1.abcdefgh.x\n");
    world.sandbox.profile("default", &format!("source = \"command\"\ncommand = [\"{}\"]\n", script.display()));
    let output = Command::new(YCRED)
        .arg("token")
        .env_clear()
        .env("HOME", world.sandbox.path("home"))
        .env("YCRED_CONFIG_DIR", world.sandbox.path("config"))
        .env("YCRED_CACHE_DIR", world.sandbox.path("cache"))
        .stdin(Stdio::null())
        .process_group(0)
        .output()
        .expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "t1.abcdefgh.x\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

// ----------------------------------------------------------------------------------------------------------------- login

/// Everything secret that there is of a login at this moment.
fn net_of_login(person: &Person) -> Net {
    let mut net = Net::default();
    for (at, token) in person.world.emulator.tokens().iter().enumerate() {
        net.add(&format!("access token {at}"), token);
    }
    for (at, secret) in person.world.emulator.logins(|logins| logins.secrets().to_vec()).iter().enumerate() {
        net.add(&format!("code or refresh token {at}"), secret);
    }
    for path in
        person.world.sandbox.files("state").iter().filter(|path| path.extension().is_some_and(|end| end == "json"))
    {
        let state: Value = serde_json::from_slice(&fs::read(path).expect("a state")).expect("JSON");
        // The head of the encoding is the same for every key.
        net.add("key", &state["key"].as_str().expect("a key")[40..]);
    }
    net
}

#[test]
fn a_login_tells_nothing_of_itself_whatever_goes_wrong() {
    let person = Person::new();
    // What the browser is given, in its arguments and its environment.
    let told = person.world.sandbox.path("tmp/told");
    let inner = person.world.sandbox.path("bin/browser");
    let browser = person.world.sandbox.script(
        "bin/nosy",
        &format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >> {0}\nenv >> {0}\nexec {1} \"$1\"\n",
            told.display(),
            inner.display()
        ),
    );
    let mut runs = Vec::new();
    let mut call = |words: &[&str], stdin: Option<&str>| {
        let call = person.world.sandbox.ycred(["-vvv"].iter().chain(words)).env("BROWSER", &browser);
        let run = match stdin {
            Some(text) => call.stdin(text).run(),
            None => call.run(),
        };
        runs.push(run.clone());
        run
    };
    person.world.emulator.set(|settings| {
        settings.login.one_time = true;
        settings.login.nonce = Some(400);
    });
    call(&["login"], None).exits(0);
    // A code that is used up is known to the process alone that used it, and worth nothing; so it is not among these.
    let echo = || {
        let secrets = person.world.emulator.logins(|logins| logins.secrets().last().cloned().unwrap_or_default());
        format!("you said {secrets} and {}", person.world.emulator.tokens().join(" "))
    };
    for fault in [
        Fault::refuse(400).message(echo()),
        Fault::refuse(401).message(echo()).header("DPoP-Nonce", "x"),
        Fault::body(json!({"access_token": "bad token", "refresh_token": echo()}).to_string()),
        Fault::body(echo()),
        Fault::refuse(302).header("Location", &format!("https://evil.example/{}", person.world.emulator.tokens()[0])),
        Fault::broken(Stage::MidBody),
    ] {
        person.world.emulator.clear_faults();
        person.world.emulator.fault(fault.on(Endpoint::OauthToken));
        call(&["refresh", "--timeout", "2s"], None);
        call(&["kubectl", "--force-refresh", "--timeout", "2s"], None);
        call(&["login", "--force-refresh", "--timeout", "5s"], None);
    }
    person.world.emulator.clear_faults();
    call(&["login", "--force-refresh"], None).exits(0);
    call(&["refresh"], None).exits(0);
    let token = person.world.emulator.tokens().last().expect("a token").clone();
    call(&["revoke", "-"], Some(&token)).exits(0);
    call(&["revoke", &token], None).exits(2);
    let net = net_of_login(&person);
    call(&["login", "--no-browser", "--timeout", "1s"], Some("code=stolen-code-stolen&state=wrong\n"));
    person.world.emulator.fault(Fault::refuse(500).on(Endpoint::Revoke).message(echo()));
    call(&["logout", "--revoke", "--timeout", "2s"], None);
    assert!(net.secrets.len() > 10, "{}", net.secrets.len());
    for run in &runs {
        assert_eq!(net.catch(run.stderr.as_bytes()), None, "{run}");
        assert_eq!(net.catch(run.stdout.as_bytes()), None, "{run}");
    }
    let given = fs::read(&told).expect("what the browser was given");
    assert_eq!(net.catch(&given), None, "{}", String::from_utf8_lossy(&given));
    for path in
        ["state", "cache", "home", "config", "work", "tmp"].iter().flat_map(|place| person.world.sandbox.files(place))
    {
        let content = fs::read(&path).unwrap_or_default();
        assert_eq!(net.catch(&content), None, "after the logout, in {}", path.display());
        assert_eq!(net.catch(path.as_os_str().as_encoded_bytes()), None, "{}", path.display());
    }
}

#[test]
fn a_logins_secrets_are_in_its_state_and_the_token_in_the_record_and_nowhere_else() {
    let person = Person::new();
    person.log_in();
    person.token(&[]).run().exits(0);
    let net = net_of_login(&person);
    let token_alone = net.without("key");
    let mut holders = Vec::new();
    for path in
        ["state", "cache", "home", "config", "work", "tmp"].iter().flat_map(|place| person.world.sandbox.files(place))
    {
        let content = fs::read(&path).unwrap_or_default();
        if net.catch(&content).is_some() {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            assert!(token_alone.catch(&content).is_some());
            holders.push(path);
        }
    }
    let [state, record] = holders.as_slice() else { panic!("a record and a state: {holders:?}") };
    assert!(
        record.starts_with(person.world.sandbox.path("cache")) && state.starts_with(person.world.sandbox.path("state"))
    );
    let refresh = person.world.emulator.logins(|logins| logins.secrets()[1].clone());
    assert!(!fs::read_to_string(record).expect("a record").contains(&refresh), "the cache has no refresh token");
}
