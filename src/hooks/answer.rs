//! Serves a hook's call: reads the request, obtains the token, writes the reply.

use std::borrow::Cow;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::error::{Error, Kind, Result, describe};
use crate::base::hosts::HostReason;
use crate::base::shell;
use crate::hooks::protocol::{
    Call, Exchange, Framing, Hook, HookCall, IssuedToken, Operation, Refusal, Request, Target,
};
use crate::process::Reply;
use crate::process::flags::Options;
use crate::process::stdin::RequestEnd;
use crate::profile::{DEFAULT_TIMEOUT, Profile, ProfileRef, find};
use crate::session::Session;
use crate::session::host::HostDecision;

/// The maximum size of a request. The longest real one, kubelet's with a pod's token, is a few KiB.
pub const MAX_REQUEST: usize = 64 * 1024;

/// Serves a hook's call. Returns the reply, and the error for stderr if there is one.
pub fn serve(hook_call: &HookCall, session: &Session<'_>) -> (Reply, Option<Error>) {
    let call = Call {
        operands: &hook_call.operands,
        options: &hook_call.options,
        environment: session.environment,
        parse: hook_call.parse,
    };
    let framing = (hook_call.hook.framing)(&call);
    if let Err(error) = check_arguments(hook_call, session) {
        let reply = match framing {
            // A person took the hook for a wrapper of its client, so there is no request.
            Framing::Lines { .. } if hook_call.usage_error.is_none() => Reply::nothing(error.kind.exit_code()),
            _ if hook_call.usage_error.is_none() => (hook_call.hook.answer_unreadable)(&call, &error),
            Framing::Lines { greeting } => reject_lines(hook_call, &call, greeting, &error, session),
            // The other program gets the call as it is.
            Framing::None if hook_call.hook.replaces_program => (hook_call.hook.answer_unreadable)(&call, &error),
            Framing::None => rejection_of(hook_call, &call, &[], &error, session),
            Framing::One(end) => reject_request(hook_call, &call, end, &error, session),
        };
        return (reply, Some(error));
    }
    let input = match framing {
        Framing::None => Ok(Some(Zeroizing::default())),
        Framing::One(end) => {
            let options = limit_timeout(hook_call, &hook_call.options, DEFAULT_TIMEOUT);
            session.read_stdin(end, MAX_REQUEST, &options).map(Some)
        }
        Framing::Lines { greeting } => serve_lines(hook_call, &call, greeting, session).map(|()| None),
    };
    match input {
        Ok(Some(input)) => reply_to(hook_call, &call, &input, session),
        Ok(None) => (Reply::default(), None),
        // stdout cannot be written, so no further reply can be sent.
        Err(error) if error.kind == Kind::Internal => (Reply::nothing(error.kind.exit_code()), Some(error)),
        Err(error) => ((hook_call.hook.answer_unreadable)(&call, &error), Some(error)),
    }
}

/// Reads the request after an error in the arguments, and rejects it.
fn reject_request(
    hook_call: &HookCall,
    call: &Call<'_>,
    end: RequestEnd,
    error: &Error,
    session: &Session<'_>,
) -> Reply {
    let options = limit_timeout(hook_call, &hook_call.options, DEFAULT_TIMEOUT);
    // Somebody at a terminal sends no request.
    let input = (!session.is_terminal()).then(|| session.read_stdin(end, MAX_REQUEST, &options));
    match input.and_then(Result::ok) {
        Some(input) => rejection_of(hook_call, call, &input, error, session),
        None => (hook_call.hook.answer_unreadable)(call, error),
    }
}

/// Returns the reply to a request after an error in the arguments: a failure for a host that would get a token, and the
/// protocol's "not found" response for any other.
fn rejection_of(hook_call: &HookCall, call: &Call<'_>, input: &[u8], error: &Error, session: &Session<'_>) -> Reply {
    let rejection = (hook_call.hook.answer_unreadable)(call, error);
    let Ok(exchange) = (hook_call.hook.read)(call, input) else { return rejection };
    let request = exchange.request();
    match &request.target {
        Some(Target::Host(host)) => {
            let loaded = session.profile(&profile_ref(hook_call, request));
            match HostDecision::of(hook_call.hook.host_scope, host, loaded.as_ref()) {
                HostDecision::Released(_) | HostDecision::Failed => {
                    exchange.decline(Refusal::Failed(error)).with_code(rejection.code)
                }
                HostDecision::NotListed | HostDecision::Unknown => exchange.decline(Refusal::HostNotAllowed),
            }
        }
        Some(Target::Unreadable) => exchange.decline(Refusal::HostNotAllowed),
        Some(Target::Typed(_)) | None => rejection,
    }
}

