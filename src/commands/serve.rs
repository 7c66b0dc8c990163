//! `serve`: keeps running and serves tokens on loopback to listed users, for the containers of one pod.

use std::net::{Ipv4Addr, SocketAddrV4};

use clap::{Arg, ArgAction};

use crate::base::error::{Error, Result};
use crate::commands::command::{Command, CommandCall, Group};
use crate::process::flags::Example;
use crate::process::{Outcome, Reply};
use crate::serve::alone::serve_alone;
use crate::session::Session;

pub const COMMAND: Command = Command {
    group: Group::Use,
    examples: &[
        Example {
            call: "ycred serve --listen 127.0.0.1:8181 --allow-uid 1000",
            about: "serve the default profile's token to the user 1000",
        },
        Example {
            call: "ycred serve --profile prod --listen 127.0.0.1:8181 --allow-uid 1000 --allow-uid 1001",
            about: "serve another profile to two users",
        },
    ],
    is_plain: true,
    ..Command::new("serve", "serve tokens on loopback as the metadata service does", arguments, run)
};

fn arguments(command: clap::Command) -> clap::Command {
    command
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("127.0.0.1:PORT")
                .required(true)
                .help("address to listen on; programs read it from YC_METADATA_ADDR"),
        )
        .arg(
            Arg::new("allow-uid")
                .long("allow-uid")
                .value_name("N")
                .required(true)
                .action(ArgAction::Append)
                .num_args(1..)
                .allow_negative_numbers(true)
                .help("user IDs whose programs get tokens"),
        )
        .after_help("It prints nothing but errors and warnings, and runs until SIGTERM.")
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let listen = address(call.value("listen").unwrap_or_default())?;
    let users = call.matches.get_many::<String>("allow-uid").into_iter().flatten();
    let users = users.map(|text| user(text)).collect::<Result<Vec<u32>>>()?;
    let profile = session.profile(&call.profile_by_flag())?;
    serve_alone(listen, users, profile, call.options.clone(), session)?;
    Ok(Outcome::reply(Reply::default()))
}

/// Parses the address. Only loopback is allowed, because the protocol has no password and no encryption.
fn address(text: &str) -> Result<SocketAddrV4> {
    let address = text.parse::<SocketAddrV4>().ok();
    address.filter(|address| *address.ip() == Ipv4Addr::LOCALHOST && address.port() != 0).ok_or_else(|| {
        Error::usage("--listen: the address is not 127.0.0.1 with a port")
            .hint("use a port above 1023, such as --listen 127.0.0.1:8181")
    })
}

/// Parses a user ID. A list or a word for all users is not accepted, so that nobody gets tokens by mistake. Root can
/// read every token anyway, and is the user of containers that set none.
fn user(text: &str) -> Result<u32> {
    let wrong = |why: &str| {
        Error::usage(format!("--allow-uid: {why}"))
            .hint("list each user by its number: --allow-uid 1000 --allow-uid 1001")
    };
    // u32::MAX stands for "no user" in system calls.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>().ok().filter(|id| is_number && *id != u32::MAX) {
        Some(0) => Err(wrong("root is not allowed")),
        Some(id) => Ok(id),
        None => Err(wrong("expected a user ID")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_with_a_port_is_an_address() {
        assert_eq!(address("127.0.0.1:8181").ok(), Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8181)));
        for text in [
            "",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "127.0.0.2:8181",
            "0.0.0.0:8181",
            ":8181",
            "8181",
            "localhost:8181",
            "[::1]:8181",
            "10.0.0.1:8181",
            "127.1:8181",
            " 127.0.0.1:8181",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn users_are_listed_by_number_and_root_is_refused() {
        assert_eq!(user("1000").ok(), Some(1000));
        assert_eq!(user("4294967294").ok(), Some(u32::MAX - 1));
        for text in
            ["", "0", "00", "-1", "+1", "any", "*", "all", "nobody", "1000-2000", "1,2", "4294967295", "4294967296"]
        {
            assert!(user(text).is_err(), "{text}");
        }
    }
}
