//! Every parser of untrusted input, as a function of bytes.
//!
//! The fuzz target in `fuzz/` and a test that reads the corpus call them. Each parses its input and asserts what must
//! hold of the result. A panic is a bug.

#[path = "edits.rs"]
mod edits;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use ycred::base::clock::{Timestamp, parse_duration};
use ycred::base::environment::{Environment, KUBERNETES_EXEC_INFO};
use ycred::base::error::{Error, clean};
use ycred::base::hosts::{Allowed, DEFAULT_ENDPOINT, Host, Pattern};
use ycred::base::identity::Identity;
use ycred::base::secret::Secret;
use ycred::base::token::{Credential, Expiry, SkewAge};
use ycred::cache::failure::Requester;
use ycred::cache::freshness::{Decision, RenewalRules, Requirements};
use ycred::cache::record::Record;
use ycred::cli;
use ycred::cli::hook::parse_options;
use ycred::cli::invocation::{Invocation, version};
use ycred::cloud::{auth, discovery, http, iam, jwt, rpc_status};
use ycred::commands::import::yaml::{Node, Value};
use ycred::commands::login::callback;
use ycred::disk::places::Places;
use ycred::hooks::protocol::Hook;
use ycred::hooks::{self, HOOKS};

use ycred::hooks::protocol::{Call, Exchange, IssuedToken, Refusal, Target};
use ycred::process::flags::Options;
use ycred::profile::Profile;
use ycred::sources::access_key::AccessKey;
use ycred::sources::login::state::{LoginState, LoginStore};
use ycred::sources::{authorized_key, command, metadata, workload};
use ycred::system::loopback;

/// A parser of untrusted input.
pub struct Reader {
    /// The name of its corpus.
    pub name: &'static str,
    read: Kind,
}

/// Parses one input, and panics if an assertion fails.
type Read = fn(&[u8]);

