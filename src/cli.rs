//! Parses argv, `argv[0]` included, into the call of a hook or of a command.
//!
//! There are two parsers: lexopt for hooks and clap for commands. Building clap's tree takes ten times as long as
//! parsing a hook's arguments (docs/performance.md). Both parsers use the same tables, and a test compares them on
//! random arguments.

pub mod command;
pub mod help;
pub mod hook;
pub mod invocation;
pub mod status_line;
pub mod tree;

use std::ffi::OsString;

use crate::cli::command::parse_command;
use crate::cli::hook::{by_name, parse_hook};
use crate::cli::invocation::{Fault, Invocation};
use crate::cli::status_line::parse_status_line;
use crate::sources::login::renewal::{RENEW_LOGIN, RenewalCall};

/// Parses argv.
///
/// # Errors
/// Usage (2) for a command, or the command's own exit code. An error in a hook's arguments is part of the returned
/// call.
pub fn parse(argv: &[OsString]) -> Result<Invocation, Fault> {
    let arguments = argv.get(1..).unwrap_or_default();
    let (hook, suffix) = argv.first().and_then(|name| by_name(name)).unzip();
    if hook.is_none()
        && let Some((first, rest)) = arguments.split_first()
        && first == RENEW_LOGIN
        && let Some(call) = RenewalCall::parse(rest)
    {
        return Ok(Invocation::RenewLogin(call));
    }
    if hook.is_none()
        && let Some(options) = parse_status_line(arguments)
    {
        return Ok(Invocation::StatusLine(Box::new(options)));
    }
    match parse_hook(hook, suffix.flatten(), arguments) {
        Some(invocation) => Ok(invocation),
        None => parse_command(arguments),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::ffi::OsStr;
    #[expect(clippy::disallowed_types, reason = "only this makes a string that is not UTF-8")]
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;
    use crate::base::random;
    use crate::cli::command::options_of;
    use crate::cli::invocation::version;
    use crate::cli::tree::tree;
    use crate::commands::COMMANDS;
    use crate::hooks::{self, HOOKS};
    use crate::process::flags::Options;

    fn os_strings(arguments: &[&str]) -> Vec<OsString> {
        arguments.iter().map(OsString::from).collect()
    }

    /// The result of either parser, in a form that can be compared.
    #[derive(Debug, PartialEq)]
    enum Reading {
        Hook(&'static str, Vec<String>, Options),
        Print,
        Error,
    }

    fn by_lexopt(arguments: &[OsString]) -> Option<Reading> {
        match parse_hook(None, None, arguments) {
            Some(Invocation::Hook(call)) if call.usage_error.is_some() => Some(Reading::Error),
            Some(Invocation::Hook(mut call)) => {
                // The order of different flags does not matter; of one flag the last value wins.
                call.options.own.sort_by_key(|(flag, _)| *flag);
                Some(Reading::Hook(call.hook.name, call.operands, call.options))
            }
            Some(_) => Some(Reading::Print),
            None => None,
        }
    }

    fn by_clap(arguments: &[OsString]) -> Reading {
        let program = [OsString::from("ycred")];
        let Ok(matches) = tree().try_get_matches_from(program.iter().chain(arguments)) else { return Reading::Error };
        let Some((name, of_hook)) = matches.subcommand() else { return Reading::Error };
        let Some(hook) = hooks::named(name) else { return Reading::Error };
        let mut operands = Vec::new();
        for at in 0..hook.operands.len() {
            operands.extend(
                of_hook
                    .get_many::<OsString>(&format!("operand-{at}"))
                    .into_iter()
                    .flatten()
                    // A hook's operands are UTF-8. clap would pass any bytes on.
                    .map(|operand| operand.to_str().unwrap_or("\0").to_owned()),
            );
        }
        if operands.iter().any(|operand| operand == "\0") {
            return Reading::Error;
        }
        let is_set = |long: &str| of_hook.try_get_one::<bool>(long).ok().flatten().copied().unwrap_or(false);
        match options_of(&matches, of_hook, hook.flags) {
            Err(_) => Reading::Error,
            Ok(_) if is_set("help") || is_set("version") => Reading::Print,
            Ok(mut options) => {
                options.own.sort_by_key(|(flag, _)| *flag);
                Reading::Hook(hook.name, operands, options)
            }
        }
    }

    /// The short parser accepts nothing that clap would read in another way.
    #[test]
    fn the_parser_of_the_short_status_agrees_with_clap() {
        let pool = [
            "status",
            "status",
            "status",
            "--short",
            "--short",
            "--short",
            "--short=1",
            "--shor",
            "--all",
            "--json",
            "--verify",
            "-p",
            "prod",
            "-pprod",
            "--profile",
            "--profile=prod",
            "--min-ttl",
            "15m",
            "--min-ttl=1h",
            "--min-ttl=x",
            "--timeout",
            "0s",
            "--timeout=5s",
            "--no-cache",
            "--force-refresh",
            "-v",
            "-vv",
            "--",
            "-h",
            "--help",
            "--version",
            "",
            "-x",
            "kubectl",
        ];
        let mut accepted = 0;
        for _ in 0..20_000 {
            let arguments: Vec<OsString> =
                (0..=random::below(5)).map(|_| OsString::from(pool[random::below(pool.len())])).collect();
            let Some(options) = parse_status_line(&arguments) else { continue };
            let argv = std::iter::once(OsString::from("ycred")).chain(arguments.iter().cloned());
            let matches = tree().try_get_matches_from(argv).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
            let Some(("status", of_status)) = matches.subcommand() else { panic!("{arguments:?}") };
            let is_set = |long: &str| of_status.try_get_one::<bool>(long).ok().flatten() == Some(&true);
            assert!(is_set("short") && of_status.get_one::<String>("name").is_none(), "{arguments:?}");
            let by_clap =
                options_of(&matches, of_status, &[]).unwrap_or_else(|error| panic!("{arguments:?}: {error:?}"));
            assert_eq!(options, by_clap, "{arguments:?}");
            accepted += 1;
        }
        assert!(accepted > 30, "{accepted}");
    }

    /// Arguments without a hook are skipped: only clap parses those.
    #[test]
    fn both_parsers_agree_on_random_arguments() {
        let mut pool: Vec<String> = [
            "get",
            "cr.yandex",
            "-p",
            "prod",
            "-pprod",
            "-p=prod",
            "--profile",
            "--profile=prod",
            "--profile=",
            "--min-ttl",
            "15m",
            "--min-ttl=1h",
            "--min-ttl=x",
            "--min-ttl=",
            "--timeout=5s",
            "--timeout",
            "--timeout=0s",
            "0s",
            "5",
            "-5s",
            "--profil",
            "--profil=prod",
            "-x5",
            "-",
            "--no-cache",
            "--force-refresh",
            "-v",
            "-vv",
            "-vp",
            "--format=xml",
            "--",
            "-x",
            "--nope",
            "--no-cache=1",
            "-h",
            "--help",
            "-V",
            "--version",
            "",
        ]
        .map(str::to_owned)
        .into();
        for flag in HOOKS.iter().flat_map(|hook| hook.flags) {
            let value = flag.choices.first().copied().unwrap_or("cr.yandex");
            pool.extend([format!("--{}", flag.long), format!("--{}={value}", flag.long), value.to_owned()]);
        }
        let (mut compared, mut early) = (0, 0);
        for _ in 0..20_000 {
            // Most of these contain a hook's name.
            let hook = HOOKS[random::below(HOOKS.len())].name;
            let at = random::below(6);
            let not_utf8 = || OsStr::from_bytes(b"\xff\xfe").to_owned();
            let arguments: Vec<OsString> = (0..=random::below(5))
                .map(|here| match random::below(pool.len() + 1) {
                    _ if here == at => OsString::from(hook),
                    any => pool.get(any).map_or_else(not_utf8, OsString::from),
                })
                .collect();
            let Some(lexopt) = by_lexopt(&arguments) else { continue };
            early += usize::from(lexopt == Reading::Error && arguments[0] != hook && arguments.contains(&hook.into()));
            let clap = by_clap(&arguments);
            // clap checks the number of operands; for hooks that happens after parsing.
            let too_many = matches!(&lexopt, Reading::Hook(name, operands, _)
                if hooks::named(name).is_some_and(|hook| operands.len() > hook.operands.len()));
            // If there are two errors, or an error and `--help`, the parsers may stop at different ones.
            let both_stop =
                matches!(lexopt, Reading::Error | Reading::Print) && matches!(clap, Reading::Error | Reading::Print);
            assert!(
                lexopt == clap || both_stop || (too_many && clap == Reading::Error),
                "{arguments:?}:\n lexopt {lexopt:?}\n clap   {clap:?}"
            );
            compared += 1;
        }
        assert!(compared > 2000, "only {compared} of the random arguments were hooks");
        assert!(early > 500, "only {early} of them had an error before the hook's name");
    }

    #[test]
    fn an_error_before_the_hooks_name_is_reported_by_the_hook() {
        let hook = |line: &str| match parse_hook(None, None, &os_strings(&line.split(' ').collect::<Vec<_>>())) {
            Some(Invocation::Hook(call)) => call.usage_error.map(|_| call.hook.name),
            _ => None,
        };
        for (line, expected) in [
            ("--timeout 5 docker get", Some("docker")),
            ("--timeout=5 docker get", Some("docker")),
            ("-p x --min-ttl soon kubectl", Some("kubectl")),
            ("--nope git get", Some("git")),
            ("--profil prod git get", Some("git")),
            ("--profil=prod -v git get", Some("git")),
            ("-x bazel get", Some("bazel")),
            ("--no-cache=1 terraform get h", Some("terraform")),
            ("--timeout 5 --cargo-plugin", Some("cargo")),
            ("--profil docker env", Some("docker")),
            // These call no hook.
            ("--timeout docker env", None),
            ("--nope env docker", None),
            ("--nope x y docker", None),
            ("--nope -- docker", None),
            ("--timeout 5 env docker", None),
        ] {
            assert_eq!(hook(line), expected, "{line}");
        }
    }

    #[test]
    fn a_symlink_names_the_hook_and_the_profile() {
        let named = |name: &str| by_name(OsStr::new(name)).map(|(hook, suffix)| (hook.name, suffix));
        let prod = Some("prod".to_owned());
        assert_eq!(named("docker-credential-ycred"), Some(("docker", None)));
        assert_eq!(named("docker-credential-ycred-prod"), Some(("docker", prod.clone())));
        assert_eq!(named("/usr/bin/git-credential-ycred-prod"), Some(("git", prod.clone())));
        assert_eq!(named("C:\\x\\git-credential-ycred.exe"), None, "a backslash is part of a name here");
        assert_eq!(named("Docker-Credential-YCRED.EXE"), Some(("docker", None)));
        assert_eq!(named("terraform-credentials-ycred_v1.2.3"), Some(("terraform", None)));
        assert_eq!(named("terraform-credentials-ycred-prod_v1.2.3"), Some(("terraform", prod)));
        assert_eq!(named("docker-credential-ycred-"), Some(("docker", Some(String::new()))));
        assert_eq!(named("docker-credential-ycred-my.prod-1"), Some(("docker", Some("my.prod-1".into()))));
        for other in ["ycred", "kubectl-ycred", "docker-credential-ycredprod", "docker-credential-yc", "", "/"] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn the_tree_is_well_formed() {
        tree().debug_assert();
    }

    #[test]
    fn a_mistake_is_reported_in_one_line_with_a_hint() {
        let message = |arguments: &[&str]| match parse(&os_strings(&[&["ycred"], arguments].concat())) {
            Err(fault) => fault.error.render(),
            Ok(Invocation::Hook(call)) => call.usage_error.expect("a fault").render(),
            Ok(_) => panic!("an error"),
        };
        assert_eq!(
            message(&["token", "--profil", "x"]),
            "ycred: error: unknown flag --profil\nycred: hint: did you mean --profile?\n"
        );
        assert_eq!(
            message(&["tokn"]),
            "ycred: error: unrecognized subcommand \"tokn\"\nycred: hint: did you mean token?\n"
        );
        assert_eq!(message(&["token", "--format", "xml"]).lines().count(), 1);
        assert!(message(&[]).contains("no command given"));
        assert_eq!(
            message(&["env", "prod"]).lines().last(),
            Some("ycred: hint: to select a profile: ycred env --profile prod")
        );
        assert!(message(&["env", "Prod X"]).ends_with("`ycred env --help` lists its arguments and flags\n"));
        assert!(message(&["aws", "--nonesuch"]).ends_with("`ycred aws --help` lists its arguments and flags\n"));
        assert_eq!(
            message(&["completions", "tcsh"]).lines().last(),
            Some("ycred: hint: use one of bash, zsh, fish, powershell, elvish")
        );
        assert_eq!(
            message(&["completions"]).lines().last(),
            Some("ycred: hint: use one of bash, zsh, fish, powershell, elvish")
        );
        assert_eq!(message(&["token", "--json"]).lines().last(), Some("ycred: hint: did you mean --format json?"));
        assert_eq!(
            message(&["remove", "prod", "my-sa"]).lines().last(),
            Some("ycred: hint: it takes one profile: run it once for each")
        );
        assert!(message(&["remove", "prod", "--nonesuch"]).contains("`ycred remove --help`"));
        assert_eq!(
            message(&["use"]),
            "ycred: error: missing <PROFILE>\nycred: hint: `ycred use --help` lists its arguments and flags\n"
        );
    }

    #[test]
    fn every_command_has_help_even_if_arguments_are_missing() {
        let printed = |arguments: &[&str]| match parse(&os_strings(&[&["ycred"], arguments].concat())) {
            Ok(Invocation::Print(text)) => text,
            Ok(_) => panic!("{arguments:?}: not help"),
            Err(fault) => panic!("{arguments:?}: {}", fault.error.render()),
        };
        let commands = COMMANDS.iter().map(|command| (command.name, command.about));
        for (name, about) in commands.chain(HOOKS.iter().map(|it| (it.name, it.about))) {
            for arguments in [[name, "--help"], [name, "-h"], ["help", name], ["--help", name]] {
                assert!(printed(&arguments).starts_with(about), "{arguments:?}");
            }
        }
        // Under the link's name, these flags are operations of docker's protocol.
        for flag in ["--version", "-v", "--help", "-h"] {
            match parse(&os_strings(&["docker-credential-ycred", flag])) {
                Ok(Invocation::Hook(call)) => assert_eq!(call.operands.len(), 1, "{flag}"),
                _ => panic!("{flag}"),
            }
        }
        assert_eq!(printed(&["help"]), printed(&["--help"]));
        assert_eq!(printed(&["version"]), version());
    }
}
