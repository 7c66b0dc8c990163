//! What a hook is: its line in the table, a request that it has read, and what it makes of a token.
//!
//! A hook turns bytes into a [`Request`] and a token into bytes, and touches nothing else.

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
use crate::process::flags::{Flag, Options};
use crate::sources::Resource;

/// A hook: what the parsers must know of it, and its wire format.
pub struct Hook {
    /// As in `ycred NAME`.
    pub name: &'static str,
    pub about: &'static str,
    /// The name under which its caller finds it, to which `-PROFILE` may be added.
    pub symlink: Option<&'static str>,
    /// The installer puts that name into a directory on PATH. (Not where the client looks elsewhere, nor where the name is
    /// another program's.)
    pub is_linked_on_path: bool,
    /// A flag that alone names the hook, for a caller that cannot be told a word (`ycred --cargo-plugin`).
    pub flag_alias: Option<&'static str>,
    /// Names of the words it takes, all of them.
    pub operands: &'static [&'static str],
    pub flags: &'static [Flag],
    /// Flags that are words of the protocol's own instead of ours: the flag, and the operand it stands for.
    pub operation_flags: &'static [(&'static str, &'static str)],
    /// The protocol demands that operations which are not known are ignored.
    pub ignores_unknown_operations: bool,
    /// The program that calls it; none where a person does.
    pub program: Option<&'static str>,
    /// The command line of ours by which that program finds what it needs.
    pub wrapper: &'static str,
    /// How far among the cloud's own hosts its clients go.
    pub reach: HostScope,
    /// How long its clients wait at most, where that is known: no run of the hook takes longer, whatever flags and profile
    /// say.
    pub client_timeout: Option<Duration>,
    /// It goes by the name of another program, and stands in for it: called by that name, every flag is that program's, and
    /// what is not for us is passed on to it ([`Reply::pass_on`]).
    pub replaces_program: bool,
    /// How this call's requests come.
    pub framing: fn(&Call<'_>) -> Framing,
    /// Reads the request. Pure.
    ///
    /// # Errors
    /// Usage (2): it is none of this protocol.
    pub read: ReadRequest,
    /// The answer to a request that could not be read.
    pub reject: fn(&Call<'_>, &Error) -> Reply,
}

/// Reads a request: bytes of stdin, or what the call itself says.
pub type ReadRequest = fn(&Call<'_>, &[u8]) -> Result<Box<dyn Exchange>>;

impl Hook {
    /// What most hooks have; each names what differs.
    pub const fn new(
        name: &'static str,
        about: &'static str,
        framing: fn(&Call<'_>) -> Framing,
        read: ReadRequest,
    ) -> Self {
        Self {
            name,
            about,
            symlink: None,
            is_linked_on_path: true,
            flag_alias: None,
            operands: &[],
            flags: &[],
            operation_flags: &[],
            ignores_unknown_operations: false,
            program: Some(name),
            wrapper: "ycred exec",
            reach: HostScope::Registries,
            client_timeout: None,
            replaces_program: false,
            framing,
            read,
            reject: |_, error| Reply::nothing(error.kind.exit_code()),
        }
    }

    /// The word of the protocol's own that this flag is.
    pub fn operation_of_flag(&self, flag: &Flag) -> Option<&'static str> {
        self.operation_flags.iter().find(|(long, _)| *long == flag.long).map(|(_, word)| *word)
    }
}

/// A call of a hook, as argv has it.
pub struct HookCall {
    pub hook: &'static Hook,
    pub operands: Vec<String>,
    pub options: Options,
    /// The profile that the symlink's name ends in.
    pub suffix: Option<String>,
    /// It was called by that name, and not as a word of ycred's.
    pub by_symlink: bool,
    /// What is wrong with the words; told in the protocol's own shape.
    pub fault: Option<Error>,
    /// From the first word that could not be read: what another program is to get.
    pub unread: Vec<OsString>,
    /// Reads words that come with a request.
    pub parse: ParseWords,
}

/// Reads a hook's flags and operands.
///
/// # Errors
/// Usage (2).
pub type ParseWords = fn(&'static Hook, &[OsString]) -> Result<(Options, Vec<String>)>;

/// A call, as far as a wire format sees it.
pub struct Call<'a> {
    pub operands: &'a [String],
    pub options: &'a Options,
    pub environment: &'a Environment,
    pub parse: ParseWords,
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

/// A request that has been read, and the answers to it.
pub trait Exchange: std::fmt::Debug {
    fn request(&self) -> &Request;

    /// The reply with a token in it.
    fn write(&self, token: &IssuedToken<'_>) -> Reply;

    /// The reply to anything but [`Operation::Get`], once it has been done; `hosts` are those that the token may go to.
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
pub struct Request {
    pub operation: Operation,
    /// Where the token would go; none where the protocol does not say.
    pub target: Option<Target>,
    /// What the token must be good for.
    pub resource: Resource,
    /// A profile's name in the client's own input.
    pub profile: Option<String>,
    /// Flags in the client's own input, in place of those on the command line.
    pub options: Option<Options>,
    /// The least life that the protocol's clients need, where that is more than the profile's.
    pub min_ttl: Duration,
}

/// What is to be done.
#[derive(Debug, Default)]
pub enum Operation {
    #[default]
    Get,
    /// Keep a credential of the user's: we keep none.
    Store,
    /// Drop a credential; with the very token where the protocol tells it.
    Erase(Option<Secret>),
    /// Say which hosts are ours.
    List,
    /// Nothing to do, whoever asks.
    Ignore,
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
pub struct IssuedToken<'a> {
    pub token: &'a Secret,
    /// By this machine's clock, shaved, never in the past.
    pub expires: Timestamp,
    /// The same as a length, for a protocol that has no clock in it.
    pub life: Duration,
    /// Where the token may go, for a protocol that tells.
    pub hosts: &'a Allowed,
}

impl<'a> IssuedToken<'a> {
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

/// The value of `Authorization` for registries: Basic, by the user `iam`.
pub fn basic(token: &Secret) -> String {
    let pair = Zeroizing::new(format!("iam:{}", token.expose()));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()))
}
