//! From argv (and `argv[0]`) to what is to be done: a hook, read by lexopt, or the people's command line, read by clap.
//! Both parsers are fed from the tables here and in `protocol.rs`; a test throws random arguments at the two and
//! compares.
//!
//! Hooks do not touch clap: building its tree costs ten times what parsing a hook does (docs/performance.md).

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};
use lexopt::Arg as Word;

use crate::base::clock::parse_duration;
use crate::base::error::{Error, Result};
use crate::base::suggest::nearest;
use crate::commands::{self, COMMANDS};
use crate::profile::find::check_name;
use crate::protocol::{PROTOCOLS, Protocol};

/// A flag, for both parsers, help, completions and man page.
#[derive(Debug)]
pub struct Flag {
    pub long: &'static str,
    pub short: Option<char>,
    /// What stands for its value in help; none for a switch.
    pub value: Option<&'static str>,
    /// The values that it takes, where they are a closed set.
    pub choices: &'static [&'static str],
    pub about: &'static str,
}

impl Flag {
    pub const fn new(long: &'static str, value: Option<&'static str>, about: &'static str) -> Self {
        Self { long, short: None, value, choices: &[], about }
    }
    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }
    pub const fn choices(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }
}

/// The flags that go everywhere.
pub const FLAGS: &[Flag] = &[
    Flag::new("profile", Some("PROFILE"), "profile to use: a name, or a path with a slash in it").short('p'),
    Flag::new("min-ttl", Some("DURATION"), "least life that the token must have left, such as 15m"),
    Flag::new("timeout", Some("DURATION"), "one deadline for everything that is done, such as 20s"),
    Flag::new("no-cache", None, "neither read nor write the cache"),
    Flag::new("force-refresh", None, "fetch a new token even if the cached one is fresh"),
    Flag::new("verbose", None, "say on stderr what is done, without secrets").short('v'),
    Flag::new("help", None, "print help").short('h'),
    Flag::new("version", None, "print the version").short('V'),
];

/// What the flags said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub profile: Option<OsString>,
    pub min_ttl: Option<Duration>,
    pub timeout: Option<Duration>,
    pub no_cache: bool,
    pub force_refresh: bool,
    pub verbosity: u8,
    /// Values of the hook's own flags, in order.
    pub own: Vec<(&'static str, String)>,
}

impl Options {
    /// The last value of a hook's own flag.
    pub fn own(&self, long: &str) -> Option<&str> {
        self.own.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, flag: &'static Flag, value: OsString) -> Result<()> {
        let text = || {
            value.to_str().map(str::to_owned).ok_or_else(|| Error::usage(format!("--{}: is not plain text", flag.long)))
        };
        let duration = || parse_duration(&text()?).map_err(|why| Error::usage(format!("--{}: {why}", flag.long)));
        match flag.long {
            "profile" => self.profile = Some(value),
            "min-ttl" => self.min_ttl = Some(duration()?),
            "timeout" => {
                let length = duration()?;
                if length.is_zero() {
                    return Err(Error::usage("--timeout: is no time at all"));
                }
                self.timeout = Some(length);
            }
            "no-cache" => self.no_cache = true,
            "force-refresh" => self.force_refresh = true,
            "verbose" => self.verbosity = self.verbosity.saturating_add(1),
            _ => {
                let text = text()?;
                if !flag.choices.is_empty() && !flag.choices.contains(&text.as_str()) {
                    let known = flag.choices.join(", ");
                    let error = Error::usage(format!("--{}: \"{text}\" is not one of {known}", flag.long));
                    let near = nearest(&text, flag.choices.iter().copied());
                    return Err(match near {
                        Some(near) => error.hint(format!("did you mean --{} {near}?", flag.long)),
                        None => error,
                    });
                }
                self.own.push((flag.long, text));
            }
        }
        Ok(())
    }
}

/// A hook that was called.
pub struct HookCall {
    pub protocol: &'static dyn Protocol,
    pub operands: Vec<String>,
    pub options: Options,
    /// From the symlink's name.
    pub suffix: Option<String>,
    /// Called by its symlink, so by a program and not by a person.
    pub by_symlink: bool,
    /// What is wrong with the words; told in the protocol's own way.
    pub fault: Option<Error>,
    /// All words where it was called by its symlink, else those that were not read: from the fault on.
    pub unread: Vec<OsString>,
}

