//! `token`: prints the token for scripts, in the format that the next program reads.

use serde_json::json;

use crate::base::error::{Error, Kind, Result};
use crate::base::hosts::Host;
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Refusal, Request, Target};
use crate::process::Reply;
use crate::process::flags::{Example, Flag};

pub const HOOK: Hook = Hook {
    examples: &[
        Example {
            call: "ycred token --format curl | curl -K - https://resource-manager.api.cloud.yandex.net/resource-manager/v1/clouds",
            about: "send the token with curl, without showing it to other users",
        },
        Example {
            call: "ycred token --format netrc --host registry.example > netrc",
            about: "write a netrc entry for a host",
        },
    ],
    flags: &[
        Flag::new("format", Some("FORMAT"), "output format [default: plain]").choices(FORMATS),
        Flag::new("host", Some("HOST"), "host that the token is for; required by netrc"),
    ],
    program: None,
    names_host: true,
    ..Hook::new("token", "print the token, for scripts", framing, read)
};

const FORMATS: &[&str] = &["plain", "bearer", "header", "json", "curl", "netrc", "headers-json", "grpc"];

fn framing(_: &Call<'_>) -> Framing {
    Framing::None
}

fn read(call: &Call<'_>, _: &[u8]) -> Result<Box<dyn Exchange>> {
    let format = call.options.own("format").unwrap_or("plain").to_owned();
    let host = call.options.own("host");
    if format == "netrc" && host.is_none() {
        return Err(Error::usage("--format netrc requires --host").hint("for example, --host registry.yandexcloud.net"));
    }
    let target = match host {
        None => None,
        Some(text) => Some(Host::parse(text).ok_or_else(|| Error::usage(format!("--host: \"{text}\" is not a host")))?),
    };
    let machine = target.as_ref().map(|host| host.name.clone()).unwrap_or_default();
    Ok(Box::new(Print {
        format,
        machine,
        request: Request { target: target.map(Target::Typed), ..Request::default() },
    }))
}

#[derive(Debug)]
struct Print {
    format: String,
    /// The host without its port: netrc(5) has no ports.
    machine: String,
    request: Request,
}

impl Exchange for Print {
    fn request(&self) -> &Request {
        &self.request
    }

    fn write(&self, issued: &IssuedToken<'_>) -> Reply {
        let token = issued.token.expose();
        Reply::text(match self.format.as_str() {
            "bearer" => format!("Bearer {token}\n"),
            "header" => format!("Authorization: Bearer {token}\n"),
            // The format of `yc iam create-token --format json`, which this can replace.
            "json" => format!("{}\n", json!({"iam_token": token, "expires_at": issued.expires.to_string()})),
            // For `curl -K -` (curl(1), --config). A token contains no quote or backslash, so nothing is escaped.
            "curl" => format!("header = \"Authorization: Bearer {token}\"\n"),
            "netrc" => format!("machine {} login iam password {token}\n", self.machine),
            "headers-json" => format!("{}\n", json!({"Authorization": format!("Bearer {token}")})),
            // gRPC libraries reject metadata keys that are not in lower case.
            "grpc" => format!("{}\n", json!({"authorization": format!("Bearer {token}")})),
            _ => format!("{token}\n"),
        })
    }

    fn decline(&self, why: Refusal<'_>) -> Reply {
        match why {
            Refusal::HostNotAllowed => Reply::nothing(Kind::Usage.exit_code()),
            Refusal::Failed(error) => Reply::nothing(error.kind.exit_code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::secret::Secret;
    use crate::hooks::protocol::tests as protocol_tests;

    #[test]
    fn each_format_is_as_documented() {
        let token = Secret::new("t1.X".into());
        let issued = IssuedToken::new(&token, Timestamp(1_787_421_600_000));
        let output = |format: &str| {
            let exchange = protocol_tests::read(&HOOK, &[], &[("format", format), ("host", "cr.yandex")], "");
            String::from_utf8(exchange.expect("read").write(&issued).stdout.to_vec()).expect("UTF-8")
        };
        let all: Vec<String> = FORMATS.iter().map(|format| output(format)).collect();
        assert_eq!(
            all,
            [
                "t1.X\n",
                "Bearer t1.X\n",
                "Authorization: Bearer t1.X\n",
                "{\"expires_at\":\"2026-08-22T18:00:00Z\",\"iam_token\":\"t1.X\"}\n",
                "header = \"Authorization: Bearer t1.X\"\n",
                "machine cr.yandex login iam password t1.X\n",
                "{\"Authorization\":\"Bearer t1.X\"}\n",
                "{\"authorization\":\"Bearer t1.X\"}\n",
            ]
        );
    }
}