enum Kind {
    /// A function in this file.
    Function(Read),
    /// Requests to a hook, in every way in which clients send them.
    Hook(&'static Hook),
}

impl Reader {
    /// Parses one input, and panics if an assertion fails.
    pub fn read(&self, input: &[u8]) {
        match self.read {
            Kind::Function(read) => read(input),
            Kind::Hook(hook) => requests(hook, input),
        }
    }
}

/// Returns every reader: those in [`READERS`], and one for each hook in the table of hooks.
pub fn all() -> Vec<Reader> {
    let functions = READERS.iter().map(|(name, read)| Reader { name, read: Kind::Function(*read) });
    let hooks = HOOKS.iter().map(|hook| Reader { name: hook.name, read: Kind::Hook(hook) });
    functions.chain(hooks).collect()
}

/// The readers of everything except hooks.
const READERS: &[(&str, Read)] = &[
    ("profile", profile),
    ("key_file", key_file),
    ("record", record),
    ("iam_answer", iam_answer),
    ("access_key_answer", access_key_answer),
    ("metadata_answer", metadata_answer),
    ("auth_answer", auth_answer),
    ("github_answer", github_answer),
    ("subject_token", subject_token),
    ("command_output", command_output),
    ("argv", argv),
    ("host", host),
    ("headers", headers),
    ("endpoints", endpoints),
    ("yaml", yaml),
    ("message", message),
    ("request_head", request_head),
    ("callback", login_callback),
    ("login_state", login_state),
    ("edit_yaml", edits::edit_yaml),
    ("edit_json", edits::edit_json),
    ("edit_ini", edits::edit_ini),
    ("edit_undo", edits::edit_undo),
    ("terraform_config", edits::terraform_config),
];

/// Further checks of the replies of single hooks.
const HOOK_CHECKS: &[(&str, Read)] =
    &[("git", git), ("bazel", bazel), ("cargo", cargo), ("goauth", goauth), ("keyring", keyring), ("kubelet", kubelet)];

const NOW: Timestamp = Timestamp(1_795_000_000_000);

/// Checks that an error is at most two short lines without control characters.
fn check_error(error: &Error) {
    let text = error.render();
    assert!(text.lines().count() <= 2 && text.ends_with('\n'), "{text:?}");
    for line in text.lines() {
        assert!(
            line.starts_with("ycred: ") && line.chars().count() <= 500 && !line.chars().any(char::is_control),
            "{line:?}"
        );
    }
}

/// Checks that a credential has a plausible validity and a secret without separators.
fn check_credential(credential: &Credential) {
    assert!(credential.lifetime() > 0 && credential.lifetime() <= 24 * 3600 * 1000);
    assert!(credential.advertised(NOW, SkewAge::Current) >= NOW && credential.advertised(NOW, SkewAge::Earlier) >= NOW);
    assert!(!credential.secret.expose().contains(['"', '\\', '\n', ' ']));
}

fn profile(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Profile::from_text("fuzz", Path::new("/fuzz/fuzz.toml"), text, &Environment::default(), &Places::none()) {
        Ok(profile) => {
            assert!(profile.timeout.as_secs() >= 1);
            assert!(
                !profile.hosts.covers(&Host { scheme: None, name: "index.docker.io".into(), port: Some(1) })
                    || text.contains("docker")
            );
            if let Err(error) = profile.open() {
                check_error(&error);
            }
        }
        Err(error) => check_error(&error),
    }
}

fn key_file(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match authorized_key::AccountKey::parse(text) {
        Ok(_) => {}
        Err(error) => check_error(&error),
    }
    // The PEM inside, on its own.
    assert!(
        jwt::ps256(&serde_json::json!({}), "kid", &Secret::new(text.to_owned())).is_err()
            || text.contains("PRIVATE KEY")
    );
}

fn record(input: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(input) else { return };
    let rules = RenewalRules { refresh_before: None, max_age: Some(std::time::Duration::from_secs(60)) };
    for now in [NOW, Timestamp(0), Timestamp(i64::MAX), Timestamp(i64::MIN)] {
        for force_since in [None, Some(NOW)] {
            let requirements = Requirements { min_ttl: std::time::Duration::from_secs(60), force_since };
            if let Decision::Serve(answer) = record.decide(&requirements, &rules, now, &Requester::default) {
                assert!(answer.credential.remaining(now).max > 0, "an expired token is never returned");
                assert!(answer.credential.advertised(now, answer.skew_age) >= now);
            }
        }
    }
}

fn endpoints(input: &[u8]) {
    if let Err(error) = discovery::parse_iam_url(input) {
        check_error(&error);
    }
}

fn yaml(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    fn size(node: &Node) -> usize {
        match &node.value {
            Value::Text(text) => text.len(),
            Value::List(items) => items.iter().map(size).sum(),
            Value::Map(members) => members.iter().map(|(name, node)| name.len() + size(node)).sum(),
        }
    }
    match Node::read(text) {
        Ok(None) => {}
        // An escape such as \L is two bytes long, its character three.
        Ok(Some(node)) => assert!(size(&node) <= 2 * text.len(), "a tree is not larger than its file"),
        Err(wrong) => check_error(&Error::profile(format!("x:{}: {}", wrong.line, wrong.why))),
    }
}

fn iam_answer(input: &[u8]) {
    if let Ok(iam::CreateIamTokenResponse { iam_token, expires_at }) = serde_json::from_slice(input)
        && let Ok(credential) = Credential::new(iam_token, &Expiry::At(expires_at), NOW, None, "the fuzzer")
    {
        check_credential(&credential);
    }
    if let Some(explained) = rpc_status::explain(input) {
        check_error(&Error::refused(explained.message));
    }
}

fn access_key_answer(input: &[u8]) {
    if let Ok(iam::EphemeralKey { access_key_id, secret, session_token, expires_at }) = serde_json::from_slice(input) {
        let key = AccessKey { id: access_key_id, secret, session_token };
        match key.pack("the fuzzer") {
            Ok(packed) => {
                let again = AccessKey::unpack(&packed).expect("a packed key can be unpacked");
                assert!(again.id == key.id && again.secret == key.secret && again.session_token == key.session_token);
                if let Ok(credential) = Credential::new(packed, &Expiry::At(expires_at), NOW, None, "the fuzzer") {
                    check_credential(&credential);
                }
            }
            Err(error) => check_error(&error),
        }
    }
}

fn metadata_answer(input: &[u8]) {
    if let Ok(metadata::MetadataToken { access_token, expires_in }) = serde_json::from_slice(input)
        && let Ok(credential) = Credential::new(access_token, &Expiry::In(expires_in), NOW, None, "the fuzzer")
    {
        check_credential(&credential);
    }
    if let Some(explained) = metadata::explain(input) {
        check_error(&Error::refused(explained.message));
    }
}

fn auth_answer(input: &[u8]) {
    if let Ok(auth::TokenResponse { access_token, expires_in, .. }) = serde_json::from_slice(input)
        && let Ok(credential) = Credential::new(access_token, &Expiry::In(expires_in), NOW, None, "the fuzzer")
    {
        check_credential(&credential);
    }
    if let Some(explained) = auth::explain(input) {
        check_error(&Error::refused(explained.message));
    }
}

fn github_answer(input: &[u8]) {
    if let Ok(workload::github::IdToken { value }) = serde_json::from_slice(input)
        && let Ok(token) = workload::subject::subject_token(value.expose())
    {
        assert!(token.expose().len() <= 16 * 1024 && token.expose().bytes().all(|byte| byte.is_ascii_graphic()));
    }
    if let Some(explained) = workload::github::explain(input) {
        check_error(&Error::refused(explained.message));
    }
}

/// Reads the claims of a subject token: from a complete token, and from a payload.
fn subject_token(input: &[u8]) {
    let whole = std::str::from_utf8(input).ok().and_then(workload::subject::Claims::read);
    let payload = workload::subject::Claims::of_payload(input);
    for claims in [whole, payload].into_iter().flatten() {
        let text = claims.to_string();
        assert!(text.chars().count() <= 600, "{text}");
        check_error(&Error::refused("refused").hint(text));
    }
}

fn command_output(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some((token, expiry)) = command::parse(text.trim())
        && let Ok(credential) = Credential::new(token, &Expiry::At(expiry), NOW, None, "the fuzzer")
    {
        check_credential(&credential);
    }
}

/// Sends the input to a hook in every way in which clients send requests: on stdin, as an operand, in the environment.
fn requests(hook: &'static Hook, input: &[u8]) {
    let (first, more) = hook.operands.split_first().map_or(("", 0), |(first, rest)| (*first, rest.len()));
    let nothing = Environment::default();
    let text = std::str::from_utf8(input).ok();
    for operation in first.split('|').filter(|word| !word.is_empty()) {
        request(hook, &[operation], input, &nothing);
        if let Some(text) = text.filter(|_| more > 0) {
            request(hook, &[operation, text], b"", &nothing);
        }
    }
    if let Some(text) = text.filter(|_| !first.is_empty()) {
        request(hook, &[text], b"", &nothing);
    }
    request(hook, &[], input, &nothing);
    let info = [(KUBERNETES_EXEC_INFO.into(), OsString::from_vec(input.to_vec()))];
    request(hook, &[], b"", &Environment::new(info));
    if let Some((_, check)) = HOOK_CHECKS.iter().find(|(name, _)| *name == hook.name) {
        check(input);
    }
}

/// Reads a request and checks every reply to it.
fn request(
    hook: &'static Hook,
    operands: &[&str],
    input: &[u8],
    environment: &Environment,
) -> Option<Box<dyn Exchange>> {
    let operands: Vec<String> = operands.iter().map(|word| (*word).to_owned()).collect();
    let options = Options::default();
    let call = Call { operands: &operands, options: &options, environment, parse: parse_options };
    match (hook.read)(&call, input) {
        Ok(exchange) => {
            let token = Secret::new("t1.fuzzed-token.fuzzed".into());
            exchange.write(&IssuedToken::new(&token, NOW));
            exchange.done(&["cr.yandex".into()]);
            for reply in
                [exchange.decline(Refusal::HostNotAllowed), exchange.decline(Refusal::Failed(&Error::refused("no")))]
            {
                assert!(
                    !String::from_utf8_lossy(&reply.stdout).contains("fuzzed-token"),
                    "a refusal contains no token"
                );
            }
            if let Some(Target::Host(host)) = &exchange.request().target {
                check_host(host);
            }
            Some(exchange)
        }
        Err(error) => {
            check_error(&error);
            (hook.answer_unreadable)(&call, &error);
            None
        }
    }
}

fn named(name: &str) -> &'static Hook {
    hooks::named(name).expect("a hook of this name")
}