/// What argv asks for.
pub enum Invocation {
    Hook(Box<HookCall>),
    /// For stdout, exit 0.
    Print(String),
    People(Box<commands::Call>),
}

/// Reads argv.
///
/// # Errors
/// Usage (2), for people; a hook's faults are in its call.
pub fn parse(argv: &[OsString]) -> Result<Invocation> {
    let arguments = argv.get(1..).unwrap_or_default();
    let (protocol, suffix) = argv.first().and_then(|name| by_name(name)).unzip();
    match parse_hook(protocol, suffix.flatten(), arguments) {
        Some(invocation) => Ok(invocation),
        None => parse_people(arguments),
    }
}

/// The hook that argv[0] names, and the profile in its suffix: `docker-credential-ycred-prod`, with or without a path,
/// an `.exe`, a `_v1.2.3` (Terraform's plugin names) and capitals.
fn by_name(argv0: &OsStr) -> Option<(&'static dyn Protocol, Option<String>)> {
    let name = Path::new(argv0).file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    let name = match name.split_once("_v") {
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => name,
        _ => name,
    };
    PROTOCOLS.iter().find_map(|protocol| {
        let rest = name.strip_prefix(protocol.hook().symlink?)?;
        match rest.strip_prefix('-') {
            Some(suffix) if !suffix.is_empty() => Some((*protocol, Some(suffix.to_owned()))),
            None if rest.is_empty() => Some((*protocol, None)),
            _ => None,
        }
    })
}

/// The hook that a flag names.
fn by_flag(long: &str) -> Option<&'static dyn Protocol> {
    PROTOCOLS.iter().find(|protocol| protocol.hook().by_flag == Some(long)).copied()
}

/// Reads a hook's flags out of words that came with a request instead of by argv.
///
/// # Errors
/// Usage (2).
pub fn parse_options(protocol: &'static dyn Protocol, words: &[OsString]) -> Result<(Options, Vec<String>)> {
    let mut read = Words { protocol: Some(protocol), ..Words::default() };
    match read.read(words)? {
        End::All => Ok((read.options, read.operands)),
        End::Help | End::Version | End::People => Err(Error::usage("--help and --version have no place here")),
    }
}

/// Reads a hook's call with lexopt. None: no word names a hook, so it is for people, faults and all.
fn parse_hook(
    named: Option<&'static dyn Protocol>,
    suffix: Option<String>,
    arguments: &[OsString],
) -> Option<Invocation> {
    let mut words =
        Words { protocol: named, foreign: named.is_some_and(|protocol| protocol.stands_in()), ..Words::default() };
    let read = words.read(arguments);
    let Words { protocol, operands, options, read: until, .. } = words;
    let protocol = protocol?;
    let fault = match read {
        Ok(End::All) => None,
        Ok(End::Help) => return Some(Invocation::Print(help(protocol.hook().name))),
        Ok(End::Version) => return Some(Invocation::Print(version())),
        Ok(End::People) => return None,
        Err(error) => Some(error),
    };
    Some(Invocation::Hook(Box::new(HookCall {
        protocol,
        operands,
        options,
        suffix,
        by_symlink: named.is_some(),
        fault,
        unread: arguments[if named.is_some() { 0 } else { until }..].to_vec(),
    })))
}

/// A hook's words as far as they have been read.
#[derive(Default)]
struct Words {
    protocol: Option<&'static dyn Protocol>,
    operands: Vec<String>,
    options: Options,
    /// The flags are another program's, so that none of ours is among them but the hook's own.
    foreign: bool,
    /// How many have been read; where one is at fault, how many stand before it.
    read: usize,
}

/// Where the reading of a hook's words came to an end.
enum End {
    All,
    Help,
    Version,
    People,
}

