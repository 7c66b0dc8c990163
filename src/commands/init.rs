//! `init`: creates a profile, fetches a token with it, and prints the account and the next steps. At a terminal, it asks for
//! the source.

mod default_profile;
mod host_kinds;
mod next_steps;
mod questions;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction};
use serde_json::json;

use crate::base::clock::{Timestamp, human};
use crate::base::environment::{ACTIONS_ID_TOKEN_REQUEST_URL, Environment};
use crate::base::error::{Error, Kind, Result, clean};
use crate::base::mask;
use crate::base::secret::Secret;
use crate::base::shell;
use crate::base::token::Credential;
use crate::cloud::http::Http;
use crate::commands::command::{Command, CommandCall, Group};
use crate::commands::init::default_profile::DEFAULT_NAME;
use crate::commands::init::next_steps::NextSteps;
use crate::commands::init::questions::{Answers, Dialogue};
use crate::commands::login;
use crate::commands::login::flow;
use crate::commands::profile_files;
use crate::commands::setup::PAINTS;
use crate::disk::{places, store};
use crate::process::flags::Example;
use crate::process::{Outcome, Reply};
use crate::profile::find::check_name;
use crate::profile::keys::COMMON_KEYS;
use crate::profile::text::{alias, setting};
use crate::profile::{Profile, ProfileRef};
use crate::session::Session;
use crate::sources;
use crate::sources::SOURCES;
use crate::sources::source::{Key, Source};
use crate::system;

pub const COMMAND: Command = Command {
    group: Group::SetUp,
    examples: &[
        Example {
            call: "ycred init prod --key-file key.json",
            about: "create the profile `prod` for a service account with an authorized key",
        },
        Example {
            call: "ycred init --metadata",
            about: "create a profile for the service account of this virtual machine",
        },
        Example { call: "ycred init", about: "answer up to three questions, then set up clients" },
        Example {
            call: "ycred init ci --service-account-id ajeID --subject-token-env CI_TOKEN --no-verify",
            about: "write a profile for a CI job, whose variable is not set on this machine",
        },
    ],
    paints: PAINTS,
    ..Command::new("init", "create a profile and verify it by fetching a token", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    let name = Arg::new("name").value_name("PROFILE").help("name of the new profile [default: main]");
    let force = Arg::new("force").long("force").action(ArgAction::SetTrue).help("replace an existing profile");
    let source = Arg::new("source")
        .long("source")
        .value_name("SOURCE")
        .help("credential source [default: inferred from the other flags]");
    let source_command = Arg::new("source-command")
        .value_name("CMD")
        .last(true)
        .action(ArgAction::Append)
        .help("command for the source to run [e.g. -- yc iam create-token --format json]");
    // A source gets a switch, such as --metadata, unless a key has the same name.
    let switches = SOURCES.iter().filter(|source| !is_key(source.name)).map(|source| {
        Arg::new(source.name)
            .long(source.name)
            .action(ArgAction::SetTrue)
            .help(format!("source = \"{}\": {}", source.name, source.about))
    });
    let keys = keys().map(|key| {
        Arg::new(key.name)
            .long(key.name)
            .value_name(key.value)
            .action(ArgAction::Append)
            .help(key.about)
            .allow_hyphen_values(true)
    });
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let command = command
        .arg(switch("no-input", "ask no question, even at a terminal"))
        .arg(switch("json", "print the result as JSON, and ask no question"))
        .arg(switch("no-verify", "fetch no token: the variable or file is on another machine"));
    command.arg(login::no_browser()).arg(name).arg(force).arg(source).args(switches).args(keys).arg(source_command)
}

/// Returns the profile keys that are flags of `init`: all of them, except those that are flags of every command.
fn keys() -> impl Iterator<Item = &'static Key> {
    let own = SOURCES.iter().flat_map(|source| source.keys);
    COMMON_KEYS.iter().chain(own).filter(|key| !crate::process::flags::FLAGS.iter().any(|flag| flag.long == key.name))
}

