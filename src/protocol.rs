//! The hooks: what a protocol is, the table of all, and the one function that carries a call through.
//!
//! A protocol turns bytes into an [`Ask`] and a token into bytes, and touches nothing else; a new one is a file here
//! and a line in [`PROTOCOLS`].

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use zeroize::Zeroizing;

use crate::base::clock::Timestamp;
use crate::base::environment::Environment;
use crate::base::error::{Error, Kind, RAISE_TIMEOUT, Result};
use crate::base::hosts;
use crate::base::hosts::{Allowed, Host, Reach};
use crate::base::secret::Secret;
use crate::invocation::{Flag, HookCall, Options};
use crate::profile::{DEFAULT_TIMEOUT, Profile, Wanted};
use crate::session::Session;
use crate::sources::Resource;

mod aws;
mod bazel;
mod cargo;
mod docker;
mod git;
mod goauth;
mod keyring;
mod kubectl;
mod kubelet;
mod pnpm;
mod terraform;
mod token;

/// Every hook, in the order of the README.
pub const PROTOCOLS: &[&dyn Protocol] = &[
    &kubectl::Kubectl,
    &docker::Docker,
    &git::Git,
    &terraform::Terraform,
    &aws::Aws,
    &kubelet::Kubelet,
    &bazel::Bazel,
    &cargo::Cargo,
    &goauth::GoAuth,
    &pnpm::Pnpm,
    &keyring::Keyring,
    &token::Token,
];

/// What the tables say of a hook.
pub struct Hook {
    /// As in `ycred NAME`.
    pub name: &'static str,
    pub about: &'static str,
    /// The name under which its caller finds it, to which `-PROFILE` may be added.
    pub symlink: Option<&'static str>,
    /// A flag that alone names the hook, for a caller that cannot be told a word (`ycred --cargo-plugin`).
    pub by_flag: Option<&'static str>,
    /// Names of the words it takes, all of them.
    pub operands: &'static [&'static str],
    pub flags: &'static [Flag],
    /// Flags that are words of the protocol's own instead of ours: the flag, and the operand it stands for.
    pub own_words: &'static [(&'static str, &'static str)],
    /// The protocol demands that operations which are not known are ignored.
    pub ignores_unknown: bool,
}

impl Hook {
    /// The word of the protocol's own that this flag is.
    pub fn own_word(&self, flag: &Flag) -> Option<&'static str> {
        self.own_words.iter().find(|(long, _)| *long == flag.long).map(|(_, word)| *word)
    }
}

/// The hook of this name.
pub fn named(name: &str) -> Option<&'static dyn Protocol> {
    PROTOCOLS.iter().find(|protocol| protocol.hook().name == name).copied()
}

/// How requests come and replies go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nothing comes on stdin, which is left untouched: it may be the user's terminal.
    None,
    /// One request: all of stdin.
    Whole,
    /// A conversation: a greeting of ours, then a line in reply to each line, to the end of stdin; the exit code tells
    /// nothing of how the requests fared.
    Lines { greeting: &'static str },
}

/// A call, as far as a protocol sees it.
pub struct Call<'a> {
    pub operands: &'a [String],
    pub options: &'a Options,
    pub environment: &'a Environment,
}

/// One wire format.
pub trait Protocol: Sync {
    fn hook(&self) -> &'static Hook;

