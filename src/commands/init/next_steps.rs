//! What comes after a new profile: the clients that can use it. At a terminal `init` offers to set up each, and otherwise it
//! prints the commands.

use clap::ArgMatches;

use crate::base::error::Result;
use crate::base::shell;
use crate::commands::clients::CLIENTS;
use crate::commands::clients::client::{Client, SetupCall};
use crate::commands::clients::program;
use crate::commands::clients::report::Report;
use crate::commands::command::CommandCall;
use crate::commands::init::host_kinds;
use crate::commands::init::questions::Dialogue;
use crate::commands::profile_files::Unnamed;
use crate::edit::change::Editor;
use crate::profile::ProfileRef;
use crate::profile::find::{self, FoundProfile};
use crate::session::Session;

/// The clients that are found and not set up yet, for one profile.
pub struct NextSteps<'a> {
    call: &'a CommandCall,
    session: &'a Session<'a>,
    name: &'a str,
    /// The clients do not need to name the profile, because it is the only one.
    is_only: bool,
    /// The profile is used by clients that cannot choose one.
    is_default: bool,
    /// The hosts of the profile, without patterns.
    hosts: Vec<&'a str>,
}

impl<'a> NextSteps<'a> {
    pub fn new(name: &'a str, call: &'a CommandCall, session: &'a Session<'a>) -> Self {
        let is_only = matches!(find::only(session.places), Ok(FoundProfile::Only { name: only, .. }) if only == name);
        let is_default = match Unnamed::of(session) {
            Unnamed::Default(default) | Unnamed::Only(default) => default == name,
            Unnamed::Several(_) | Unnamed::Nothing | Unnamed::Broken => false,
        };
        let hosts = call.matches.get_many::<String>("hosts").into_iter().flatten();
        let hosts = hosts.map(String::as_str).filter(|host| !host.contains('*')).collect();
        Self { call, session, name, is_only, is_default, hosts }
    }

    fn clients(&self) -> impl Iterator<Item = &'static Client> {
        let session = self.session;
        // A client that cannot choose a profile would get a token of the default one.
        let may_use = |client: &&Client| self.is_default || !client.uses_default;
        let is_left = |client: &&Client| is_installed(client, session) && (client.uses)(session).is_empty();
        // Without a host of the profile, such a client cannot be set up.
        let has_host = |client: &&Client| client.choice.is_none() || !self.hosts_for(client).is_empty();
        CLIENTS.iter().copied().filter(may_use).filter(is_left).filter(has_host)
    }

    /// Returns the commands that set up each client.
    pub fn commands(&self) -> Vec<String> {
        let commands: Vec<String> = self.clients().map(|client| self.command(client)).collect();
        match commands.is_empty() {
            false => commands,
            true if self.is_only => vec!["ycred token".to_owned()],
            true => vec![format!("ycred token --profile {}", self.name)],
        }
    }

    fn command(&self, client: &Client) -> String {
        let hosts: String =
            self.hosts_for(client).iter().map(|host| format!(" --host {}", shell::word(host))).collect();
        let is_named = !self.is_only && !client.uses_default;
        let profile = if is_named { format!(" --profile {}", self.name) } else { String::new() };
        format!("ycred setup {}{hosts}{profile}", client.name)
    }

    /// Returns the hosts of the profile that this client is set up for.
    fn hosts_for(&self, client: &Client) -> Vec<&'a str> {
        let is_for_client = |host: &&str| client.flags.contains(&"host") && host_kinds::fits(host, client.name);
        self.hosts.iter().copied().filter(is_for_client).collect()
    }

    /// Offers to set up each client, and returns the commands for the others.
    ///
    /// # Errors
    /// Usage (2): an answer cannot be read.
    pub fn offer(&self, dialogue: &mut Dialogue<'_>) -> Result<Vec<String>> {
        let (mut left, mut has_ended) = (Vec::new(), false);
        let clients: Vec<&'static Client> = self.clients().collect();
        if clients.is_empty() {
            return Ok(self.commands());
        }
        for client in clients {
            let plan = if has_ended || client.choice.is_some() { None } else { self.set_up(client, true) };
            if let Some(Err(error)) = &plan {
                self.print(&format!("\n{}: cannot be set up yet: {}\n", client.name, error.reason()));
            }
            let plan = plan.and_then(Result::ok);
            let Some(plan) =
                plan.filter(|plan| plan.failure(false).is_none() && plan.changes.iter().any(|it| it.is_changed))
            else {
                left.push(self.command(client));
                continue;
            };
            self.print(&format!("\n{}: {}\n{}", client.name, client.about, plan.text(true)));
            match dialogue.confirm(&format!("Set up {}?", client.name))? {
                Some(true) => self.carry_out(client),
                answer => {
                    has_ended = answer.is_none();
                    left.push(self.command(client));
                }
            }
        }
        Ok(left)
    }

    fn carry_out(&self, client: &'static Client) {
        let Some(report) = self.set_up(client, false) else { return };
        let report = report.unwrap_or_else(Report::failed);
        self.print(&report.text(false));
        if let Some(error) = report.failure(false) {
            (self.session.print_stderr)(&self.session.look.stderr(&error.render()));
        }
    }

    /// Prints a report of `setup` as a part of the dialogue, which is on the terminal at stderr.
    fn print(&self, text: &str) {
        (self.session.print_stderr)(&self.session.look.stdout(text));
    }

    /// Runs `setup` for a client. Returns `None` if it cannot run here.
    fn set_up(&self, client: &'static Client, is_dry_run: bool) -> Option<Result<Report>> {
        let hosts = self.hosts_for(client);
        let matches = setup_matches(self.call, &hosts)?;
        let editor = Editor::new(self.session.places, self.session.clock, is_dry_run).ok()?;
        let profile = match self.is_only {
            true => ProfileRef::Unnamed,
            false => ProfileRef::NameOrPath { by: "--profile", text: self.name.into() },
        };
        let call = SetupCall {
            client,
            matches: &matches,
            profile,
            editor: &editor,
            clients: CLIENTS,
            is_for_all: hosts.is_empty(),
            links: self.call.links,
        };
        Some((client.setup)(&call, self.session))
    }
}

/// How many next steps a person reads.
const SHOWN: usize = 3;

/// Returns the first commands, and the one that lists all clients if there are more.
pub fn shown(mut commands: Vec<String>) -> Vec<String> {
    if commands.len() > SHOWN {
        commands.truncate(SHOWN - 1);
        commands.push("ycred setup   # it lists more clients".to_owned());
    }
    commands
}

/// Returns true if one of the client's programs is in `PATH`.
fn is_installed(client: &Client, session: &Session<'_>) -> bool {
    match client.programs {
        [] => (client.is_found)(session),
        programs => program::is_any_found(programs, session),
    }
}

/// Returns the flags of `ycred setup` with no arguments but these hosts.
fn setup_matches(call: &CommandCall, hosts: &[&str]) -> Option<ArgMatches> {
    let hosts = hosts.iter().map(|host| format!("--host={host}"));
    let arguments = ["ycred", "setup"].into_iter().map(str::to_owned).chain(hosts);
    let matches = (call.tree)().try_get_matches_from(arguments).ok()?;
    matches.subcommand().map(|(_, matches)| matches.clone())
}