fn check_host(host: &Host) {
    assert!(
        host.name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && !matches!(byte, b'/' | b'@' | b'%')),
        "{host:?}"
    );
    let again = Host::parse(&host.to_string()).expect("a host can be parsed from its own form");
    assert_eq!((&again.name, again.port), (&host.name, host.port));
}

fn git(input: &[u8]) {
    for word in ["get", "store", "erase", "capability"] {
        let Some(exchange) = request(named("git"), &[word], input, &Environment::default()) else { continue };
        let token = Secret::new("t1.fuzzed-token.fuzzed".into());
        let reply = exchange.write(&IssuedToken::new(&token, NOW));
        // git prints a line without `=` to the user.
        assert!(String::from_utf8_lossy(&reply.stdout).lines().all(|line| line.contains('=')));
    }
}

fn bazel(input: &[u8]) {
    if let Some(exchange) = request(named("bazel"), &["get"], input, &Environment::default()) {
        let refused = exchange.decline(Refusal::HostNotAllowed);
        assert!(refused.code == 1 && refused.stdout.is_empty());
        check_error(&refused.reason.expect("the reason for bazel"));
    }
}

/// Reads the requests of a session with cargo, one per line.
fn cargo(input: &[u8]) {
    let call = Call {
        operands: &[],
        options: &Options::default(),
        environment: &Environment::default(),
        parse: parse_options,
    };
    let hook = named("cargo");
    for line in input.split(|byte| *byte == b'\n') {
        let replies = match (hook.read)(&call, line) {
            Ok(exchange) => {
                let request = exchange.request();
                let profile = request.options.as_ref().and_then(|options| options.profile.as_ref());
                assert!(
                    profile.is_none_or(|name| !name.as_encoded_bytes().contains(&b'/')),
                    "a profile name, not a path"
                );
                let token = Secret::new("t1.fuzzed-token.fuzzed".into());
                let reply = exchange.write(&IssuedToken::new(&token, NOW));
                vec![reply, exchange.done(&[]), exchange.decline(Refusal::Failed(&Error::refused("no")))]
            }
            Err(error) => {
                check_error(&error);
                vec![(hook.answer_unreadable)(&call, &error)]
            }
        };
        // For any input, the reply is one line with one key, and the session continues.
        for reply in replies {
            assert!(reply.code == 0 && reply.stdout.iter().filter(|byte| **byte == b'\n').count() == 1);
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_slice(&reply.stdout).expect("an object");
            assert!(object.len() == 1 && (object.contains_key("Ok") || object.contains_key("Err")), "{object:?}");
        }
    }
}

