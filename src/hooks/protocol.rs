//! The interface of a hook: its row in the table, its requests and its replies.
//!
//! A hook turns bytes into a [`Request`] and a token into bytes. It does no I/O.

use std::ffi::OsString;
use std::time::Duration;

use base64::Engine as _;
use zeroize::Zeroizing;

use crate::base::clock::Timestamp;
use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::hosts::{self, Allowed, Host, HostScope};
use crate::base::secret::Secret;
use crate::process::Reply;
use crate::process::flags::{Example, Flag, Options};
use crate::process::stdin::RequestEnd;
use crate::sources::Resource;

/// A row in the table of hooks: the hook's command line and its wire format.
pub struct Hook {
    /// The name in `ycred NAME`.
    pub name: &'static str,
    /// The description in help: what it is, and for which clients.
    pub about: &'static str,
    /// Two or more calls for `--help` and the man page.
    pub examples: &'static [Example],
    /// The name of the link by which the client finds ycred. `-PROFILE` may follow.
    pub symlink: Option<&'static str>,
    /// True if the installer creates that link in a directory in `PATH`. False if the client looks elsewhere, or if the
    /// name belongs to another program.
    pub is_linked_on_path: bool,
    /// A flag that selects the hook, for a client that passes no hook name (`ycred --cargo-plugin`).
    pub flag_alias: Option<&'static str>,
    /// The names of all operands, for help. Alternatives are separated by `|`.
    pub operands: &'static [&'static str],
    /// The hook's own flags, in addition to the global ones.
    pub flags: &'static [Flag],
    /// Flags that are operations of the protocol, not ycred's flags, when called by the link's name: the flag without
    /// dashes, and the operation.
    pub operation_flags: &'static [(&'static str, &'static str)],
    /// True if the protocol requires unknown operations to be ignored.
    pub ignores_unknown_operations: bool,
    /// The client program that calls the hook; `None` if people call it.
    pub program: Option<&'static str>,
    /// The ycred command that supplies that program with credentials through variables; `None` if the program reads no such
    /// variables.
    pub wrapper: Option<&'static str>,
    /// True if the client names the host that the token is for.
    pub names_host: bool,
    /// Which of the cloud's own hosts its clients connect to.
    pub host_scope: HostScope,
    /// True if it never answers for http, not even for a loopback host that the profile lists.
    pub is_https_only: bool,
    /// The client is a service, which nobody runs by hand.
    pub is_run_by_service: bool,
    /// The longest time that a run may take: a little less than the client waits, if that is known. It limits `--timeout` and the profile's `timeout`.
    pub client_timeout: Option<Duration>,
    /// True if the link has the name of another program and precedes it in `PATH`. When called by that name, ycred
    /// accepts only that program's flags, and passes calls that are not for ycred on to it ([`Reply::pass_on`]).
    pub replaces_program: bool,
    /// Returns how the requests of this call arrive.
    pub framing: fn(&Call<'_>) -> Framing,
    /// Parses a request, without I/O.
    ///
    /// # Errors
    /// Usage (2): the request does not follow the protocol.
    pub read: ReadRequest,
    /// Returns the reply to a request that cannot be parsed.
    pub answer_unreadable: fn(&Call<'_>, &Error) -> Reply,
}

/// Parses a request: the bytes of stdin, or the call itself.
pub type ReadRequest = fn(&Call<'_>, &[u8]) -> Result<Box<dyn Exchange>>;

impl Hook {
    /// Returns a hook with the most common settings; a hook overrides those that differ.
    pub const fn new(
        name: &'static str,
        about: &'static str,
        framing: fn(&Call<'_>) -> Framing,
        read: ReadRequest,
    ) -> Self {
        Self {
            name,
            about,
            examples: &[],
            symlink: None,
            is_linked_on_path: true,
            flag_alias: None,
            operands: &[],
            flags: &[],
            operation_flags: &[],
            ignores_unknown_operations: false,
            program: Some(name),
            wrapper: None,
            names_host: false,
            host_scope: HostScope::Registries,
            is_https_only: false,
            is_run_by_service: false,
            client_timeout: None,
            replaces_program: false,
            framing,
            read,
            answer_unreadable: |_, error| Reply::nothing(error.kind.exit_code()),
        }
    }

    /// Returns the protocol operation that this flag stands for, if any.
    pub fn operation_of_flag(&self, flag: &str) -> Option<&'static str> {
        self.operation_flags.iter().find(|(name, _)| *name == flag).map(|(_, operation)| *operation)
    }
}

/// The call of a hook, parsed from argv.
pub struct HookCall {
    pub hook: &'static Hook,
    pub operands: Vec<String>,
    pub options: Options,
    /// The profile in the link's name, after the hook's own name.
    pub suffix: Option<String>,
    /// True if it was called by the link's name, not as `ycred NAME`.
    pub is_by_symlink: bool,
    /// The error in the arguments. It is reported in the format of the protocol.
    pub usage_error: Option<Error>,
    /// The arguments to pass on to another program: all of them if ycred was called by the link's name, otherwise those that
    /// the parser did not reach.
    pub arguments_to_pass_on: Vec<OsString>,
    /// Parses arguments that arrive in a request.
    pub parse: ParseArguments,
}

/// Parses a hook's flags and operands.
///
/// # Errors
/// Usage (2): an invalid flag or value.
pub type ParseArguments = fn(&'static Hook, &[OsString]) -> Result<(Options, Vec<String>)>;

/// The part of a call that the wire formats use.
pub struct Call<'a> {
    pub operands: &'a [String],
    pub options: &'a Options,
    pub environment: &'a Environment,
    pub parse: ParseArguments,
}

/// How requests arrive and replies are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no request on stdin. ycred does not read it: it may be the user's terminal.
    None,
    /// Stdin has one request, which ends in this way or with stdin.
    One(RequestEnd),
    /// ycred sends a greeting, then replies to each line with a line until the end of stdin. The exit code does not
    /// depend on the replies.
    Lines { greeting: &'static str },
}

/// A parsed request, and the replies to it.
pub trait Exchange: std::fmt::Debug {
    fn request(&self) -> &Request;

    /// Returns the reply that carries the token.
    fn write(&self, token: &IssuedToken<'_>) -> Reply;

    /// Returns the reply after any operation other than [`Operation::Get`]. `hosts` is the result of
    /// [`Operation::List`].
    fn done(&self, hosts: &[String]) -> Reply {
        let _ = hosts;
        Reply::default()
    }

    /// Returns the reply without a token: empty, unless the protocol defines one.
    fn decline(&self, why: Refusal<'_>) -> Reply {
        match why {
            Refusal::HostNotAllowed => Reply::nothing(0),
            Refusal::Failed(error) => Reply::nothing(error.kind.exit_code()),
        }
    }
}

/// A client's request, independent of the wire format.
#[derive(Debug, Default)]
pub struct Request {
    pub operation: Operation,
    /// The host that the token is for; `None` if the protocol does not send one.
    pub target: Option<Target>,
    /// The kind of credential requested.
    pub resource: Resource,
    /// The profile named in the request.
    pub profile: Option<String>,
    /// Flags in the request; they replace those on the command line.
    pub options: Option<Options>,
    /// The remaining validity that the client needs. The profile may require more.
    pub min_ttl: Duration,
}

/// The requested operation.
#[derive(Debug, Default)]
pub enum Operation {
    #[default]
    Get,
    /// Store a credential. ycred stores none.
    Store,
    /// Delete a rejected credential. The token is present if the protocol sends it.
    Erase(Option<Secret>),
    /// List the hosts that the token may be sent to.
    List,
    /// Do nothing, for any host.
    Ignore,
}

/// The host that a token is for.
#[derive(Debug)]
pub enum Target {
    Host(Host),
    /// A host that a person typed. If the token may not be sent there, that is an error.
    Typed(Host),
    /// Not a valid host, or one that ycred never serves.
    Unreadable,
}

/// A token to write into a reply.
pub struct IssuedToken<'a> {
    pub token: &'a Secret,
    /// The expiry to report, by this machine's clock: up to a minute early, never in the past.
    pub expires: Timestamp,
    /// The time until `expires`, for protocols that send a duration.
    pub valid_for: Duration,
    /// The hosts that the token may be sent to, for protocols that list them.
    pub hosts: &'a Allowed,
}

impl<'a> IssuedToken<'a> {
    /// Returns a token without a duration or hosts.
    pub fn new(token: &'a Secret, expires: Timestamp) -> Self {
        Self { token, expires, valid_for: Duration::ZERO, hosts: &hosts::NONE }
    }
}

/// The reason for a reply without a token.
pub enum Refusal<'a> {
    /// The token may not be sent to this host. The reply is the protocol's own "not found".
    HostNotAllowed,
    Failed(&'a Error),
}

/// Returns the value of `Authorization` for registries: Basic, with the user `iam`.
pub fn basic(token: &Secret) -> String {
    let pair = Zeroizing::new(format!("iam:{}", token.expose()));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::cli::hook::parse_options;

    /// Calls `operation` with a call that has these operands and flags of the hook's own.
    pub fn with_call<T>(operands: &[&str], own: &[(&'static str, &str)], operation: impl FnOnce(&Call<'_>) -> T) -> T {
        let operands: Vec<String> = operands.iter().map(|operand| (*operand).to_owned()).collect();
        let own = own.iter().map(|(flag, value)| (*flag, (*value).to_owned())).collect();
        let (options, environment) = (Options { own, ..Options::default() }, Environment::default());
        operation(&Call { operands: &operands, options: &options, environment: &environment, parse: parse_options })
    }

    /// Reads a request as the hook does, with these operands, flags of its own and input.
    pub fn read(
        hook: &Hook,
        operands: &[&str],
        own: &[(&'static str, &str)],
        input: &str,
    ) -> Result<Box<dyn Exchange>> {
        with_call(operands, own, |call| (hook.read)(call, input.as_bytes()))
    }
}