impl Words {
    fn read(&mut self, arguments: &[OsString]) -> Result<End> {
        let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
        // Behind `--` a word is no command, whatever it says.
        let mut ended = false;
        loop {
            if let Some(rest) = parser.try_raw_args() {
                self.read = arguments.len() - rest.as_slice().len();
                ended |= rest.peek().is_some_and(|word| word == "--");
            }
            let Some(word) = parser.next().map_err(|error| usage(&error))? else { break };
            let flag = match word {
                Word::Value(value) if self.protocol.is_some() => {
                    let text = value.into_string().map_err(|_| Error::usage("an argument is not plain text"))?;
                    self.operands.push(text);
                    continue;
                }
                Word::Value(value) => {
                    self.protocol = value.to_str().filter(|_| !ended).and_then(crate::protocol::named);
                    if self.protocol.is_none() {
                        return Ok(End::People);
                    }
                    continue;
                }
                Word::Short(short) => self.find_flag(|flag| flag.short == Some(short)),
                Word::Long(long) => {
                    if let Some(named) =
                        by_flag(long).filter(|_| self.protocol.is_none_or(|known| known.hook().by_flag == Some(long)))
                    {
                        self.protocol = Some(named);
                        continue;
                    }
                    self.find_flag(|flag| flag.long == long)
                }
            };
            let flag = flag.ok_or_else(|| self.unknown_flag(&word))?;
            // A protocol may have a word of its own for a flag (docker's `version`).
            if let Some(word) = self.protocol.and_then(|protocol| protocol.hook().own_word(flag)) {
                self.operands.push(word.to_owned());
                continue;
            }
            match (flag.long, self.protocol) {
                // Without a hook in sight yet, it is the people's help.
                ("help" | "version", None) => return Ok(End::People),
                ("help", _) => return Ok(End::Help),
                ("version", _) => return Ok(End::Version),
                _ => {}
            }
            let value = match flag.value {
                None => OsString::new(),
                Some(_) => parser.value().map_err(|error| usage(&error))?,
            };
            self.options.set(flag, value)?;
        }
        Ok(End::All)
    }

    fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        let general = if self.foreign { &[] } else { FLAGS };
        self.protocol.map_or(&[][..], |protocol| protocol.hook().flags).iter().chain(general)
    }

    fn find_flag(&self, fits: impl Fn(&Flag) -> bool) -> Option<&'static Flag> {
        self.flags().find(|flag| fits(flag))
    }

    fn unknown_flag(&self, word: &Word<'_>) -> Error {
        let typed = match word {
            Word::Short(short) => format!("-{short}"),
            Word::Long(long) => format!("--{long}"),
            Word::Value(_) => String::new(),
        };
        let near = nearest(typed.trim_start_matches('-'), self.flags().map(|flag| flag.long));
        // Where `--help` is a word of the protocol's own it lists no flags.
        let named = self.protocol.map(Protocol::hook).filter(|hook| hook.own_words.is_empty()).map(|hook| hook.name);
        let hint = near.map_or_else(|| see_help(named), |known| format!("did you mean --{known}?"));
        Error::usage(format!("unknown flag {typed}")).hint(hint)
    }
}

const SEE_HELP: &str = "`ycred --help` lists commands and flags";

/// Where the words of a command are listed, or the commands.
fn see_help(command: Option<&str>) -> String {
    command.map_or_else(|| SEE_HELP.to_owned(), |name| format!("`ycred {name} --help` lists its words and flags"))
}

fn usage(error: &lexopt::Error) -> Error {
    Error::usage(error.to_string()).hint(SEE_HELP)
}

pub fn version() -> String {
    concat!("ycred ", env!("CARGO_PKG_VERSION"), "\n").to_owned()
}

// ------------------------------------------------------------------------------------------------------------------ clap

/// The whole command line as clap sees it: for people, for help, completions and the man page.
pub fn tree() -> clap::Command {
    let hooks = PROTOCOLS.iter().map(|protocol| {
        let hook = protocol.hook();
        let operands = hook.operands.iter().enumerate().map(|(at, name)| {
            Arg::new(format!("operand-{at}")).value_name(*name).value_parser(clap::value_parser!(OsString))
        });
        let own_words = |flag: &&Flag| hook.own_word(flag).is_none();
        clap::Command::new(hook.name)
            .about(hook.about)
            .args(operands)
            .args(hook.flags.iter().chain(FLAGS.iter().filter(own_words)).map(argument))
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true)
    });
    let people = COMMANDS.iter().map(|command| {
        let made = clap::Command::new(command.name)
            .about(command.about)
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true);
        (command.arguments)(made).args(FLAGS.iter().map(argument))
    });
    clap::Command::new("ycred")
        .about("Yandex Cloud IAM tokens for every program that can ask a credential helper")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .args(FLAGS.iter().map(argument))
        .subcommands(people)
        .subcommands(hooks)
        .subcommand_value_name("COMMAND")
        .after_help(
            "Profiles are TOML files in the configuration directory; `ycred init --help` shows how to make one.",
        )
}