/// Returns true if a flag for a profile key has this name.
fn is_key(name: &str) -> bool {
    keys().any(|key| key.name == name)
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    // `--profile` works here as in other commands, but `check_name` rejects a path.
    let by_flag = call.options.profile.as_ref().map(|name| name.to_string_lossy().into_owned());
    let named = match (call.value("name"), by_flag.as_deref()) {
        (Some(name), Some(other)) if name != other => {
            return Err(Error::usage(format!("two different profiles given: {name} and --profile {other}"))
                .hint(format!("omit --profile {other}")));
        }
        (name, other) => name.or(other),
    };
    let directory = profile_files::directory(session)?;
    let check_new = |name: &str| check_new(name, directory, call, session);
    named.map_or_else(|| Ok(()), check_new)?;
    let mut values = values_of(call);
    let mut dialogue = None;
    let mut name = named.map(str::to_owned);
    let source = match choose_source(call, &values) {
        Err(_) if is_without_source(call) && questions::may_ask(call, session) => {
            let dialogue = dialogue.insert(Dialogue::new(session));
            let unnamed = name.as_deref().unwrap_or(DEFAULT_NAME);
            let answers = dialogue.ask_account(|answers| {
                let (source, values) = with_answers(answers, &values)?;
                Draft::new(unnamed, directory, source, values, call, session).map(drop)
            })?;
            if name.is_none() {
                let check = |name: &str| check_new(name).map_err(|error| explain_at_question(&error, name));
                name = Some(dialogue.ask_name(DEFAULT_NAME, check)?);
            }
            let (source, answered) = with_answers(&answers, &values)?;
            values = answered;
            source
        }
        source => {
            check_new(name.as_deref().unwrap_or(DEFAULT_NAME))?;
            source?
        }
    };
    // With an answer, the profile has the name that the person chose, also if that is the suggested one.
    let is_named = named.is_some() || name.as_deref().is_some_and(|name| name != DEFAULT_NAME);
    let name = name.as_deref().unwrap_or(DEFAULT_NAME);
    // Parse the profile and read its key file before writing anything.
    let draft = Draft::new(name, directory, source, values, call, session)?;
    let created = create(draft, is_named, directory, call, session)?;
    let next_steps = NextSteps::new(name, call, session);
    // The clients of such a profile are on another machine.
    let is_for_elsewhere = call.matches.get_flag("no-verify");
    let commands = || match is_for_elsewhere {
        true if created.needs_login => vec![format!("ycred login {name}")],
        // It prints no token into the log of a job.
        true => vec![format!("ycred refresh --profile {name}")],
        false => next_steps.commands(),
    };
    let place = created.works_only.as_ref().map(|place| format!(", {place}")).unwrap_or_default();
    if call.matches.get_flag("json") {
        return Ok(Outcome::reply(Reply::json(&created.json(&commands()))));
    }
    let mut report = created.text();
    let commands = match &mut dialogue {
        Some(dialogue) if !is_for_elsewhere => {
            // The person reads the result before the next question.
            let _ = (session.print_stdout)(report.as_bytes());
            report.clear();
            next_steps.offer(dialogue)?
        }
        _ => commands(),
    };
    for command in next_steps::shown(commands) {
        let _ = writeln!(report, "next{place}: {command}");
    }
    Ok(Outcome::reply(Reply::text(report)))
}

/// Checks the name of a new profile.
fn check_new(name: &str, directory: &Path, call: &CommandCall, session: &Session<'_>) -> Result<()> {
    check_name(name)?;
    let path = directory.join(format!("{name}.toml"));
    if !call.matches.get_flag("force") && path.symlink_metadata().is_ok() {
        return Err(
            Error::usage(format!("{}: profile already exists", path.display())).hint(hint_for_existing(name, session))
        );
    }
    Ok(())
}

/// Says at the question for the name what to answer instead. No hint is printed there.
fn explain_at_question(error: &Error, name: &str) -> Error {
    let how = match check_name(name) {
        Ok(()) => {
            format!("choose another name, or end this with Ctrl-C and replace it with `ycred init {name} --force`")
        }
        Err(rule) => rule.hint_text().unwrap_or_default(),
    };
    // The rest is about paths, which no answer can be.
    let how = how.split("; a path").next().unwrap_or_default();
    Error::usage(format!("{}: {how}", error.reason()))
}

/// A profile that is valid, but not written yet.
struct Draft {
    profile: Profile,
    path: PathBuf,
    text: String,
    account: String,
}

