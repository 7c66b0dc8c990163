//! `pnpm`: pnpm's `tokenHelper`, a program that prints the value of `Authorization`.
//!
//! Sources: pnpm's settings reference (`tokenHelper`), and pnpm 9, 10 and 12 themselves.
//!
//! * pnpm 9 and 10 require an absolute path without arguments, so ycred has a link for it.
//! * pnpm sends the output unchanged, so it must be one line that includes the scheme.
//! * pnpm does not pass a host. The user names the host in the setting, in a file of their own.

use crate::base::error::{Error, Result};
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Request};
use crate::process::Reply;
use crate::process::flags::Example;

pub const HOOK: Hook = Hook {
    examples: &[
        Example { call: "ycred pnpm", about: "print the header value" },
        Example { call: "ln -s \"$(command -v ycred)\" ~/bin/ycred-pnpm", about: "create the link for tokenHelper" },
    ],
    symlink: Some("ycred-pnpm"),
    ..Hook::new("pnpm", "tokenHelper for pnpm", framing, read)
};

fn framing(_: &Call<'_>) -> Framing {
    Framing::None
}

fn read(call: &Call<'_>, _: &[u8]) -> Result<Box<dyn Exchange>> {
    match call.operands {
        [] => Ok(Box::new(Helper { request: Request::default() })),
        [argument, ..] => Err(Error::usage(format!(
            "unexpected argument \"{argument}\": pnpm runs its tokenHelper without arguments"
        ))),
    }
}

#[derive(Debug)]
struct Helper {
    request: Request,
}

impl Exchange for Helper {
    fn request(&self) -> &Request {
        &self.request
    }

    fn write(&self, issued: &IssuedToken<'_>) -> Reply {
        Reply::text(format!("Bearer {}\n", issued.token.expose()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::secret::Secret;
    use crate::hooks::protocol::tests as protocol_tests;

    #[test]
    fn the_header_is_one_line_with_its_scheme() {
        let read = |operands: &[&str]| protocol_tests::read(&HOOK, operands, &[], "");
        let token = Secret::new("t1.XXX".into());
        let reply = read(&[]).expect("read").write(&IssuedToken::new(&token, Timestamp(0)));
        assert_eq!(reply.stdout.as_slice(), b"Bearer t1.XXX\n");
        assert!(read(&["get"]).is_err());
    }
}
