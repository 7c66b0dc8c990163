//! `git`: the credential helper protocol of gitcredentials(7) and git-credential(1).
//!
//! * Git ignores the exit code and uses whatever is on stdout. On failure ycred therefore writes only `quit=1`, and
//!   only for its own hosts.
//! * Git shows the user any line without `=`, even one that contains a token.
//! * CR, LF or NUL in a value has let a request for one host pass for that of another (CVE-2020-5260, CVE-2024-50338).

use std::fmt::Write as _;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::hosts::{Host, Scheme};
use crate::base::secret::Secret;
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Operation, Refusal, Request, Target};
use crate::process::Reply;
use crate::process::flags::Example;
use crate::process::stdin::RequestEnd;

pub const HOOK: Hook = Hook {
    examples: &[
        Example {
            call: "printf 'protocol=https\\nhost=git.example\\n\\n' | ycred git get",
            about: "print the credentials for a host",
        },
        Example { call: "ycred git capability", about: "print the protocol capabilities that ycred supports" },
    ],
    symlink: Some("git-credential-ycred"),
    operands: &["get|store|erase|capability"],
    ignores_unknown_operations: true,
    names_host: true,
    is_https_only: true,
    ..Hook::new("git", "credential helper for git", framing, read)
};

/// A clone may take a while, and git asks only once.
const MIN_TTL: Duration = Duration::from_secs(120);

fn framing(call: &Call<'_>) -> Framing {
    if matches!(call.operands.last().map(String::as_str), Some("get" | "erase" | "store")) {
        Framing::One(RequestEnd::EmptyLine)
    } else {
        Framing::None
    }
}

fn read(call: &Call<'_>, input: &[u8]) -> Result<Box<dyn Exchange>> {
    // Git passes the operation last. Its protocol requires unknown operations to be ignored.
    let operation = call
        .operands
        .last()
        .map(String::as_str)
        .ok_or_else(|| Error::usage("missing operation: expected get, store, erase or capability"))?;
    let fixed = |reply: &str| Helper {
        request: Request { operation: Operation::Ignore, ..Request::default() },
        is_bearer: false,
        fixed: reply.to_owned(),
    };
    if operation == "capability" {
        return Ok(Box::new(fixed("version 0\ncapability authtype\n")));
    }
    if !matches!(operation, "get" | "erase") {
        return Ok(Box::new(fixed("")));
    }
    let request = WireRequest::parse(input);
    let target = request.as_ref().filter(|request| request.is_for_ycred()).and_then(WireRequest::host);
    let target = target.map_or(Target::Unreadable, Target::Host);
    let is_bearer = request.as_ref().is_some_and(WireRequest::takes_bearer);
    let operation = match operation {
        "get" => Operation::Get,
        _ => Operation::Erase(request.and_then(|request| request.secret)),
    };
    Ok(Box::new(Helper {
        request: Request { operation, target: Some(target), min_ttl: MIN_TTL, ..Request::default() },
        is_bearer,
        fixed: String::new(),
    }))
}

/// The user of every token. Servers ignore the user of a Bearer token.
const USER: &str = "iam";

/// Git's request. The path and unknown keys are ignored: a token is valid for every path.
#[derive(Default)]
struct WireRequest {
    protocol: Option<String>,
    host: Option<String>,
    user: Option<String>,
    /// The rejected token, in an `erase`.
    secret: Option<Secret>,
    /// Git supports `authtype` and `credential` (2.46 and later).
    supports_authtype: bool,
    /// The schemes in the server's WWW-Authenticate headers, in lower case (2.41 and later).
    schemes: Vec<String>,
}