    /// The program that calls it, mostly of the hook's own name; none where a person does.
    fn program(&self) -> Option<&'static str> {
        Some(self.hook().name)
    }

    /// The command line of ours by which that program finds what it needs.
    fn way_to_run(&self) -> &'static str {
        "ycred exec"
    }

    /// How this call's requests come.
    fn framing(&self, call: &Call<'_>) -> Framing;

    /// How far among the cloud's own hosts its clients go.
    fn reach(&self) -> Reach {
        Reach::Registries
    }

    /// How long its clients wait at most, where that is known: no run of the hook takes longer, whatever flags and
    /// profile say.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// It goes by the name of another program, and stands in for it: called by that name, every flag is that program's, and
    /// what is not for us is passed on to it ([`Reply::pass_on`]).
    fn stands_in(&self) -> bool {
        false
    }

    /// Reads the request. Pure.
    ///
    /// # Errors
    /// Usage (2): it is none of this protocol.
    fn read(&self, call: &Call<'_>, input: &[u8]) -> Result<Box<dyn Exchange>>;

    /// The answer to a request that could not be read.
    fn reject(&self, call: &Call<'_>, error: &Error) -> Reply {
        let _ = call;
        Reply::nothing(error.kind.exit_code())
    }
}

/// A request that has been read, and the answers to it.
pub trait Exchange: std::fmt::Debug {
    fn ask(&self) -> &Ask;

    /// The reply with a token in it.
    fn write(&self, token: &Handout<'_>) -> Reply;

    /// The reply to anything but [`Act::Get`], once it has been done; `hosts` are those that the token may go to.
    fn done(&self, hosts: &[String]) -> Reply {
        let _ = hosts;
        Reply::default()
    }

    /// The reply without a token in it. Nothing, unless the protocol has a word for it.
    fn refuse(&self, why: Refusal<'_>) -> Reply {
        match why {
            Refusal::NotMine => Reply::nothing(0),
            Refusal::Failed(error) => Reply::nothing(error.kind.exit_code()),
        }
    }
}

/// What a client asks for.
#[derive(Debug, Default)]
pub struct Ask {
    pub act: Act,
    /// Where the token would go; none where the protocol does not say.
    pub target: Option<Target>,
    /// What the token must be good for.
    pub need: Resource,
    /// A profile's name in the client's own input.
    pub profile: Option<String>,
    /// Flags in the client's own input, in place of those on the command line.
    pub options: Option<Options>,
    /// The least life that the protocol's clients need, where that is more than the profile's.
    pub floor: Duration,
}

/// What is to be done.
#[derive(Debug, Default)]
pub enum Act {
    #[default]
    Get,
    /// Keep a credential of the user's: we keep none.
    Keep,
    /// Drop a credential; with the very token where the protocol tells it.
    Drop(Option<Secret>),
    /// Say which hosts are ours.
    Describe,
    /// Nothing to do, whoever asks.
    Nothing,
}

/// Where the token would go.
#[derive(Debug)]
pub enum Target {
    Host(Host),
    /// A host that a person typed, so that a refusal is an error and not a word of the protocol.
    Typed(Host),
    /// What was named is no host that could be ours.
    Unreadable,
}

/// A token on its way out.
pub struct Handout<'a> {
    pub token: &'a Secret,
    /// By this machine's clock, shaved, never in the past.
    pub expires: Timestamp,
    /// The same as a length, for a protocol that has no clock in it.
    pub life: Duration,
    /// Where the token may go, for a protocol that tells.
    pub hosts: &'a Allowed,
}

impl<'a> Handout<'a> {
    /// One of which it is known only until when it is good.
    pub fn new(token: &'a Secret, expires: Timestamp) -> Self {
        Self { token, expires, life: Duration::ZERO, hosts: &hosts::NONE }
    }
}

/// Why there is no token.
pub enum Refusal<'a> {
    /// The host is none of ours: the protocol's own word for that.
    NotMine,
    Failed(&'a Error),
}

/// What goes to stdout, and the exit code. Stderr gets the error's lines by themselves.
#[derive(Default)]
pub struct Reply {
    pub stdout: Zeroizing<Vec<u8>>,
    pub code: u8,
    /// What stderr gets with it, where the protocol wants a reason for what is no failure.
    pub reason: Option<Error>,
    /// The next program of the name that ycred was called by may answer instead, if there is one.
    pub pass_on: bool,
}

impl Reply {
    pub fn text(text: impl Into<String>) -> Self {
        Self { stdout: Zeroizing::new(text.into().into_bytes()), ..Self::default() }
    }

    /// A line of JSON. What ycred builds itself always can be written.
    pub fn json(value: &serde_json::Value) -> Self {
        Self::text(format!("{value}\n"))
    }

    pub fn nothing(code: u8) -> Self {
        Self { code, ..Self::default() }
    }

    #[must_use]
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    #[must_use]
    pub fn with_reason(self, reason: Error) -> Self {
        Self { reason: Some(reason), ..self }
    }
}

/// The value of `Authorization` for registries: Basic, by the user `iam`.
fn basic(token: &Secret) -> String {
    let pair = Zeroizing::new(format!("iam:{}", token.expose()));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()))
}

/// The most that a client may send; the longest real one (kubelet's, with a pod's token) is a few KiB.
pub const LARGEST_INPUT: usize = 64 * 1024;