impl Draft {
    /// Builds a profile and checks it, without a request.
    fn new(
        name: &str,
        directory: &Path,
        source: &'static Source,
        values: Values,
        call: &CommandCall,
        session: &Session<'_>,
    ) -> Result<Self> {
        let path = directory.join(format!("{name}.toml"));
        let text = profile_text(source, values, call, session)?;
        let unwritten = |error: Error| error.context("profile not created");
        let load = |environment| Profile::from_text(name, &path, &text, environment, session.places);
        if call.matches.get_flag("no-verify") {
            let profile = load(session.environment).map_err(unwritten)?;
            // The variables and files are on another machine. Everything else must be right.
            let account = load(&with_placeholders(&profile, session)).and_then(|elsewhere| {
                let grant = elsewhere.open()?;
                let is_here =
                    |setting: &str| profile.settings.path(setting).ok().flatten().is_none_or(|it| it.exists());
                let files = || profile.source.keys.iter().filter(|key| key.value == "FILE");
                match files().all(|key| is_here(key.name)) {
                    true => grant.account(),
                    false => Ok("account unknown".to_owned()),
                }
            });
            return Ok(Self { account: account.map_err(unwritten)?, profile, path, text });
        }
        let profile = load(session.environment).map_err(unwritten)?;
        let account = profile.open().and_then(|grant| grant.account());
        let account = account.map_err(|error| unwritten(hint_for_elsewhere(error, &profile)))?;
        Ok(Self { profile, path, text, account })
    }
}

/// Returns the environment with a value for each variable that a profile reads and that is not set here.
fn with_placeholders(profile: &Profile, session: &Session<'_>) -> Environment {
    let is_missing = |name: &&str| session.environment.get(name).is_none();
    let placeholder = |name: &str| (name.into(), "placeholder".into());
    let mut missing: Vec<_> = profile.secret_variables().filter(is_missing).map(placeholder).collect();
    if is_missing(&ACTIONS_ID_TOKEN_REQUEST_URL) {
        missing.push((ACTIONS_ID_TOKEN_REQUEST_URL.into(), "https://placeholder.example/?x".into()));
    }
    session.environment.with(missing)
}

/// Returns where a profile gets a token, if this machine does not have what it needs.
fn works_only(profile: &Profile, session: &Session<'_>) -> Option<String> {
    if profile.source.name == "metadata" {
        return Some("on the virtual machine".to_owned());
    }
    let is_missing = |name: &&str| session.environment.get(name).is_none();
    if profile.settings.has("github-audience") && is_missing(&ACTIONS_ID_TOKEN_REQUEST_URL) {
        return Some("in a job of GitHub Actions".to_owned());
    }
    let files = profile.source.keys.iter().filter(|key| key.value == "FILE");
    let files = files.filter_map(|key| profile.settings.path(key.name).ok().flatten()).filter(|path| !path.exists());
    let variables = profile.secret_variables().filter(is_missing).map(|name| format!("{name} is set"));
    let missing: Vec<String> =
        variables.chain(files.map(|path| clean(&format!("{} exists", path.display())))).collect();
    (!missing.is_empty()).then(|| format!("where {}", missing.join(" and ")))
}

/// Adds how to create a profile for another machine to an error about a variable or a file that is not here.
fn hint_for_elsewhere(error: Error, profile: &Profile) -> Error {
    const HOW: &str = "for a profile that is used on another machine, pass --no-verify";
    let is_missing = |path: Option<PathBuf>| path.is_some_and(|path| !path.exists());
    let files = profile.source.keys.iter().filter(|key| key.value == "FILE");
    let mut missing_files = files.filter(|key| is_missing(profile.settings.path(key.name).ok().flatten()));
    let mut variables = profile.secret_variables();
    match (missing_files.next(), error.hint_text()) {
        (Some(_), Some(hint)) => error.replace_hint(format!("{hint}; {HOW}")),
        (None, Some(hint)) if variables.any(|name| error.reason().contains(name)) => {
            error.replace_hint(format!("{hint}; {HOW}"))
        }
        (_, None) if variables.any(|name| error.reason().contains(name)) => error.hint(HOW),
        _ => error,
    }
}