impl WireRequest {
    /// Returns `None` if the input does not follow the protocol, or if two programs could read it differently.
    fn parse(input: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(input).ok()?;
        if text.contains(['\0', '\r']) {
            return None;
        }
        let mut request = Self::default();
        for line in text.lines() {
            // An empty line ends the request.
            if line.is_empty() {
                break;
            }
            let (key, value) = line.split_once('=')?;
            // Git uses the last of several values, and other programs the first.
            let once = |field: &mut Option<String>| match field.replace(value.to_owned()) {
                Some(other) if other != value => None,
                _ => Some(()),
            };
            match key {
                "protocol" => once(&mut request.protocol)?,
                "host" => once(&mut request.host)?,
                "username" => once(&mut request.user)?,
                "url" => return None, // Git splits URLs before it calls a helper.
                "password" | "credential" => request.secret = Some(Secret::new(value.to_owned())),
                // An empty value resets a list (gitcredentials, "multi-valued").
                "capability[]" if value.is_empty() => request.supports_authtype = false,
                "capability[]" if value == "authtype" => request.supports_authtype = true,
                "wwwauth[]" if value.is_empty() => request.schemes.clear(),
                "wwwauth[]" => {
                    request.schemes.push(value.split([' ', ',']).next().unwrap_or_default().to_ascii_lowercase())
                }
                _ => {}
            }
        }
        Some(request)
    }

    fn host(&self) -> Option<Host> {
        // ycred serves git over https only.
        let host = self.host.as_ref().filter(|host| !host.is_empty() && !host.contains(['/', '?', '#']))?;
        if self.protocol.as_deref() != Some("https") {
            return None;
        }
        Host::parse(host).map(|host| Host { scheme: Some(Scheme::Https), ..host })
    }

    /// Returns true if a token can satisfy the request. If the request names another user, or the server accepts neither
    /// Basic nor Bearer, ycred gives no answer, and git asks the next helper.
    fn is_for_ycred(&self) -> bool {
        let is_supported = |scheme: &String| matches!(scheme.as_str(), "basic" | "bearer");
        self.user.as_deref().is_none_or(|user| user.is_empty() || user == USER)
            && (self.schemes.is_empty() || self.schemes.iter().any(is_supported))
    }

    /// Returns true if git can send a Bearer token and the server accepts it. A server that has not been asked yet
    /// (`http.proactiveAuth`) counts as accepting it.
    fn takes_bearer(&self) -> bool {
        self.supports_authtype && (self.schemes.is_empty() || self.schemes.iter().any(|scheme| scheme == "bearer"))
    }
}

#[derive(Debug)]
struct Helper {
    request: Request,
    is_bearer: bool,
    /// The whole reply to an operation other than `get`.
    fixed: String,
}

impl Exchange for Helper {
    fn request(&self) -> &Request {
        &self.request
    }

    fn write(&self, issued: &IssuedToken<'_>) -> Reply {
        let token = issued.token.expose();
        let mut text = if self.is_bearer {
            // `ephemeral` keeps other helpers, such as git's `store`, from saving it.
            format!("capability[]=authtype\nauthtype=Bearer\ncredential={token}\nephemeral=1\n")
        } else {
            format!("username={USER}\npassword={token}\n")
        };
        let _ = writeln!(text, "password_expiry_utc={}", issued.expires.unix_seconds());
        Reply::text(text)
    }

    fn done(&self, _: &[String]) -> Reply {
        Reply::text(self.fixed.clone())
    }