/// Our own actions for help and version, so that the two parsers agree on what comes of them.
fn argument(flag: &'static Flag) -> Arg {
    let arg = Arg::new(flag.long).long(flag.long).help(flag.about);
    let arg = match flag.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    match (flag.long, flag.value) {
        ("verbose", _) => arg.action(ArgAction::Count),
        (_, Some(name)) => {
            let help = if flag.choices.is_empty() {
                flag.about.to_owned()
            } else {
                format!("{}: {}", flag.about, flag.choices.join(", "))
            };
            // Read as it comes and judged by `Options::set`, as lexopt's are: a dash in front makes no value another
            // flag.
            arg.value_name(name)
                .help(help)
                .action(ArgAction::Append)
                .value_parser(clap::value_parser!(OsString))
                .allow_hyphen_values(true)
        }
        (_, None) => arg.action(ArgAction::SetTrue),
    }
}

/// The help of a command, or of all for an empty name.
fn help(name: &str) -> String {
    let mut tree = tree();
    tree.build();
    let command = match tree.find_subcommand_mut(name) {
        Some(command) => command,
        None => &mut tree,
    };
    command.render_help().to_string()
}

fn parse_people(arguments: &[OsString]) -> Result<Invocation> {
    // As other programs have it.
    match arguments {
        [word] if word == "version" => return Ok(Invocation::Print(version())),
        [word, named @ ..] if word == "help" => {
            let name = named.first().and_then(|name| name.to_str()).unwrap_or_default();
            return Ok(Invocation::Print(help(name)));
        }
        _ => {}
    }
    let words = || std::iter::once(OsString::from("ycred")).chain(arguments.iter().cloned());
    let matches = match tree().try_get_matches_from(words()) {
        Ok(matches) => matches,
        Err(error) => {
            // What can be read all the same: whose words they are, and whether it is help that is wanted with some left out.
            let partial = tree().ignore_errors(true).try_get_matches_from(words()).unwrap_or_default();
            let named = partial.subcommand();
            let is_help = |matches: &ArgMatches| matches.try_get_one("help").ok().flatten() == Some(&true);
            return match named {
                Some((name, of_command))
                    if error.kind() == ErrorKind::MissingRequiredArgument
                        && (is_help(&partial) || is_help(of_command)) =>
                {
                    Ok(Invocation::Print(help(name)))
                }
                _ => Err(from_clap(&error, named.map(|(name, _)| name))),
            };
        }
    };
    if matches.get_flag("version") {
        return Ok(Invocation::Print(version()));
    }
    let Some((name, of_command)) = matches.subcommand() else {
        if matches.get_flag("help") {
            return Ok(Invocation::Print(help("")));
        }
        return Err(Error::usage("no command is given")
            .hint("`ycred --help` lists them; a first profile: ycred init --key-file FILE"));
    };
    if matches.get_flag("help") || of_command.get_flag("help") {
        return Ok(Invocation::Print(help(name)));
    }
    if of_command.get_flag("version") {
        return Ok(Invocation::Print(version()));
    }
    let options = options_of(&matches, of_command, &[])?;
    let command = COMMANDS.iter().find(|command| command.name == name);
    // clap sees a hook where lexopt sees none only if the two read the words differently.
    let command =
        command.ok_or_else(|| Error::usage(format!("`{name}` cannot be read in these words")).hint(SEE_HELP))?;
    Ok(Invocation::People(Box::new(commands::Call { command, options, matches: of_command.clone() })))
}

