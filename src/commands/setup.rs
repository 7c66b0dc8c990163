//! `setup` and `unsetup`: configure client programs to use ycred, and undo it.

use clap::{Arg, ArgAction, ValueHint};

use crate::base::error::{Error, Result, clean};
use crate::base::suggest::nearest;
use crate::commands::clients::client::{Client, SetupCall, Use};
use crate::commands::clients::report::{ClientRow, Report};
use crate::commands::clients::{self, CLIENTS, undo};
use crate::commands::command::{Command, CommandCall, Group};
use crate::edit::change::Editor;
use crate::process::flags::{Example, Options};
use crate::process::painting::{Colour, Paint};
use crate::process::{Done, Outcome, Reply};
use crate::profile::ProfileRef;
use crate::profile::find::{self, FoundProfile};
use crate::session::Session;

pub const SETUP: Command = Command {
    group: Group::SetUp,
    examples: &[
        Example { call: "ycred setup", about: "list the clients that are found" },
        Example { call: "ycred setup kubectl", about: "make the current kubeconfig user run ycred" },
        Example { call: "ycred setup kubectl --all --quiet", about: "the same for all users that run yc" },
    ],
    paints: LIST_PAINTS,
    failure_document: Some(|error| document(&Report::failed(error.clone()), false)),
    ..Command::new("setup", "configure client programs to use ycred", setup_arguments, run)
};
pub const UNSETUP: Command = Command {
    group: Group::SetUp,
    examples: &[
        Example { call: "ycred unsetup kubectl", about: "restore the users that setup has changed" },
        Example { call: "ycred unsetup --all --dry-run", about: "show what would be restored" },
    ],
    paints: PAINTS,
    failure_document: Some(|error| document(&Report::failed(error.clone()), false)),
    ..Command::new("unsetup", "undo what setup has configured", unsetup_arguments, run)
};

/// The removed and the added lines of a change.
pub const PAINTS: &[Paint] = &[Paint::Line("- ", Colour::Removed), Paint::Line("+ ", Colour::Added)];

/// These lines, and the verdicts in the list of clients.
const LIST_PAINTS: &[Paint] = &[
    PAINTS[0],
    PAINTS[1],
    Paint::Word("not set up", Colour::Caution),
    Paint::Word("not working", Colour::Bad),
    Paint::Word("set up", Colour::Good),
];

/// Flags that belong to some clients: the flag, its value, and the help of `setup` and of `unsetup`.
const CLIENT_FLAGS: &[(&str, &str, [&str; 2])] = &[
    ("context", "NAME", ["kubectl: the user of this context", "kubectl: only the user of this context [default: all]"]),
    ("user", "NAME", ["kubectl: this user", "kubectl: only this user [default: all]"]),
    (
        "kubeconfig",
        "FILE",
        [
            "kubectl: this file [default: KUBECONFIG, or ~/.kube/config]",
            "kubectl: only this file [default: all that setup has changed]",
        ],
    ),
    (
        "host",
        "HOST",
        [
            "git, bazel: this server; docker: this one besides the cloud's; can be repeated",
            "git, bazel, docker: only this server; can be repeated [default: all]",
        ],
    ),
    (
        "file",
        "FILE",
        [
            "docker and terraform: this configuration file",
            "docker and terraform: only this configuration file [default: all]",
        ],
    ),
    ("name", "NAME", ["aws: name of AWS's profile [default: yc]", "aws: only this profile of AWS [default: all]"]),
    ("dir", "DIR", ["links: this directory [default: that of ycred]", "links: only this directory [default: all]"]),
];

/// Adds the arguments that both commands have. `which` is the index of the help in [`CLIENT_FLAGS`].
fn common_arguments(command: clap::Command, all: &'static str, which: usize) -> clap::Command {
    let names: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
    let what = ["program to configure", "program whose configuration is restored"][which];
    let client = Arg::new("client").value_name("CLIENT").help(format!("{what}: {}", names.join(", ")));
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let values = CLIENT_FLAGS.iter().map(|(name, value, help)| {
        let kind = if matches!(*value, "FILE" | "DIR") { ValueHint::AnyPath } else { ValueHint::Other };
        Arg::new(*name).long(*name).value_name(*value).help(help[which]).action(ArgAction::Append).value_hint(kind)
    });
    command
        .arg(client)
        .arg(switch("all", all))
        .args(values)
        .arg(switch("dry-run", "show the changes without making them"))
        .arg(switch("json", "print the report as JSON"))
        .arg(switch("quiet", "print only a line for each change"))
}