fn goauth(input: &[u8]) {
    let Ok(url) = std::str::from_utf8(input) else { return };
    let hook = named("goauth");
    let operands = [url.to_owned()];
    let call = Call {
        operands: &operands,
        options: &Options::default(),
        environment: &Environment::default(),
        parse: parse_options,
    };
    let Ok(exchange) = (hook.read)(&call, b"") else { return };
    let token = Secret::new("t1.fuzzed-token.fuzzed".into());
    let hosts = &Allowed::new(DEFAULT_ENDPOINT, &[]);
    let reply = exchange.write(&IssuedToken { hosts, ..IssuedToken::new(&token, NOW) });
    let text = String::from_utf8_lossy(&reply.stdout);
    if let Some(Target::Host(host)) = &exchange.request().target {
        check_host(host);
        // One block with one URL, which contains only the host of the request.
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines.len(), 5, "{text:?}");
        assert!(
            lines[0] == format!("https://{host}") && lines[1].is_empty() && lines[3..].concat().is_empty(),
            "{text:?}"
        );
    } else {
        assert_eq!(text, "", "no host, no header");
    }
}

/// Reads arguments of keyring, separated by line feeds.
fn keyring(input: &[u8]) {
    let arguments = std::iter::once(OsString::from("keyring"))
        .chain(input.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec())));
    let arguments: Vec<OsString> = arguments.collect();
    let call = match cli::parse(&arguments) {
        Ok(Invocation::Hook(call)) => call,
        Ok(Invocation::Print(text)) => return assert_eq!(text, version(), "the help is that of the other keyring"),
        _ => panic!("not a call of keyring"),
    };
    if call.options.has_global() {
        assert!(arguments[1..].ends_with(&call.arguments_to_pass_on), "no argument is added");
    } else {
        assert_eq!(call.arguments_to_pass_on, arguments[1..], "the arguments are passed on unchanged");
    }
    let hook = call.hook;
    let hook_call = Call {
        operands: &call.operands,
        options: &call.options,
        environment: &Environment::default(),
        parse: parse_options,
    };
    let reply = match call.usage_error.clone().map_or_else(|| (hook.read)(&hook_call, b""), Err) {
        Ok(exchange) => {
            if let Some(Target::Host(host)) = &exchange.request().target {
                check_host(host);
            }
            exchange.decline(Refusal::HostNotAllowed)
        }
        Err(error) => {
            check_error(&error);
            (hook.answer_unreadable)(&hook_call, &error)
        }
    };
    assert!(reply.pass_on && reply.code == 1 && reply.stdout.is_empty());
}