    fn decline(&self, why: Refusal<'_>) -> Reply {
        match why {
            Refusal::HostNotAllowed => Reply::nothing(0),
            // Without `quit`, git would ask the user for a password.
            Refusal::Failed(error) => Reply::text("quit=1\n").with_code(error.kind.exit_code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::hooks::protocol::tests as protocol_tests;

    fn read(operation: &str, input: &str) -> Box<dyn Exchange> {
        protocol_tests::read(&HOOK, &[operation], &[], input).expect("read")
    }

    fn reply(input: &str) -> String {
        let token = Secret::new("t1.XXX".into());
        let reply = read("get", input).write(&IssuedToken::new(&token, Timestamp(1_795_290_924_000)));
        String::from_utf8(reply.stdout.to_vec()).expect("UTF-8")
    }

    const NEW: &str = "capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=git.example:8443\n";
    const BEARER: &str =
        "capability[]=authtype\nauthtype=Bearer\ncredential=t1.XXX\nephemeral=1\npassword_expiry_utc=1795290924\n";
    const BASIC: &str = "username=iam\npassword=t1.XXX\npassword_expiry_utc=1795290924\n";

    #[test]
    fn bearer_if_git_and_server_support_it_else_basic() {
        assert_eq!(
            reply(&format!("{NEW}wwwauth[]=Bearer realm=\"yc\",service=\"x\"\nwwwauth[]=Basic realm=\"git\"\n")),
            BEARER
        );
        assert_eq!(reply(NEW), BEARER, "the server has sent no header");
        assert_eq!(reply(&format!("{NEW}wwwauth[]=Basic realm=\"git\"\n")), BASIC);
        assert_eq!(reply("protocol=https\nhost=git.example\n"), BASIC, "git 2.39");
        assert_eq!(reply(&format!("{NEW}capability[]=\n")), BASIC, "the list is empty again");
        assert_eq!(reply(&format!("{NEW}capability[]=\ncapability[]=authtype\n")), BEARER);
        let basic = "wwwauth[]=Bearer\nwwwauth[]=\nwwwauth[]=Basic\n";
        assert_eq!(reply(&format!("{NEW}{basic}")), BASIC, "the first header does not count");
        assert_eq!(reply("protocol=https\nhost=git.example\nwwwauth[]=Bearer\n"), BASIC, "git 2.41 to 2.45");
    }

    #[test]
    fn ambiguous_requests_have_no_host() {
        for input in [
            "",
            "protocol=https\n",
            "protocol=https\nhost=cr.yandex\nhost=evil.example\n",
            "protocol=http\nprotocol=https\nhost=cr.yandex\n",
            "protocol=https\nhost=cr.yandex\nusername=iam\nusername=deploy-bot\n",
            "protocol=https\nhost=\n",
            "protocol=http\nhost=cr.yandex\n",
            "protocol=https\nhost=cr.yandex\rhost=evil\n",
            "protocol=https\nhost=cr.yandex\0\n",
            "protocol=https\nhost=cr.yandex%0ahost=evil\n",
            "protocol=https\nhost=user@cr.yandex\n",
            "protocol=https\nhost=cr.yandex/evil\n",
            "garbage\n",
            "url=https://cr.yandex\n",
            "\nprotocol=https\nhost=cr.yandex\n",
        ] {
            assert!(matches!(read("get", input).request().target, Some(Target::Unreadable)), "{input:?}");
        }
        assert!(
            matches!(&read("get", "protocol=https\nhost=cr.yandex\nnew[]=x\n").request().target, Some(Target::Host(host)) if host.name == "cr.yandex")
        );
    }

    #[test]
    fn a_request_that_no_token_satisfies_is_left_to_the_next_helper() {
        let is_ours = |more: &str| {
            let request = format!("protocol=https\nhost=cr.yandex\n{more}\n");
            let is_ours = |operation| matches!(read(operation, &request).request().target, Some(Target::Host(_)));
            assert_eq!(is_ours("get"), is_ours("erase"), "{more}");
            is_ours("get")
        };
        for more in ["", "username=\n", "username=iam\n", "path=a/b.git\n", "username=iam\nusername=iam\n"] {
            assert!(is_ours(more), "{more}");
        }
        for schemes in ["Basic realm=\"x\"", "bearer", "Negotiate\nwwwauth[]=Basic realm=\"x\""] {
            assert!(is_ours(&format!("wwwauth[]={schemes}\n")), "{schemes}");
        }
        for more in
            ["username=deploy-bot\n", "username=IAM\n", "username=iam \n", "wwwauth[]=Negotiate\nwwwauth[]=NTLM\n"]
        {
            assert!(!is_ours(more), "{more}");
        }
    }

    #[test]
    fn erase_carries_the_rejected_token() {
        for line in ["password=t1.XXX", "credential=t1.XXX"] {
            let exchange = read("erase", &format!("protocol=https\nhost=cr.yandex\nusername=iam\n{line}\n"));
            assert!(
                matches!(&exchange.request().operation, Operation::Erase(Some(token)) if token.expose() == "t1.XXX")
            );
        }
    }

    #[test]
    fn unknown_operations_are_ignored_and_capabilities_listed() {
        for operation in ["store", "approve", "x"] {
            assert!(read(operation, "").done(&[]).stdout.is_empty());
        }
        assert_eq!(read("capability", "").done(&[]).stdout.as_slice(), b"version 0\ncapability authtype\n");
    }

    #[test]
    fn a_failure_is_quit_and_another_host_is_silent() {
        let exchange = read("get", NEW);
        assert_eq!(exchange.decline(Refusal::Failed(&Error::refused("x"))).stdout.as_slice(), b"quit=1\n");
        assert!(exchange.decline(Refusal::HostNotAllowed).stdout.is_empty());
    }
}