/// Rejects each line after an error in the arguments. Returns the code for an end of stdin without a line.
fn reject_lines(hook_call: &HookCall, call: &Call<'_>, greeting: &str, error: &Error, session: &Session<'_>) -> Reply {
    let mut lines = session.lines(MAX_REQUEST, &hook_call.options);
    let mut code = error.kind.exit_code();
    if session.is_terminal() || (session.print_stdout)(format!("{greeting}\n").as_bytes()).is_err() {
        return Reply::nothing(code);
    }
    while let Ok(Some(line)) = session.next_line(&mut lines) {
        if (session.print_stdout)(&rejection_of(hook_call, call, &line, error, session).stdout).is_err() {
            break;
        }
        code = 0;
    }
    Reply::nothing(code)
}

/// Sends the greeting, then replies to each line with a line until the end of stdin.
fn serve_lines(hook_call: &HookCall, call: &Call<'_>, greeting: &str, session: &Session<'_>) -> Result<()> {
    let not_written = |error: std::io::Error| Error::internal("cannot write the reply").because(describe(&error));
    (session.print_stdout)(format!("{greeting}\n").as_bytes()).map_err(not_written)?;
    let mut lines = session.lines(MAX_REQUEST, &hook_call.options);
    while let Some(line) = session.next_line(&mut lines)? {
        session.request_started.set(session.clock.elapsed());
        let (reply, error) = reply_to(hook_call, call, &line, session);
        if let Some(error) = error {
            session.diagnostics.log_error(&error);
            (session.print_stderr)(&error.render());
        }
        (session.print_stdout)(&reply.stdout).map_err(not_written)?;
    }
    Ok(())
}

fn reply_to(hook_call: &HookCall, call: &Call<'_>, input: &[u8], session: &Session<'_>) -> (Reply, Option<Error>) {
    let exchange = match (hook_call.hook.read)(call, input) {
        Ok(exchange) => exchange,
        Err(error) => return ((hook_call.hook.answer_unreadable)(call, &error), Some(error)),
    };
    match carry_out(hook_call, exchange.as_ref(), session) {
        Ok(mut reply) => {
            let reason = reply.reason.take();
            (reply, reason)
        }
        Err(error) => (exchange.decline(Refusal::Failed(&error)), Some(error)),
    }
}