fn kubelet(input: &[u8]) {
    if let Some(exchange) = request(named("kubelet"), &[], input, &Environment::default()) {
        let token = Secret::new("t1.fuzzed-token.fuzzed".into());
        let life = std::time::Duration::from_secs(3600);
        let reply = exchange.write(&IssuedToken { valid_for: life, ..IssuedToken::new(&token, NOW) });
        // For any image, the reply is JSON with one registry.
        let reply: serde_json::Value = serde_json::from_slice(&reply.stdout).expect("JSON");
        assert_eq!(reply["auth"].as_object().map(serde_json::Map::len), Some(1));
        assert!(reply.as_object().is_some_and(|fields| fields.len() == 5) && reply["cacheDuration"] == "1h0m0s");
    }
}

/// Reads a command line, separated by line feeds. The first argument is `argv[0]`.
fn argv(input: &[u8]) {
    let arguments: Vec<OsString> =
        input.split(|byte| *byte == b'\n').map(|word| OsString::from_vec(word.to_vec())).collect();
    if let Err(fault) = cli::parse(&arguments) {
        check_error(&fault.error);
    }
}

fn host(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(host) = Host::parse(text) {
        check_host(&host);
        let is_allowed = Allowed::new(DEFAULT_ENDPOINT, &[]).covers(&host);
        let defaults = [
            "cr.yandex",
            "cr.cloud.yandex.net",
            "container-registry.cloud.yandex.net",
            "registry.yandexcloud.net",
            "registry.pe.yandexcloud.net",
        ];
        assert_eq!(
            is_allowed,
            defaults.contains(&host.name.as_str())
                && matches!(host.port, None | Some(443))
                && host.scheme != Some(ycred::base::hosts::Scheme::Http)
        );
    }
    if let Ok(pattern) = Pattern::parse(text) {
        assert!(pattern.single().is_none_or(|host| Host::parse(&host).is_some()));
    }
}

fn headers(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = (
        http::http_date(text),
        http::retry_after(text, NOW),
        http::proxy::is_exempt("iam.api.cloud.yandex.net", 443, text),
        http::proxy::is_exempt("10.1.2.3", 443, text),
    );
    let _ = (parse_duration(text), Timestamp::parse(text).map(|moment| moment.to_string()));
}

