//! Carries a hook's call through: request in, reply out.

use std::borrow::Cow;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::error::{Error, Kind, Result};
use crate::base::hosts;
use crate::hooks::protocol::{Call, Exchange, Framing, HookCall, IssuedToken, Operation, Refusal, Request, Target};
use crate::process::Reply;
use crate::process::flags::Options;
use crate::profile::{DEFAULT_TIMEOUT, Profile, ProfileRef};
use crate::session::Session;

/// The most that a client may send; the longest real one (kubelet's, with a pod's token) is a few KiB.
pub const LARGEST_INPUT: usize = 64 * 1024;

/// Carries a hook's call through: request in, reply out, and the error for stderr if there is one.
pub fn serve(hook_call: &HookCall, session: &Session<'_>) -> (Reply, Option<Error>) {
    let call = Call {
        operands: &hook_call.operands,
        options: &hook_call.options,
        environment: session.environment,
        parse: hook_call.parse,
    };
    let framing = (hook_call.hook.framing)(&call);
    if let Err(error) = check_words(hook_call) {
        let reply = match framing {
            // There is no request yet that could be replied to.
            Framing::Lines { .. } => Reply::nothing(error.kind.exit_code()),
            Framing::None | Framing::Whole => (hook_call.hook.reject)(&call, &error),
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
        Err(error) => ((hook_call.hook.reject)(&call, &error), Some(error)),
    }
}

/// Greets, and replies to each line with a line, until stdin ends.
fn converse(hook_call: &HookCall, call: &Call<'_>, greeting: &str, session: &Session<'_>) -> Result<()> {
    let unsaid = |error| Error::internal("the reply could not be written").because(error);
    (session.print_stdout)(format!("{greeting}\n").as_bytes()).map_err(unsaid)?;
    let mut lines = session.lines(LARGEST_INPUT, &hook_call.options);
    while let Some(line) = session.next_line(&mut lines)? {
        session.started.set(session.clock.elapsed());
        let (reply, error) = reply_to(hook_call, call, &line, session);
        if let Some(error) = error {
            (session.print_stderr)(&error.render());
        }
        (session.print_stdout)(&reply.stdout).map_err(unsaid)?;
    }
    Ok(())
}

fn reply_to(hook_call: &HookCall, call: &Call<'_>, input: &[u8], session: &Session<'_>) -> (Reply, Option<Error>) {
    let exchange = match (hook_call.hook.read)(call, input) {
        Ok(exchange) => exchange,
        Err(error) => return ((hook_call.hook.reject)(call, &error), Some(error)),
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
    let request = exchange.request();
    if matches!(request.operation, Operation::Ignore) {
        return Ok(exchange.done(&[]));
    }
    let loaded = session.profile(&wanted(hook_call, request));
    if let Operation::List = request.operation {
        // Asked by every build of the classic docker builder: without a profile there is nothing to list, and no error.
        let hosts: Vec<String> = loaded.map(|profile| profile.hosts.singles().collect()).unwrap_or_default();
        return Ok(exchange.done(&hosts));
    }
    let reach = hook_call.hook.reach;
    let profile = match (&request.target, loaded) {
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
        (Some(Target::Host(host)), Err(error))
            if hosts::is_built_in(reach, host) && matches!(request.operation, Operation::Get) =>
        {
            return Err(error);
        }
        (Some(Target::Host(host)), Err(_)) if hosts::is_built_in(reach, host) => return Ok(exchange.done(&[])),
        (Some(Target::Host(_)), _) => return Ok(exchange.refuse(Refusal::NotMine)),
    };
    match &request.operation {
        Operation::Get => get(hook_call, exchange, &profile, session),
        Operation::Erase(Some(token)) => {
            session.reject_token(&profile, options(hook_call, request), token);
            Ok(exchange.done(&[]))
        }
        Operation::Store | Operation::Erase(None) | Operation::List | Operation::Ignore => Ok(exchange.done(&[])),
    }
}

fn get(hook_call: &HookCall, exchange: &dyn Exchange, profile: &Profile, session: &Session<'_>) -> Result<Reply> {
    let request = exchange.request();
    let options = within_patience(hook_call, options(hook_call, request), profile.timeout);
    let obtained =
        session.obtain_need(profile, &options, &request.resource, request.min_ttl).map_err(|error| match options {
            // More time than its client waits would help nobody.
            Cow::Owned(_) if error.has_timed_out => {
                error.replace_hint(format!("try again: {} waits no longer", hook_call.hook.name))
            }
            _ => error,
        })?;
    let now = session.clock.now();
    let expires = obtained.advertised(now);
    let life = Duration::from_millis(u64::try_from(expires.since(now)).unwrap_or(0));
    let issued = IssuedToken { life, hosts: &profile.hosts, ..IssuedToken::new(&obtained.credential.secret, expires) };
    Ok(exchange.write(&issued))
}

/// The flags with the deadline that the protocol's clients impose; `otherwise` is the one that holds without a flag.
fn within_patience<'a>(call: &HookCall, options: &'a Options, otherwise: Duration) -> Cow<'a, Options> {
    match call.hook.client_timeout {
        Some(client_timeout) if client_timeout < options.timeout.unwrap_or(otherwise) => {
            Cow::Owned(Options { timeout: Some(client_timeout), ..options.clone() })
        }
        _ => Cow::Borrowed(options),
    }
}

fn options<'a>(call: &'a HookCall, request: &'a Request) -> &'a Options {
    request.options.as_ref().unwrap_or(&call.options)
}

/// The profile, by whoever named it nearest to the call.
fn wanted(call: &HookCall, request: &Request) -> ProfileRef {
    if let Some(text) = &options(call, request).profile {
        return ProfileRef::Typed { by: "--profile", text: text.clone() };
    }
    if let Some(name) = &call.suffix {
        return ProfileRef::Given { by: "the name it was called by", name: name.clone() };
    }
    match &request.profile {
        Some(name) => ProfileRef::Given { by: "the client's request", name: name.clone() },
        None => ProfileRef::Unnamed,
    }
}

/// Tells a fault in the words; a person who types `ycred kubectl get pods -n x` means something else.
fn check_words(call: &HookCall) -> Result<()> {
    let hook = call.hook;
    let is_own = |word: &String| hook.operation_flags.iter().any(|(_, own)| own == word);
    let is_operation =
        |word: &String| hook.operands.first().is_none_or(|known| known.split('|').any(|known| known == word));
    let means_another = call.operands.len() > hook.operands.len()
        || (!hook.ignores_unknown_operations
            && call.operands.first().is_some_and(|word| !is_operation(word) && !is_own(word)));
    // The words of a program that we stand in for are that program's to judge.
    if call.by_symlink || call.hook.replaces_program || !means_another {
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
    let Some(program) = call.hook.program else {
        let is_given = |value: &&&str| call.operands.iter().any(|word| word == **value);
        let meant = hook.flags.iter().find_map(|flag| Some((flag.long, flag.choices.iter().find(is_given)?)));
        let first = call.operands.first().map_or("", String::as_str);
        return Err(Error::usage(format!("`ycred {}` takes {takes}: \"{}\"", hook.name, call.operands.join(" ")))
            .hint(match meant {
                Some((flag, value)) => format!("did you mean --{flag} {value}?"),
                None => format!("a profile is named by a flag: ycred {} --profile {first}", hook.name),
            }));
    };
    let way = call.hook.wrapper;
    Err(Error::usage(format!("`ycred {}` is called by {program} itself, and takes {takes}", hook.name))
        .hint(format!("to run {program} with a token: {way} -- {program} {}", call.operands.join(" "))))
}