/// A profile that was written.
struct Created {
    name: String,
    source: &'static str,
    needs_login: bool,
    path: PathBuf,
    account: String,
    /// Where the profile gets a token, if that is not here: `where CI_TOKEN is set`.
    works_only: Option<String>,
    /// What the fetch has shown, for people.
    status: String,
    token: Option<Credential>,
    now: Timestamp,
    /// The profile that `default.toml` names, if `init` has written it, and the path of that file.
    default: Option<(String, PathBuf)>,
    /// The line about another profile that stays the default.
    kept_default: Option<String>,
}

impl Created {
    fn text(&self) -> String {
        let mut report = format!("{}: {}\n", clean(&self.path.display().to_string()), clean(&self.status));
        if let Some((default, path)) = &self.default {
            let (path, name) = (clean(&path.display().to_string()), &self.name);
            let _ = match default == name {
                true => writeln!(report, "{path}: the default profile is now {name}"),
                false => {
                    writeln!(report, "{path}: the default profile is still {default}; to change it: ycred use {name}")
                }
            };
        }
        if let Some(line) = &self.kept_default {
            let _ = writeln!(report, "{line}");
        }
        report
    }

    fn json(&self, next: &[String]) -> serde_json::Value {
        let token = self.token.as_ref().map(|token| {
            let seconds = token.left(self.now).max(0) / 1000;
            json!({
                "expires_at": token.expires.to_string(), "expires_at_unix": token.expires.0.div_euclid(1000),
                "seconds_left": seconds,
            })
        });
        json!({
            "version": 1, "profile": self.name, "file": clean(&self.path.display().to_string()), "source": self.source,
            "account": clean(&self.account), "token": token,
            "default": self.default.as_ref().map(|(default, _)| default), "next": next,
        })
    }
}

/// Writes a profile, and the default profile if necessary. Then logs in and fetches a token, unless `--no-verify` is given.
fn create(
    draft: Draft,
    is_named: bool,
    directory: &Path,
    call: &CommandCall,
    session: &Session<'_>,
) -> Result<Created> {
    let Draft { profile, path, text, account } = draft;
    let name = profile.name.clone().unwrap_or_default();
    let lock = profile_files::lock(directory, session)?;
    let default = default_profile::alias_to_write(&name, is_named, session.places);
    let kept_default = if default.is_none() { default_profile::kept(&name, session) } else { None };
    let default_path = directory.join("default.toml");
    let write = |path: &Path, text: &str, overwrite| {
        store::write_config(path, text.as_bytes(), overwrite).map_err(|error| {
            Error::profile(format!("{}: cannot write the profile", path.display()))
                .because(crate::base::error::describe(&error))
                .hint("set YCRED_CONFIG_DIR to a writable directory")
        })
    };
    // Written before the new profile: once there are two, the first would no longer be used as the only one.
    if let Some(first) = default.as_ref().filter(|first| **first != name) {
        write(&default_path, &alias(first), false)?;
    }
    write(&path, &text, call.matches.get_flag("force"))?;
    if default.as_deref() == Some(&*name) {
        write(&default_path, &alias(&name), false)?;
    }
    drop(lock);
    let mut created = Created {
        source: profile.source.name,
        needs_login: profile.source.needs_login,
        path,
        works_only: call.matches.get_flag("no-verify").then(|| works_only(&profile, session)).flatten(),
        status: format!("{account}; not verified"),
        account,
        token: None,
        now: session.clock.now(),
        default: default.map(|default| (default, default_path)),
        kept_default,
        name,
    };
    if call.matches.get_flag("no-verify") {
        return Ok(created);
    }
    let (path, name) = (created.path.display().to_string(), &created.name);
    // Source `login` needs a person, so log in while one is at the terminal.
    let login_report = match profile.source.needs_login {
        true => {
            Some(login::log_in(&profile, call, call.options.timeout.unwrap_or(flow::LOGIN_TIMEOUT), session).map_err(
                |error| {
                    let hint = error.hint_text().map(|hint| format!("{hint}; then run ")).unwrap_or_default();
                    let next = if hint.is_empty() { "to try again, run " } else { &hint };
                    error
                        .context(format!("{path}: profile created, but the login failed"))
                        // Without the flag, no browser opens for a while after a failed login.
                        .replace_hint(format!("{next}`ycred login {name} --force-refresh`"))
                },
            )?)
        }
        false => None,
    };
    let obtained =
        session.obtain(&profile, &call.options, Duration::ZERO).map_err(|error| hint_to_go_on(error, &path, name))?;
    let credential = obtained.credential;
    created.now = session.clock.now();
    created.status = match (login_report, credential.assumed) {
        (Some(report), _) => report,
        (None, true) => format!("{}; got a token", created.account),
        (None, false) => {
            let left = human(credential.left(created.now));
            format!("{}; got a token, valid for {left}", created.account)
        }
    };
    created.token = Some(credential);
    Ok(created)
}

