//! `pnpm`: pnpm's `tokenHelper`, a program that prints the value of `Authorization`.
//!
//! Sources: pnpm's settings reference (`tokenHelper`), and pnpm 9, 10 and 12 themselves. 9 and 10 take an absolute path
//! and no arguments, hence the link; what is printed goes out as it is, so that it must be one line with its scheme. pnpm
//! says no host: whoever writes the setting has named it, in a file of the user's own.

use crate::base::error::{Error, Result};
use crate::hooks::protocol::{Call, Exchange, Framing, Hook, IssuedToken, Request};
use crate::process::Reply;

pub const HOOK: Hook =
    Hook { symlink: Some("ycred-pnpm"), ..Hook::new("pnpm", "answer pnpm: tokenHelper", framing, read) };

fn framing(_: &Call<'_>) -> Framing {
    Framing::None
}

fn read(call: &Call<'_>, _: &[u8]) -> Result<Box<dyn Exchange>> {
    match call.operands {
        [] => Ok(Box::new(Helper { request: Request::default() })),
        [word, ..] => Err(Error::usage(format!("\"{word}\": pnpm's tokenHelper has no words"))),
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
    use crate::base::environment::Environment;
    use crate::base::secret::Secret;
    use crate::process::flags::Options;

    #[test]
    fn the_header_is_one_line_with_its_scheme() {
        let read = |words: &[String]| {
            let options = Options::default();
            (HOOK.read)(
                &Call {
                    operands: words,
                    options: &options,
                    environment: &Environment::default(),
                    parse: |_, _| panic!("no words come with a request"),
                },
                b"",
            )
        };
        let token = Secret::new("t1.XXX".into());
        let reply = read(&[]).expect("read").write(&IssuedToken::new(&token, Timestamp(0)));
        assert_eq!(reply.stdout.as_slice(), b"Bearer t1.XXX\n");
        assert!(read(&["get".into()]).is_err());
    }
}