/// Carries out the operation of a request. An error means that there is no token.
fn carry_out(hook_call: &HookCall, exchange: &dyn Exchange, session: &Session<'_>) -> Result<Reply> {
    let request = exchange.request();
    if matches!(request.operation, Operation::Ignore) {
        return Ok(exchange.done(&[]));
    }
    if request.options.as_ref().is_some_and(|options| options.verbosity > 0) {
        session.diagnostics.set_verbose();
    }
    let loaded = load(hook_call, request, session);
    if let Operation::List = request.operation {
        // The classic docker builder asks this on every build, so a missing profile is not an error: the list is empty.
        let hosts: Vec<String> = loaded.map(|profile| profile.hosts.singles().collect()).unwrap_or_default();
        return Ok(exchange.done(&hosts));
    }
    let scope = hook_call.hook.host_scope;
    session.diagnostics.debug(|| explain_target(hook_call.hook, request, loaded.as_ref()));
    let profile = match (&request.target, loaded) {
        (None, loaded) => loaded?,
        (Some(Target::Typed(host)), loaded) => {
            let profile = loaded?;
            if !profile.hosts.covers_for(scope, host) {
                return Err(Error::usage(format!("{profile}: the token may not be sent to {host}"))
                    .hint(profile.hint_for_host(&host.to_string())));
            }
            profile
        }
        (Some(Target::Unreadable), _) => return Ok(exchange.decline(Refusal::HostNotAllowed)),
        (Some(Target::Host(host)), loaded) => match (HostDecision::of(scope, host, loaded.as_ref()), loaded) {
            (HostDecision::Released(_), Ok(profile)) => profile,
            (HostDecision::Failed, Err(error)) if matches!(request.operation, Operation::Get) => return Err(error),
            (HostDecision::Failed, Err(_)) => return Ok(exchange.done(&[])),
            (_, loaded) => {
                let mut reply = exchange.decline(Refusal::HostNotAllowed);
                // A hook does not know the profile. Most of them say nothing.
                let edit = loaded.ok().map(|profile| profile.hint_for_host(&host.to_string()));
                reply.reason = reply.reason.map(|reason| edit.into_iter().fold(reason, Error::hint));
                return Ok(reply);
            }
        },
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

/// Says why a request is answered with a token or not, for the log.
fn explain_target(hook: &Hook, request: &Request, loaded: Result<&Profile, &Error>) -> String {
    let host = match &request.target {
        None => return format!("{}: the protocol sends no host", hook.name),
        Some(Target::Unreadable) => {
            return format!("{}: not answered: the host is one that never gets a token", hook.name);
        }
        Some(Target::Host(host) | Target::Typed(host)) => host,
    };
    match (HostDecision::of(hook.host_scope, host, loaded), loaded) {
        (HostDecision::Released(reason), Ok(profile)) => {
            let why = match reason {
                HostReason::Installation => "a host of the cloud",
                HostReason::Listed => "in `hosts`",
            };
            format!("{}: {host} may get the token of {profile}: {why}", hook.name)
        }
        (_, Ok(profile)) => {
            let place = match &profile.settings.file {
                Some(file) => format!("not in `hosts` of {}", file.display()),
                None => "without a profile, only the cloud's own hosts get a token".to_owned(),
            };
            format!("{}: {host} not answered: {profile}: {place}", hook.name)
        }
        (HostDecision::Failed, Err(error)) => format!("{}: {host} gets an error: {}", hook.name, error.reason()),
        (_, Err(error)) => {
            format!("{}: {host} not answered: the profile is unusable: {}", hook.name, error.reason())
        }
    }
}

fn get(hook_call: &HookCall, exchange: &dyn Exchange, profile: &Profile, session: &Session<'_>) -> Result<Reply> {
    let request = exchange.request();
    let options = limit_timeout(hook_call, options(hook_call, request), profile.timeout);
    let obtained =
        session.obtain_resource(profile, &options, &request.resource, request.min_ttl).map_err(
            |error| match options {
                // A longer timeout would not help: the client does not wait for it.
                Cow::Owned(_) if error.has_timed_out => error.replace_hint(format!(
                    "try again; a longer --timeout does not help, because {} waits no longer than this",
                    hook_call.hook.name
                )),
                _ => error,
            },
        )?;
    let now = session.clock.now();
    let expires = obtained.advertised(now);
    let valid_for = Duration::from_millis(u64::try_from(expires.since(now)).unwrap_or(0));
    let issued =
        IssuedToken { valid_for, hosts: &profile.hosts, ..IssuedToken::new(&obtained.credential.secret, expires) };
    Ok(exchange.write(&issued))
}

/// Returns the flags with the timeout limited to how long the client waits. `default` is the timeout without a flag.
fn limit_timeout<'a>(call: &HookCall, options: &'a Options, default: Duration) -> Cow<'a, Options> {
    match call.hook.client_timeout {
        Some(client_timeout) if client_timeout < options.timeout.unwrap_or(default) => {
            Cow::Owned(Options { timeout: Some(client_timeout), ..options.clone() })
        }
        _ => Cow::Borrowed(options),
    }
}

/// Returns the flags in the request, or else those on the command line.
fn options<'a>(call: &'a HookCall, request: &'a Request) -> &'a Options {
    request.options.as_ref().unwrap_or(&call.options)
}

/// Returns the profile to use, from the first of these that names one: a flag, the link's name, the request.
fn profile_ref(call: &HookCall, request: &Request) -> ProfileRef {
    if let Some(text) = &options(call, request).profile {
        return ProfileRef::NameOrPath { by: "--profile", text: text.clone() };
    }
    if let Some(name) = &call.suffix {
        return ProfileRef::Name { by: "the name it was called by", name: name.clone() };
    }
    match &request.profile {
        Some(name) => ProfileRef::Name { by: "the client's request", name: name.clone() },
        None => ProfileRef::Unnamed,
    }
}

