//! From argv (and `argv[0]`) to what is to be done: a hook, read by lexopt, or the people's command line, read by clap.
//! Both parsers are fed from the same tables; a test throws random arguments at the two and compares.
//!
//! Hooks do not touch clap: building its tree costs ten times what parsing a hook does (docs/performance.md).

pub mod hook;
pub mod invocation;
pub mod people;

use std::ffi::OsString;

use crate::cli::hook::{by_name, parse_hook};
use crate::cli::invocation::{Fault, Invocation};
use crate::cli::people::parse_people;

/// Reads argv.
///
/// # Errors
/// Usage (2), for people; a hook's faults are in its call.
pub fn parse(argv: &[OsString]) -> Result<Invocation, Fault> {
    let arguments = argv.get(1..).unwrap_or_default();
    let (protocol, suffix) = argv.first().and_then(|name| by_name(name)).unzip();
    match parse_hook(protocol, suffix.flatten(), arguments) {
        Some(invocation) => Ok(invocation),
        None => parse_people(arguments),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::base::random;
    use crate::cli::invocation::version;
    use crate::cli::people::{options_of, tree};
    use crate::commands::COMMANDS;
    use crate::hooks::{self, HOOKS};
    use crate::process::flags::Options;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    /// What either parser makes of an argv, in comparable form.
    #[derive(Debug, PartialEq)]
    enum Reading {
        Hook(&'static str, Vec<String>, Options),
        Print,
        Error,
    }

    fn by_lexopt(arguments: &[OsString]) -> Option<Reading> {
        match parse_hook(None, None, arguments) {
            Some(Invocation::Hook(call)) if call.fault.is_some() => Some(Reading::Error),
            Some(Invocation::Hook(mut call)) => {
                // Of two flags neither is first; of one the last counts.
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
                    .map(|word| word.to_string_lossy().into_owned()),
            );
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

    /// Both parsers, fed from the same tables, read random arguments alike. Where lexopt sees no hook there is nothing
    /// to compare: clap alone reads it then.
    #[test]
    fn both_parsers_read_the_same() {
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
            "--timeout=5s",
            "--timeout",
            "0s",
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
        let mut compared = 0;
        for _ in 0..20_000 {
            // A hook's name among them more often than not.
            let hook = HOOKS[random::below(HOOKS.len())].name;
            let at = random::below(6);
            let arguments: Vec<OsString> = (0..=random::below(5))
                .map(|here| OsString::from(if here == at { hook } else { &pool[random::below(pool.len())] }))
                .collect();
            let Some(lexopt) = by_lexopt(&arguments) else { continue };
            // A flag that is a word of the protocol's own is no flag of the tree's.
            if matches!(&lexopt, Reading::Hook(name, operands, _)
            if hooks::named(name).is_some_and(|hook| {
                hook.operation_flags.iter().any(|(_, word)| operands.iter().any(|operand| operand == word))
            })) {
                continue;
            }
            let clap = by_clap(&arguments);
            // How many operands a hook takes is judged behind lexopt, by clap itself.
            let too_many = matches!(&lexopt, Reading::Hook(name, operands, _)
                if hooks::named(name).is_some_and(|hook| operands.len() > hook.operands.len()));
            // Whichever of two faults is met first, or help asked for behind a fault, is a matter of taste.
            let both_stop =
                matches!(lexopt, Reading::Error | Reading::Print) && matches!(clap, Reading::Error | Reading::Print);
            assert!(
                lexopt == clap || both_stop || (too_many && clap == Reading::Error),
                "{arguments:?}:\n lexopt {lexopt:?}\n clap   {clap:?}"
            );
            compared += 1;
        }
        assert!(compared > 2000, "only {compared} of the random arguments were hooks");
    }

    #[test]
    fn symlinks_name_hook_and_profile() {
        let named = |name: &str| by_name(OsStr::new(name)).map(|(hook, suffix)| (hook.name, suffix));
        let prod = Some("prod".to_owned());
        assert_eq!(named("docker-credential-ycred"), Some(("docker", None)));
        assert_eq!(named("docker-credential-ycred-prod"), Some(("docker", prod.clone())));
        assert_eq!(named("/usr/bin/git-credential-ycred-prod"), Some(("git", prod.clone())));
        assert_eq!(named("C:\\x\\git-credential-ycred.exe"), None, "a backslash is part of a name here");
        assert_eq!(named("Docker-Credential-YCRED.EXE"), Some(("docker", None)));
        assert_eq!(named("terraform-credentials-ycred_v1.2.3"), Some(("terraform", None)));
        assert_eq!(named("terraform-credentials-ycred-prod_v1.2.3"), Some(("terraform", prod)));
        assert_eq!(named("docker-credential-ycred-my.prod-1"), Some(("docker", Some("my.prod-1".into()))));
        for other in [
            "ycred",
            "kubectl-ycred",
            "docker-credential-ycredprod",
            "docker-credential-ycred-",
            "docker-credential-yc",
            "",
            "/",
        ] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn the_tree_is_well_formed() {
        tree().debug_assert();
    }

    #[test]
    fn what_is_mistyped_is_told_in_one_line_with_a_hint() {
        let told = |arguments: &[&str]| match parse(&words(&[&["ycred"], arguments].concat())) {
            Err(fault) => fault.error.render(),
            Ok(Invocation::Hook(call)) => call.fault.expect("a fault").render(),
            Ok(_) => panic!("an error"),
        };
        assert_eq!(
            told(&["token", "--profil", "x"]),
            "ycred: error: unknown flag --profil\nycred: hint: did you mean --profile?\n"
        );
        assert_eq!(
            told(&["tokn"]),
            "ycred: error: unrecognized subcommand \"tokn\"\nycred: hint: did you mean token?\n"
        );
        assert_eq!(told(&["token", "--format", "xml"]).lines().count(), 1);
        assert!(told(&[]).contains("no command"));
        assert_eq!(
            told(&["env", "prod"]).lines().last(),
            Some("ycred: hint: a profile is named by a flag: ycred env --profile prod")
        );
        assert!(told(&["env", "Prod X"]).ends_with("`ycred env --help` lists its words and flags\n"));
        assert!(told(&["aws", "--nonesuch"]).ends_with("`ycred aws --help` lists its words and flags\n"));
        assert_eq!(
            told(&["completions", "tcsh"]).lines().last(),
            Some("ycred: hint: it is one of bash, zsh, fish, powershell, elvish")
        );
        assert_eq!(
            told(&["use"]),
            "ycred: error: <PROFILE> is missing\nycred: hint: `ycred use --help` lists its words and flags\n"
        );
    }

    #[test]
    fn every_command_tells_about_itself_whatever_else_is_left_out() {
        let printed = |arguments: &[&str]| match parse(&words(&[&["ycred"], arguments].concat())) {
            Ok(Invocation::Print(text)) => text,
            Ok(_) => panic!("{arguments:?}: not help"),
            Err(fault) => panic!("{arguments:?}: {}", fault.error.render()),
        };
        let commands = COMMANDS.iter().map(|command| (command.name, command.about));
        for (name, about) in commands.chain(HOOKS.iter().map(|it| (it.name, it.about))) {
            for asked in [[name, "--help"], [name, "-h"], ["help", name], ["--help", name]] {
                // docker's helper has these flags as words of its own.
                if asked[0] != "docker" {
                    assert!(printed(&asked).starts_with(about), "{asked:?}");
                }
            }
        }
        assert_eq!(printed(&["help"]), printed(&["--help"]));
        assert_eq!(printed(&["version"]), version());
    }
}