/// Carries a hook's call through: request in, reply out, and the error for stderr if there is one.
pub fn serve(hook_call: &HookCall, session: &Session<'_>) -> (Reply, Option<Error>) {
    let call = Call { operands: &hook_call.operands, options: &hook_call.options, environment: session.environment };
    let framing = hook_call.protocol.framing(&call);
    if let Err(error) = check_words(hook_call) {
        let reply = match framing {
            // There is no request yet that could be replied to.
            Framing::Lines { .. } => Reply::nothing(error.kind.exit_code()),
            Framing::None | Framing::Whole => hook_call.protocol.reject(&call, &error),
        };
        return (reply, Some(error));
    }
    let input = match framing {
        Framing::None => Ok(Some(Zeroizing::default())),
        Framing::Whole => {
            let options = within_patience(hook_call, &hook_call.options, DEFAULT_TIMEOUT);
            session.read_stdin(LARGEST_INPUT, &options).map(Some)
        }
        Framing::Lines { greeting } => converse(hook_call, &call, greeting, session).map(|()| None),
    };
    match input {
        Ok(Some(input)) => reply_to(hook_call, &call, &input, session),
        Ok(None) => (Reply::default(), None),
        // A conversation whose channel is gone: there is nobody to reply to.
        Err(error) if error.kind == Kind::Internal => (Reply::nothing(error.kind.exit_code()), Some(error)),
        Err(error) => (hook_call.protocol.reject(&call, &error), Some(error)),
    }
}

/// Greets, and replies to each line with a line, until stdin ends.
fn converse(hook_call: &HookCall, call: &Call<'_>, greeting: &str, session: &Session<'_>) -> Result<()> {
    let unsaid = |error| Error::internal("the reply could not be written").because(error);
    (session.say)(format!("{greeting}\n").as_bytes()).map_err(unsaid)?;
    let mut lines = session.lines(LARGEST_INPUT, &hook_call.options);
    while let Some(line) = lines.next(session)? {
        session.started.set(session.clock.elapsed());
        let (reply, error) = reply_to(hook_call, call, &line, session);
        if let Some(error) = error {
            (session.tell)(&error.render());
        }
        (session.say)(&reply.stdout).map_err(unsaid)?;
    }
    Ok(())
}

fn reply_to(hook_call: &HookCall, call: &Call<'_>, input: &[u8], session: &Session<'_>) -> (Reply, Option<Error>) {
    let exchange = match hook_call.protocol.read(call, input) {
        Ok(exchange) => exchange,
        Err(error) => return (hook_call.protocol.reject(call, &error), Some(error)),
    };
    match answer(hook_call, exchange.as_ref(), session) {
        Ok(mut reply) => {
            let reason = reply.reason.take();
            (reply, reason)
        }
        Err(error) => (exchange.refuse(Refusal::Failed(&error)), Some(error)),
    }
}

fn answer(hook_call: &HookCall, exchange: &dyn Exchange, session: &Session<'_>) -> Result<Reply> {
    let ask = exchange.ask();
    if matches!(ask.act, Act::Nothing) {
        return Ok(exchange.done(&[]));
    }
    let loaded = session.profile(&wanted(hook_call, ask));
    if let Act::Describe = ask.act {
        // Asked by every build of the classic docker builder: without a profile there is nothing to list, and no error.
        let hosts: Vec<String> = loaded.map(|profile| profile.hosts.singles().collect()).unwrap_or_default();
        return Ok(exchange.done(&hosts));
    }
    let reach = hook_call.protocol.reach();
    let profile = match (&ask.target, loaded) {
        (None, loaded) => loaded?,
        (Some(Target::Typed(host)), loaded) => {
            let profile = loaded?;
            if !profile.hosts.covers_for(reach, host) {
                return Err(Error::usage(format!("{profile}: its token may not go to {host}"))
                    .hint(format!("if it may, list the host in the profile: hosts = [\"{host}\"]")));
            }
            profile
        }
        (Some(Target::Unreadable), _) => return Ok(exchange.refuse(Refusal::NotMine)),
        (Some(Target::Host(host)), Ok(profile)) if profile.hosts.covers_for(reach, host) => profile,
        // A broken profile is worth a word only where the host is ours whatever the profile says.
        (Some(Target::Host(host)), Err(error)) if hosts::is_built_in(reach, host) && matches!(ask.act, Act::Get) => {
            return Err(error);
        }
        (Some(Target::Host(host)), Err(_)) if hosts::is_built_in(reach, host) => return Ok(exchange.done(&[])),
        (Some(Target::Host(_)), _) => return Ok(exchange.refuse(Refusal::NotMine)),
    };
    match &ask.act {
        Act::Get => get(hook_call, exchange, &profile, session),
        Act::Drop(Some(token)) => {
            session.reject_token(&profile, options(hook_call, ask), token);
            Ok(exchange.done(&[]))
        }
        Act::Keep | Act::Drop(None) | Act::Describe | Act::Nothing => Ok(exchange.done(&[])),
    }
}