fn message(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _secret = Secret::new("a-secret-of-the-fuzzer".into());
    let cleaned = clean(&text);
    assert!(
        !cleaned.chars().any(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')),
        "{cleaned:?}"
    );
    assert!(
        !"a-secret-of-the-fuzzer"
            .as_bytes()
            .windows(8)
            .any(|piece| cleaned.as_bytes().windows(8).any(|other| other == piece))
    );
    check_error(&Error::refused(text));
}

/// Reads a request to the port on loopback, which any web page and any local program can send.
fn request_head(input: &[u8]) {
    match loopback::read_head(input, 8080) {
        Ok(Some(request)) => {
            assert!(input.starts_with(b"GET ") || input.starts_with(b"\r\n") || input.starts_with(b"\n"));
            let host = request.header("host").unwrap_or_default().to_ascii_lowercase();
            assert!(matches!(host.as_str(), "127.0.0.1:8080" | "localhost:8080"), "{host}");
            assert!(request.header("x-forwarded-for").is_none() && !request.path.contains('?'));
        }
        Ok(None) => {}
        Err(refusal) => assert!(matches!(refusal.status, 400 | 403 | 405)),
    }
}

/// Reads the query of a login callback, which any web page and any local program can send, or a URL that a user pastes.
fn login_callback(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let state = "fuzzed-state-of-a-login";
    for query in [&*text, callback::query_of(&text)] {
        match callback::read_callback(query, state) {
            Ok(callback::Callback::Code(code)) => {
                assert!(query.contains("state=") && query.contains("code="), "{query}");
                assert!(code.expose().bytes().all(|byte| byte.is_ascii_graphic()));
            }
            Ok(callback::Callback::Refused(why)) => {
                assert!(query.contains("error="), "{query}");
                check_error(&Error::refused(why));
            }
            Err(why) => check_error(&Error::usage(why)),
        }
    }
}

fn login_state(input: &[u8]) {
    let directory = Path::new("/nowhere");
    let store = LoginStore::new(directory, &Identity::of("login"), "ycred login");
    if let Ok(state) = serde_json::from_slice::<LoginState>(input) {
        if let Err(error) = state.key(&store) {
            check_error(&error);
        }
        if let Some(access) = &state.access {
            let credential = access.credential();
            for now in [NOW, Timestamp(0)] {
                assert!(credential.advertised(now, SkewAge::Earlier) >= now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs for every reader, in addition to its corpus.
    const SEEDS: [&[u8]; 4] = [b"cr.yandex", b"https://cr.yandex/x", b"{\"uri\":\"https://cr.yandex/\"}", b"a=b\n\n"];

    /// Reads every input of the corpus: complete, and truncated or with one bit changed at each of its first 256 bytes.
    #[test]
    fn every_reader_survives_its_corpus() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let known = all();
        let mut count = 0;
        for reader in &known {
            let mut inputs: Vec<Vec<u8>> = SEEDS.map(<[u8]>::to_vec).into();
            let corpus = corpora.join(reader.name);
            assert!(corpus.is_dir() || matches!(reader.read, Kind::Hook(_)), "{} has no corpus", reader.name);
            let entries = std::fs::read_dir(corpus).into_iter().flatten().flatten();
            inputs.extend(entries.map(|entry| std::fs::read(entry.path()).expect("an input")));
            for input in inputs {
                reader.read(&input);
                for at in 0..input.len().min(256) {
                    reader.read(&input[..at]);
                    let mut changed = input.clone();
                    changed[at] ^= 1 << (at % 8);
                    reader.read(&changed);
                }
                count += 1;
            }
        }
        for corpus in std::fs::read_dir(corpora).expect("the corpora").flatten() {
            let name = corpus.file_name();
            assert!(known.iter().any(|reader| name == reader.name), "{name:?} is not the corpus of a reader");
        }
        println!("{count} inputs read");
    }
}