fn setup_arguments(command: clap::Command) -> clap::Command {
    let about: Vec<String> = CLIENTS.iter().map(|client| format!("  {:10} {}", client.name, client.about)).collect();
    common_arguments(command, "all clients that are found; with kubectl, all users that run yc", 0)
        .arg(Arg::new("tofu").long("tofu").action(ArgAction::SetTrue).help("terraform: use OpenTofu's own directory"))
        .arg(Arg::new("force").long("force").action(ArgAction::SetTrue).help("replace another program's setting"))
        .arg(
            Arg::new("command")
                .long("command")
                .value_name("PATH")
                .help("path of ycred for clients to run [default: where it is found in PATH]"),
        )
        .after_help(format!(
            "Clients:\n{}\n\nWithout CLIENT, lists the clients that are found.\n\
             Two accounts on one cluster, or for other clients: `ycred help accounts`",
            about.join("\n")
        ))
}

fn unsetup_arguments(command: clap::Command) -> clap::Command {
    common_arguments(command, "all clients", 1).arg(
        Arg::new("force").long("force").action(ArgAction::SetTrue).help("restore a setting that was changed since"),
    )
}

fn run(call: &CommandCall, session: &Session<'_>) -> Result<Outcome> {
    let is_json = call.matches.get_flag("json");
    let is_dry_run = call.matches.get_flag("dry-run");
    let editor = Editor::new(session.places, session.clock, is_dry_run).map_err(|error| match error.hint_text() {
        Some(hint) if hint.contains("without sudo") => error.replace_hint(format!("{hint}: {}", call.line())),
        _ => error,
    });
    let report = match editor.as_ref().map_err(Clone::clone).and_then(|editor| report(call, editor, session)) {
        // Programs get the document in any case. The exit code is the same.
        Err(error) if is_json => Report::failed(error),
        report => report?,
    };
    let is_quiet = call.matches.get_flag("quiet");
    let mut stdout = match is_json {
        true => document(&report, is_dry_run),
        false => report.text(is_quiet),
    };
    let failure = report.failure(is_quiet && !is_json);
    if stdout.is_empty() && !is_quiet && failure.is_none() {
        stdout.push_str("nothing to undo\n");
    }
    if !is_json && editor.is_ok_and(|editor| editor.has_plans()) {
        stdout.push_str("dry run: nothing was written\n");
    }
    let code = failure.as_ref().map_or(0, |error| error.kind.exit_code());
    let stderr = failure.map(|error| error.render()).unwrap_or_default();
    let reply = Reply::text(stdout).with_code(code);
    Ok(Outcome::Done(Done { reply, stderr, is_error_last: true, ..Done::default() }))
}

fn document(report: &Report, is_dry_run: bool) -> String {
    format!("{}\n", report.json(is_dry_run))
}

fn report(call: &CommandCall, editor: &Editor, session: &Session<'_>) -> Result<Report> {
    let is_setup = call.command.name == SETUP.name;
    let setup_call = |client, is_for_all| SetupCall {
        client,
        matches: &call.matches,
        profile: call.profile_by_flag(),
        editor,
        clients: CLIENTS,
        is_for_all,
        links: call.links,
    };
    match call.value("client") {
        Some(name) => {
            let client = named(name, call, session)?;
            check_flags(client, call)?;
            let call = setup_call(client, false);
            if is_setup { undo::setup(&call, session) } else { undo::unsetup(&call, session) }
        }
        None if call.matches.get_flag("all") && is_setup => {
            check_no_flags(call)?;
            Ok(setup_all(setup_call, session))
        }
        None if call.matches.get_flag("all") => {
            check_no_flags(call)?;
            let calls: Vec<SetupCall<'_>> = CLIENTS.iter().map(|client| setup_call(*client, true)).collect();
            undo::unsetup_all(&calls, session)
        }
        None if is_setup => Ok(list(call, session)),
        None => Err(Error::usage("no client given").hint("name one, such as `ycred unsetup kubectl`, or pass --all")),
    }
}