/// Says how to go on with a profile that was written, but gets no token.
fn hint_to_go_on(error: Error, path: &str, name: &str) -> Error {
    let first = error.hint_text().map(|hint| format!("{hint}; ")).unwrap_or_default();
    let is_of_profile = error.kind != Kind::Unavailable && !is_about_variables(&error) || first.contains(path);
    let next = match is_of_profile {
        // The first part says what to correct.
        true if first.contains(path) => {
            format!("then run `ycred token --profile {name}`, or run `ycred init` again with --force")
        }
        true => {
            format!("correct {path} and run `ycred token --profile {name}`, or run `ycred init` again with --force")
        }
        // A profile that is right does not change this.
        false => format!("then run `ycred token --profile {name}`"),
    };
    error
        .context(format!("{path}: profile created, but cannot get a token"))
        .replace_hint(format!("{first}{next}; then `ycred setup`"))
}

/// Returns true if the cause is a variable for proxies or certificates, and not the profile.
fn is_about_variables(error: &Error) -> bool {
    let (reason, hint) = (error.reason(), error.hint_text().unwrap_or_default());
    Http::variables().any(|name| reason.contains(name) || hint.contains(name))
}

/// Says how to go on with a profile that exists already, such as after a login that failed.
fn hint_for_existing(name: &str, session: &Session<'_>) -> String {
    let existing = session.profile(&ProfileRef::Name { by: "init", name: name.to_owned() });
    let next = match existing {
        Ok(profile) if profile.source.needs_login => format!("to log in with it, run `ycred login {name}`"),
        Ok(_) => format!("to use it, run `ycred token --profile {name}`"),
        Err(_) => "choose another name".to_owned(),
    };
    format!("{next}, or pass --force to replace it")
}

/// The values of the keys of a profile.
type Values = BTreeMap<&'static str, Vec<String>>;

/// Returns the values that the flags give.
fn values_of(call: &CommandCall) -> Values {
    let given = |key: &Key| -> Vec<String> {
        call.matches.get_many::<String>(key.name).into_iter().flatten().cloned().collect()
    };
    keys().map(|key| (key.name, given(key))).filter(|(_, given)| !given.is_empty()).collect()
}

/// Returns true if no flag names a source. A wrong source is an error, and no reason to ask.
fn is_without_source(call: &CommandCall) -> bool {
    call.value("source").is_none()
}

/// Adds the answers of a person to the values of the flags.
fn with_answers(answers: &Answers, values: &Values) -> Result<(&'static Source, Values)> {
    let source = sources::named(answers.source).ok_or_else(|| Error::internal("an unknown source was offered"))?;
    let mut values = values.clone();
    values.extend(answers.setting.iter().map(|(key, value)| (*key, vec![value.clone()])));
    Ok((source, values))
}