fn get(hook_call: &HookCall, exchange: &dyn Exchange, profile: &Profile, session: &Session<'_>) -> Result<Reply> {
    let ask = exchange.ask();
    let options = within_patience(hook_call, options(hook_call, ask), profile.timeout);
    let obtained = session.obtain_need(profile, &options, &ask.need, ask.floor).map_err(|error| match options {
        // More time than its client waits would help nobody.
        Cow::Owned(_) if error.mend().as_deref() == Some(RAISE_TIMEOUT) => {
            error.replace_hint(format!("try again: {} waits no longer", hook_call.protocol.hook().name))
        }
        _ => error,
    })?;
    let now = session.clock.now();
    let expires = obtained.credential.advertised(now, obtained.skew_is_current);
    let life = Duration::from_millis(u64::try_from(expires.since(now)).unwrap_or(0));
    let handout = Handout { life, hosts: &profile.hosts, ..Handout::new(&obtained.credential.secret, expires) };
    Ok(exchange.write(&handout))
}

/// The flags with the deadline that the protocol's clients impose; `otherwise` is the one that holds without a flag.
fn within_patience<'a>(call: &HookCall, options: &'a Options, otherwise: Duration) -> Cow<'a, Options> {
    match call.protocol.patience() {
        Some(patience) if patience < options.timeout.unwrap_or(otherwise) => {
            Cow::Owned(Options { timeout: Some(patience), ..options.clone() })
        }
        _ => Cow::Borrowed(options),
    }
}

fn options<'a>(call: &'a HookCall, ask: &'a Ask) -> &'a Options {
    ask.options.as_ref().unwrap_or(&call.options)
}

/// The profile, by whoever named it nearest to the call.
fn wanted(call: &HookCall, ask: &Ask) -> Wanted {
    if let Some(text) = &options(call, ask).profile {
        return Wanted::Typed { by: "--profile", text: text.clone() };
    }
    if let Some(name) = &call.suffix {
        return Wanted::Given { by: "the name it was called by", name: name.clone() };
    }
    match &ask.profile {
        Some(name) => Wanted::Given { by: "the client's request", name: name.clone() },
        None => Wanted::Unnamed,
    }
}

/// Tells a fault in the words; a person who types `ycred kubectl get pods -n x` means something else.
fn check_words(call: &HookCall) -> Result<()> {
    let hook = call.protocol.hook();
    let is_own = |word: &String| hook.own_words.iter().any(|(_, own)| own == word);
    let is_operation =
        |word: &String| hook.operands.first().is_none_or(|known| known.split('|').any(|known| known == word));
    let means_another = call.operands.len() > hook.operands.len()
        || (!hook.ignores_unknown && call.operands.first().is_some_and(|word| !is_operation(word) && !is_own(word)));
    // The words of a program that we stand in for are that program's to judge.
    if call.by_symlink || call.protocol.stands_in() || !means_another {
        return call.fault.clone().map_or(Ok(()), Err);
    }
    let taken = |operands: &[&str]| match operands {
        [] => "no further words".to_owned(),
        operands => operands.join(" "),
    };
    // `ycred docker get cr.yandex` means the hook, and no command of its program's.
    if let ([word, ..], [_, rest @ ..]) = (&call.operands[..], hook.operands)
        && is_operation(word)
    {
        let error = Error::usage(format!("`ycred {} {word}` takes {}", hook.name, taken(rest)));
        return Err(if rest.is_empty() { error.hint("what it is asked comes on standard input") } else { error });
    }
    let takes = taken(hook.operands);
    let Some(program) = call.protocol.program() else {
        let is_given = |value: &&&str| call.operands.iter().any(|word| word == **value);
        let meant = hook.flags.iter().find_map(|flag| Some((flag.long, flag.choices.iter().find(is_given)?)));
        let first = call.operands.first().map_or("", String::as_str);
        return Err(Error::usage(format!("`ycred {}` takes {takes}: \"{}\"", hook.name, call.operands.join(" ")))
            .hint(match meant {
                Some((flag, value)) => format!("did you mean --{flag} {value}?"),
                None => format!("a profile is named by a flag: ycred {} --profile {first}", hook.name),
            }));
    };
    let way = call.protocol.way_to_run();
    Err(Error::usage(format!("`ycred {}` is called by {program} itself, and takes {takes}", hook.name))
        .hint(format!("to run {program} with a token: {way} -- {program} {}", call.operands.join(" "))))
}