fn named(name: &str, call: &CommandCall, session: &Session<'_>) -> Result<&'static Client> {
    clients::named(name).ok_or_else(|| {
        let names: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
        let error = Error::usage(format!("unknown client \"{name}\""));
        match nearest(name, names.iter().copied()) {
            _ if call.command.name == SETUP.name && find::names(session.places).contains(name) => {
                error.hint(format!("to give a profile to a client: ycred setup CLIENT --profile {name}"))
            }
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint(format!("use one of {}", names.join(", "))),
        }
    })
}

fn is_given(flag: &str, call: &CommandCall) -> bool {
    call.matches.value_source(flag) == Some(clap::parser::ValueSource::CommandLine)
}

/// Rejects flags that select a part of one client, in a call for all clients.
fn check_no_flags(call: &CommandCall) -> Result<()> {
    match CLIENT_FLAGS.iter().find(|(flag, ..)| is_given(flag, call)) {
        Some((flag, ..)) => Err(Error::usage(format!("cannot use --{flag} with all clients"))
            .hint(format!("name the client, such as `ycred {} docker`", call.command.name))),
        None => Ok(()),
    }
}

/// Rejects flags that belong to other clients.
fn check_flags(client: &Client, call: &CommandCall) -> Result<()> {
    let foreign = CLIENT_FLAGS.iter().find(|(flag, ..)| is_given(flag, call) && !client.flags.contains(flag));
    match foreign {
        Some((flag, ..)) => Err(Error::usage(format!("cannot use --{flag} with {}", client.name))
            .hint(format!("`ycred {} --help` shows which flags belong to which client", call.command.name))),
        None => Ok(()),
    }
}

/// Sets up each client that is found and needs no choice. The others are left, with their commands.
fn setup_all<'a>(setup_call: impl Fn(&'static Client, bool) -> SetupCall<'a>, session: &Session<'_>) -> Report {
    let mut report = Report::default();
    let mut left = Vec::new();
    for client in CLIENTS.iter().filter(|client| (client.is_found)(session)) {
        let places: Vec<String> = match client.is_pasted || client.choice.is_some() {
            true => (client.uses)(session).iter().map(Use::description).collect(),
            false => Vec::new(),
        };
        if !places.is_empty() {
            // Another place would be a choice, but nothing is left to do for this one.
            let choice = client.choice.map(|choice| format!("; for another: `ycred setup {} {choice}`", client.name));
            report.notes.push(format!("{}: set up: {}{}", client.name, places.join(", "), choice.unwrap_or_default()));
            continue;
        }
        if client.is_pasted {
            report.notes.push(format!("{}: run `ycred setup {}`, which prints what to add", client.name, client.name));
            continue;
        }
        if let Some(choice) = client.choice {
            left.push(client.name);
            report.notes.push(format!("{}: run `ycred setup {} {choice}`", client.name, client.name));
            continue;
        }
        match undo::setup(&setup_call(client, true), session) {
            Ok(done) => report.add(done),
            Err(error) => {
                left.push(client.name);
                report.notes.push(format!("{}: {}", client.name, error.reason()));
                report.notes.extend(error.hint_text().map(|hint| format!("{}: {hint}", client.name)));
            }
        }
    }
    if report.failures.is_empty() && !left.is_empty() {
        let call = setup_call(CLIENTS[0], true);
        let hint = match (call.is_set("json"), call.is_set("quiet")) {
            (true, _) => "set them up one by one; the notes say how",
            (false, true) => "set them up one by one; the same command without --quiet shows how",
            (false, false) => "set them up one by one, as shown above",
        };
        report.failures.push(Error::usage(format!("not set up: {}", left.join(", "))).hint(hint));
    }
    report
}

/// Returns why a place that names ycred gets no token, as far as the files of this machine show.
fn fault(client: &Client, place: &Use, call: &CommandCall, session: &Session<'_>) -> Option<String> {
    let reference = match &place.profile {
        Some(name) => ProfileRef::NameOrPath { by: "--profile", text: name.into() },
        None => ProfileRef::Unnamed,
    };
    let profile = match session.profile(&reference) {
        Ok(profile) => profile,
        Err(error) => return Some(error.reason()),
    };
    if let Some(error) = session.facts(&profile, &Options::default(), true).lasting_error() {
        return Some(error.reason());
    }
    client.is_unlisted(place, &profile, &(call.host_clients)()).then(|| format!("{profile} does not list it"))
}

/// Lists the clients that are found.
fn list(call: &CommandCall, session: &Session<'_>) -> Report {
    let row = |client: &&'static Client| {
        let uses = (client.uses)(session);
        let fault = |place: &Use| fault(client, place, call, session).map(|why| (place.description(), clean(&why)));
        ClientRow {
            name: client.name,
            faults: uses.iter().filter_map(fault).collect(),
            places: uses.iter().map(Use::description).collect(),
            command: format!(
                "ycred setup {}{}",
                client.name,
                client.choice.map(|choice| format!(" {choice}")).unwrap_or_default()
            ),
        }
    };
    let clients: Vec<ClientRow> = CLIENTS.iter().filter(|client| (client.is_found)(session)).map(row).collect();
    let note = clients.is_empty().then(|| "no client program was found".to_owned());
    // Without one, each of the commands would fail.
    let has_profile = !matches!(find::only(session.places), Ok(FoundProfile::Nothing));
    let first =
        (!has_profile).then(|| format!("no profile yet; create one first: {}", find::first_command(session.places)));
    Report { clients, notes: note.into_iter().chain(first).collect(), ..Report::default() }
}