/// The flags before and behind the command's name, the later ones winning.
fn options_of(before: &ArgMatches, behind: &ArgMatches, own: &'static [Flag]) -> Result<Options> {
    let mut options = Options::default();
    for matches in [before, behind] {
        for flag in FLAGS.iter().chain(own) {
            if matches!(flag.long, "help" | "version") || !matches.ids().any(|id| id == flag.long) {
                continue;
            }
            match flag.value {
                Some(_) => {
                    for value in matches.get_many::<OsString>(flag.long).into_iter().flatten() {
                        options.set(flag, value.clone())?;
                    }
                }
                None => {
                    let times = matches.try_get_one::<u8>(flag.long).ok().flatten().copied();
                    let times = times.unwrap_or_else(|| u8::from(matches.get_flag(flag.long)));
                    (0..times).try_for_each(|_| options.set(flag, OsString::new()))?;
                }
            }
        }
    }
    Ok(options)
}

fn takes_no_words(command: &str) -> bool {
    tree().find_subcommand(command).is_some_and(|command| command.get_positionals().next().is_none())
}

/// clap's complaint, of a command's words where it came so far, as our one line and one hint.
fn from_clap(error: &clap::Error, command: Option<&str>) -> Error {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    if error.kind() == ErrorKind::MissingRequiredArgument {
        return Error::usage(format!("{} is missing", context(ContextKind::InvalidArg).join(", ")))
            .hint(see_help(command));
    }
    let choices = context(ContextKind::ValidValue);
    let is_stray = |word: &String| error.kind() == ErrorKind::UnknownArgument && check_name(word).is_ok();
    let stray = context(ContextKind::InvalidArg).pop().filter(is_stray);
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").trim().to_owned();
    // Of several suggestions clap has the best one last.
    let suggestion = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| context(kind).pop());
    let hint = match suggestion {
        _ if !choices.is_empty() => format!("it is one of {}", choices.join(", ")),
        Some(known) => format!("did you mean {known}?"),
        None => match (command.filter(|name| takes_no_words(name)), stray) {
            (Some(name), Some(profile)) => {
                format!("a profile is named by a flag: ycred {name} --profile {profile}")
            }
            _ => see_help(command),
        },
    };
    Error::usage(first.replace('\'', "\"")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;

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
                Some(Reading::Hook(call.protocol.hook().name, call.operands, call.options))
            }
            Some(_) => Some(Reading::Print),
            None => None,
        }
    }

    fn by_clap(arguments: &[OsString]) -> Reading {
        let program = [OsString::from("ycred")];
        let Ok(matches) = tree().try_get_matches_from(program.iter().chain(arguments)) else { return Reading::Error };
        let Some((name, of_hook)) = matches.subcommand() else { return Reading::Error };
        let Some(protocol) = crate::protocol::named(name) else { return Reading::Error };
        let hook = protocol.hook();
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
        for flag in PROTOCOLS.iter().flat_map(|protocol| protocol.hook().flags) {
            let value = flag.choices.first().copied().unwrap_or("cr.yandex");
            pool.extend([format!("--{}", flag.long), format!("--{}={value}", flag.long), value.to_owned()]);
        }
        let mut compared = 0;
        for _ in 0..20_000 {
            // A hook's name among them more often than not.
            let hook = PROTOCOLS[random::below(PROTOCOLS.len())].hook().name;
            let at = random::below(6);
            let arguments: Vec<OsString> = (0..=random::below(5))
                .map(|here| OsString::from(if here == at { hook } else { &pool[random::below(pool.len())] }))
                .collect();
            let Some(lexopt) = by_lexopt(&arguments) else { continue };
            // A flag that is a word of the protocol's own is no flag of the tree's.
            if matches!(&lexopt, Reading::Hook(name, operands, _)
            if crate::protocol::named(name).is_some_and(|protocol| {
                protocol.hook().own_words.iter().any(|(_, word)| operands.iter().any(|operand| operand == word))
            })) {
                continue;
            }
            let clap = by_clap(&arguments);
            // How many operands a hook takes is judged behind lexopt, by clap itself.
            let too_many = matches!(&lexopt, Reading::Hook(name, operands, _)
                if crate::protocol::named(name).is_some_and(|protocol| operands.len() > protocol.hook().operands.len()));
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
        let named = |name: &str| by_name(OsStr::new(name)).map(|(protocol, suffix)| (protocol.hook().name, suffix));
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
            Err(error) => error.render(),
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
            Err(error) => panic!("{arguments:?}: {}", error.render()),
        };
        let commands = COMMANDS.iter().map(|command| (command.name, command.about));
        for (name, about) in commands.chain(PROTOCOLS.iter().map(|it| (it.hook().name, it.hook().about))) {
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