/// Builds the content of the profile's file.
fn profile_text(source: &Source, mut values: Values, call: &CommandCall, session: &Session<'_>) -> Result<String> {
    let command: Vec<String> =
        call.matches.get_many::<String>("source-command").into_iter().flatten().cloned().collect();
    if !command.is_empty() {
        let key = source
            .keys
            .iter()
            .find(|key| key.value == "COMMAND")
            .ok_or_else(|| Error::usage(format!("source \"{}\" doesn't run a command", source.name)))?;
        values.insert(key.name, command);
    }
    for (key, given) in &values {
        // A command may need arguments that only look like secrets. Its first word is a program.
        let is_command = keys().any(|known| known.name == *key && known.value == "COMMAND");
        let checked = &given[..if is_command { 1 } else { given.len() }];
        let is_path = |text: &String| !text.contains(['{', '"', '\n']) || Path::new(text).exists();
        if checked.iter().any(|text| mask::looks_like_secret(text) || is_command && !is_path(text)) {
            checked.iter().for_each(|text| drop(Secret::new(text.clone())));
            return Err(Error::usage(format!("--{key}: looks like a secret, so it is not shown and not written"))
                .hint("put the secret into a file or a variable, and name that in the profile"));
        }
    }
    let mut text = String::new();
    setting(&mut text, "source", &[source.name], false);
    let order = source.keys.iter().chain(COMMON_KEYS);
    for (key, mut given) in order.filter_map(|key| values.remove(key.name).map(|given| (key, given))) {
        if key.value == "FILE" {
            given = given.iter().map(|path| absolute(key.name, path, session)).collect::<Result<_>>()?;
        }
        let is_list = given.len() > 1 || matches!(key.name, "hosts" | "command-env") || key.value == "COMMAND";
        setting(&mut text, key.name, &given, is_list);
    }
    match values.keys().next() {
        Some(key) => Err(Error::usage(format!("--{key} cannot be used with source \"{}\"", source.name))),
        None => Ok(text),
    }
}

/// Returns the source that the command line selects. The first of these wins: `--source`, the switch of a source, a key
/// that belongs to a source, a command after `--`.
fn choose_source(call: &CommandCall, values: &Values) -> Result<&'static Source> {
    if let Some(name) = call.value("source") {
        let names: Vec<&str> = SOURCES.iter().map(|source| source.name).collect();
        return sources::named(name)
            .ok_or_else(|| Error::usage(format!("--source: \"{name}\" is not one of {}", names.join(", "))));
    }
    let has_switch = |source: &&&Source| !is_key(source.name) && call.matches.get_flag(source.name);
    let has_key = |source: &&&Source| source.keys.iter().any(|key| values.contains_key(key.name));
    // A command after `--` selects source `command`, the only one that has a key of its own name.
    let runs_command = |source: &&&Source| {
        call.matches.contains_id("source-command") && source.keys.iter().any(|key| key.name == source.name)
    };
    let matching = [SOURCES.iter().find(has_switch), SOURCES.iter().find(has_key), SOURCES.iter().find(runs_command)];
    matching.into_iter().flatten().next().copied().ok_or_else(|| {
        Error::usage("no credential source given").hint(
            "pass --key-file FILE (a service account's key) or --metadata (on a VM); `ycred init --help` lists all \
             sources",
        )
    })
}

/// Returns true if a path exists and is neither a file nor a directory, such as a named pipe.
fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// Makes a path absolute. On the command line it is relative to the current directory, but in a profile it would be
/// relative to the profile.
fn absolute(key: &str, path: &str, session: &Session<'_>) -> Result<String> {
    if !mask::is_path(path) && !Path::new(path).exists() {
        let _masked = Secret::new(path.to_owned());
        return Err(Error::usage(format!("--{key}: not the path of a file; it may be a secret, so it is not shown"))
            .hint(format!("pass --{key} with the path of a file; if it has no slash, write ./NAME")));
    }
    // The profile would name the standard input or a pipe of this run.
    if system::files::is_of_one_process(Path::new(path)) || is_pipe(Path::new(path)) {
        return Err(Error::usage(format!(
            "--{key}: {path} is gone after this run, but the profile reads the file each time"
        ))
        .hint(format!("save it as a file first, for example: install -m 600 {} key.json", shell::word(path))));
    }
    places::absolute(Path::new(path), session.places.home.as_deref())
        .map_err(|why| Error::usage(format!("{path}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::painting::Look;

    #[test]
    fn colour_is_for_changes_and_not_for_words_in_sentences() {
        let look = Look { has_colour: true, is_ascii: false, paints: COMMAND.paints };
        assert_eq!(
            look.stdout("kubectl: cannot be set up yet: not set up\n"),
            "kubectl: cannot be set up yet: not set up\n"
        );
        assert!(look.stdout("+ command: x\n").contains('\u{1b}'));
    }
}