/// Loads the profile of a call. If the profile was renamed or removed, the hint says how the client gets another one:
/// one that is created anew may be another account.
fn load(call: &HookCall, request: &Request, session: &Session<'_>) -> Result<Profile> {
    let reference = profile_ref(call, request);
    session.profile(&reference).map_err(|error| {
        let name = match &reference {
            ProfileRef::NameOrPath { text, .. } => text.to_str(),
            ProfileRef::Name { name, .. } => Some(name.as_str()),
            ProfileRef::Unnamed => None,
        };
        let known = find::names(session.places);
        let is_missing = |name: &&str| find::check_name(name).is_ok() && !known.contains(*name);
        let place = match call.hook.name {
            "kubectl" => "kubectl --user USER",
            "docker" => "docker --host HOST",
            "git" => "git --host HOST",
            "aws" => "aws --name NAME-OF-AWS",
            "terraform" => "terraform",
            "goauth" => "go",
            _ => return error,
        };
        match name.filter(is_missing).filter(|name| find::near_name(name, session.places).is_none()) {
            Some(name) if !known.is_empty() => error.replace_hint(format!(
                "to use one that `ycred list` shows: ycred setup {place} --profile NAME; to create this one: ycred init \
                 {name} --key-file FILE"
            )),
            _ => error,
        }
    })
}

/// Rejects invalid arguments. An extra argument, as in `ycred kubectl get pods -n x`, usually means that the user takes
/// the hook for a wrapper of its client, so the hint says how to run that. The name of a profile belongs to a flag.
fn check_arguments(call: &HookCall, session: &Session<'_>) -> Result<()> {
    let hook = call.hook;
    let is_operation =
        |operand: &String| hook.operands.first().is_none_or(|known| known.split('|').any(|known| known == operand));
    let is_unexpected = call.operands.len() > hook.operands.len()
        || (!hook.ignores_unknown_operations && call.operands.first().is_some_and(|operand| !is_operation(operand)));
    // A hook that replaces a program leaves it to that program to check its arguments.
    if call.is_by_symlink || hook.replaces_program || !is_unexpected {
        return call.usage_error.clone().map_or(Ok(()), Err);
    }
    let describe = |operands: &[&str]| match operands {
        [] => "no arguments".to_owned(),
        operands => operands.join(" "),
    };
    // `ycred docker get cr.yandex` means the hook, not a command of docker.
    if let ([operation, ..], [_, rest @ ..]) = (&call.operands[..], hook.operands)
        && is_operation(operation)
    {
        let error = Error::usage(format!("`ycred {} {operation}` takes {}", hook.name, describe(rest)));
        return Err(if rest.is_empty() { error.hint("pass the request on standard input") } else { error });
    }
    let takes = describe(hook.operands);
    let typed = call.operands.join(" ");
    let Some(program) = hook.program else {
        // After an unknown flag, what looks like an operand may be its value.
        if let Some(error) = &call.usage_error {
            return Err(error.clone());
        }
        let is_given = |value: &&&str| call.operands.iter().any(|operand| operand == **value);
        let choice = hook.flags.iter().find_map(|flag| Some((flag.long, flag.choices.iter().find(is_given)?)));
        let first = call.operands.first().map_or("", String::as_str);
        return Err(Error::usage(format!("`ycred {}` takes {takes}: \"{typed}\"", hook.name)).hint(match choice {
            Some((flag, value)) => format!("did you mean --{flag} {value}?"),
            None => format!("to select a profile: ycred {} --profile {}", hook.name, shell::word(first)),
        }));
    };
    let command = call.operands.iter().fold(program.to_owned(), |line, word| format!("{line} {}", shell::word(word)));
    let hint = match hook.wrapper {
        _ if call.operands.len() == 1 && find::names(session.places).contains(&call.operands[0]) => {
            let operation = hook.operands.first().map(|known| known.split('|').next().unwrap_or(known));
            let rest = operation.into_iter().chain(hook.operands.iter().skip(1).copied());
            let operands: String = rest.map(|operand| format!(" {operand}")).collect();
            format!("to select a profile: ycred {}{operands} --profile {}", hook.name, call.operands[0])
        }
        None if hook.is_run_by_service => {
            format!("to see how to set {program} up, run `ycred setup {program}`; it needs no other call")
        }
        Some(wrapper) => format!("to run {program} with credentials: {wrapper} -- {command}"),
        None => format!(
            "run `ycred setup {program}` once, then `{command}` as usual; for programs that read variables: ycred exec -- \
             PROGRAM"
        ),
    };
    Err(Error::usage(format!("`ycred {}` takes {takes}: {program} runs it by itself, as a hook", hook.name)).hint(hint))
}
