//! kubectl and other programs that read a kubeconfig: users that run yc run ycred instead.

mod check;
mod kubeconfig;
mod policy;
mod stanza;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::base::environment::Environment;
use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::commands::clients::client::{Client, SetupCall, Use, flag};
use crate::commands::clients::kubectl::kubeconfig::{Kubeconfig, OWNER, locks};
use crate::commands::clients::kubectl::stanza::Method;
use crate::commands::clients::profiles::{self, Chosen};
use crate::commands::clients::program;
use crate::commands::clients::report::{ChangeReport, Report};
use crate::commands::clients::same_account::{self, YcProfile};
use crate::edit::change::EditPlan;
use crate::edit::journal::{Journal, JournalEntry, Step, Stored, What, follow};
use crate::edit::place::Place;
use crate::edit::render;
use crate::edit::splice::{EditRefusal, Format};
use crate::edit::target::TargetFile;
use crate::edit::tree::TreeNode;
use crate::session::Session;

pub const CLIENT: Client = Client {
    name: "kubectl",
    about: "kubeconfig users that run yc: makes them run ycred",
    flags: &["context", "user", "kubeconfig"],
    is_found,
    programs: &["kubectl", "helm", "k9s"],
    owner: OWNER,
    setup,
    selects,
    is_given_up: runs_yc_again,
    shown: |_, _, entry, text| shown(entry, text),
    undo_without_journal,
    remaining,
    uses,
    selection: kubeconfig::selection,
    check: Some(&check::CHECK),
    locks,
    ..Client::PLAIN
};

fn is_found(session: &Session<'_>) -> bool {
    let paths = kubeconfig::paths(None, session).unwrap_or_default();
    program::find("kubectl", session).is_some() || paths.iter().any(|path| path.exists())
}

/// A user to set up.
struct Selected {
    name: String,
    file: PathBuf,
    /// `--user` or `--context` names it.
    is_named: bool,
    /// The arguments that select it in a command of a hint.
    arguments: String,
}

fn setup(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    let files = kubeconfig::read(call, session).map_err(|error| match error.hint_text() {
        Some(hint) if !hint.contains("get-credentials") => {
            let profile = call.profile_argument().ok().flatten().unwrap_or_else(|| "PROFILE".to_owned());
            let command =
                program::ycred(call, session).map_or_else(|_| "/PATH/ycred".to_owned(), |command| command.path);
            let stanza = render::flow(&stanza::stanza(None, false, &command, &profile, false));
            error.replace_hint(format!(
                "fix the file, which kubectl cannot read either, or set the user's exec to {stanza}"
            ))
        }
        _ => error,
    })?;
    let mut selected = select(&files, call)?;
    if call.is_set("all") {
        let profiles = profiles_of_yc(&files, &selected);
        refuse_one_profile_for_several(&profiles, call)?;
        if profiles.len() > 1 {
            // One profile for all of them would be refused.
            for user in &mut selected {
                user.arguments = format!("{} {}", call.arguments_of_one(), flag("user", &user.name));
            }
        }
    }
    let mut report = Report::default();
    let is_all = selected.len() > 1;
    for user in &selected {
        match setup_user(user, call, session) {
            Ok(change) => report.changes.push(change),
            // One user that cannot be set up does not keep the others from it.
            Err(error) if is_all => report.add(Report::failed(error)),
            Err(error) => return Err(error),
        }
    }
    add_notes(&mut report, &files, &selected, call, session)?;
    Ok(report)
}

/// Returns the profiles of yc that users run.
fn profiles_of_yc(files: &[Kubeconfig], users: &[Selected]) -> BTreeSet<String> {
    let of_yc = |user: &Selected| {
        let entry = kubeconfig::named(files, "users", &user.name).and_then(|(_, item)| item.member("user"))?;
        let Ok(Method::Yc { profile }) = stanza::method(entry) else { return None };
        Some(profile.unwrap_or_else(|| "default".to_owned()))
    };
    users.iter().filter_map(of_yc).collect()
}

/// Checks that `--all` with one `--profile` does not give one account to users of several of yc's profiles.
///
/// # Errors
/// Usage (2): they have different profiles, and there is no `--force`.
fn refuse_one_profile_for_several(profiles: &BTreeSet<String>, call: &SetupCall<'_>) -> Result<()> {
    let Some(chosen) = call.profile_argument()?.filter(|_| !call.is_set("force")) else { return Ok(()) };
    if profiles.len() < 2 {
        return Ok(());
    }
    let names = profiles.iter().cloned().collect::<Vec<_>>().join(", ");
    let command = format!("ycred setup kubectl{}", call.arguments());
    Err(Error::usage(format!("the users run yc with different profiles ({names}), and --profile names one for all"))
        .hint(format!(
            "to keep the account of each user: {command}; to give all of them that of {chosen}: {command} --profile {} --force",
            shell::word(&chosen)
        )))
}

/// Returns the users that the flags select; else the user of the current context.
fn select(files: &[Kubeconfig], call: &SetupCall<'_>) -> Result<Vec<Selected>> {
    let find = |name: String, is_named| match kubeconfig::named(files, "users", &name) {
        Some((file, _)) => Ok(Selected { name, file: file.to_owned(), is_named, arguments: call.arguments() }),
        None => {
            let known: Vec<String> = kubeconfig::users(files).into_iter().map(|(name, _)| name).collect();
            Err(Error::usage(format!("no user {name} in the kubeconfig")).hint(match known.is_empty() {
                true => {
                    "create it, for a cluster of the cloud with: yc managed-kubernetes cluster get-credentials NAME \
                         --external"
                        .to_owned()
                }
                false => format!("its users: {}", known.join(", ")),
            }))
        }
    };
    if let Some(user) = call.value("user") {
        return Ok(vec![find(user.to_owned(), true)?]);
    }
    if let Some(context) = call.value("context") {
        return Ok(vec![find(kubeconfig::user_of_context(files, context)?, true)?]);
    }
    if call.is_set("all") {
        let candidates = candidates(files);
        if candidates.is_empty() {
            return Err(Error::usage("no user in the kubeconfig runs yc or ycred")
                .hint("name one to set up anyway: --user NAME --profile NAME"));
        }
        return candidates.into_iter().map(|name| find(name, false)).collect();
    }
    match kubeconfig::current_context(files) {
        Some(context) => Ok(vec![find(kubeconfig::user_of_context(files, context)?, false)?]),
        None => Err(Error::usage("the kubeconfig has no current context")
            .hint("name one with --context NAME, or set up all users that run yc with --all")),
    }
}

/// Returns the names of the users that run ycred or yc, including those that run yc in a way that setup refuses.
fn candidates(files: &[Kubeconfig]) -> Vec<String> {
    let runs_yc_or_ycred = |name: &String| {
        let user = kubeconfig::named(files, "users", name).and_then(|(_, item)| item.member("user"));
        user.is_some_and(|user| {
            !matches!(stanza::method(user), Ok(Method::Other(_) | Method::Static(_) | Method::Nothing))
        })
    };
    kubeconfig::users(files).into_iter().map(|(name, _)| name).filter(runs_yc_or_ycred).collect()
}

fn path_of(user: &str) -> Vec<Step> {
    let key = |key: &str| Step::Key(key.to_owned());
    vec![key("users"), Step::Item { name: user.to_owned() }, key("user"), key("exec")]
}

fn setup_user(user: &Selected, call: &SetupCall<'_>, session: &Session<'_>) -> Result<ChangeReport> {
    let command = program::ycred(call, session)?.path;
    let change = RefCell::new(None);
    let (_, is_changed) = call.editor.edit(&user.file, OWNER, |target, journal| {
        let (plan, planned) = plan(user, target, journal, &command, call, session)?;
        *change.borrow_mut() = Some(planned);
        Ok(plan)
    })?;
    let change = change.into_inner().ok_or_else(|| Error::internal("the edit made no plan"))?;
    Ok(ChangeReport { is_changed, ..change })
}

fn plan(
    user: &Selected,
    target: &TargetFile,
    journal: &Journal,
    command: &str,
    call: &SetupCall<'_>,
    session: &Session<'_>,
) -> Result<(EditPlan, ChangeReport)> {
    let name = &user.name;
    let text = target.text.as_deref().unwrap_or_default();
    let format = Format::Yaml;
    let label = format!("user {name}");
    let root = format.parse(text).map_err(|error| refused(EditRefusal::Syntax(error), target, name, ""))?;
    let path = path_of(name);
    let (pointer, steps) = follow(&root, &path[..3]);
    if steps < 2 {
        return Err(Error::usage(format!("no user {name} in {}", target.spelled.display())));
    }
    let null = TreeNode::null();
    let entry = if steps == 3 { root.at(&pointer).unwrap_or(&null) } else { &null };
    let in_user = |error: Error| error.context(format!("user {name}"));
    if entry.is_entangled() || root.at(&pointer[..2]).is_some_and(|item| item.anchor != 0) {
        let profile = call.profile_argument()?.unwrap_or_else(|| "PROFILE".to_owned());
        let stanza = render::flow(&stanza::stanza(None, false, command, &profile, false));
        let why = EditRefusal::Unsupported("an anchor, an alias or a tag is in the way");
        return Err(refused(why, target, name, &stanza));
    }
    if kubeconfig::has_two(&root, name) {
        let why = EditRefusal::Unsupported("two users have this name");
        return Err(refused(why, target, name, "").hint("remove one of the two; kubectl cannot read the file either"));
    }
    // If a key occurs twice, kubectl uses the last one. After an edit, nothing would show which of the two ycred wrote.
    let is_repeated = root.repeats("users")
        || root.at(&pointer[..2]).is_some_and(|item| item.repeats("name") || item.repeats("user"))
        || entry.repeats("exec")
        || entry.member("exec").is_some_and(TreeNode::has_repeated_names);
    if is_repeated {
        let profile = call.profile_argument()?.unwrap_or_else(|| "PROFILE".to_owned());
        let stanza = render::flow(&stanza::stanza(None, false, command, &profile, false));
        return Err(refused(EditRefusal::Unsupported("a key occurs twice"), target, name, &stanza));
    }
    let Decision { origin, chosen, is_ours, former_account } =
        decide(user, entry, journal.find(&key_of(name, target)), call, session).map_err(in_user)?;
    let (is_interactive, profile) = (chosen.profile.source.needs_login, chosen.written());
    let former = entry.member("exec").map(|exec| stanza::without_deciding_variables(exec, session.environment));
    let value = stanza::stanza(former.as_ref(), is_ours, command, &profile, is_interactive);
    let stanza = render::flow(&stanza::stanza(None, false, command, &profile, is_interactive));
    let place = Place { client: CLIENT.name, file: &target.real, label: label.clone(), format, path };
    let planned = place.set(Some(text), &value, journal).map_err(|why| refused(why, target, name, &stanza))?;
    let masked = |text: &str| {
        let root = format.parse(text).unwrap_or_else(|_| TreeNode::null());
        let (pointer, steps) = follow(&root, &place.path);
        let exec = root.at(&pointer).filter(|_| steps == place.path.len());
        exec.map(stanza::masked).unwrap_or_default()
    };
    let (summary, is_new) = match &planned.entry {
        Some(_) => (format!("{label}: {origin} → ycred {}", chosen.description()), true),
        None => (format!("{label}: already set up with ycred {}", chosen.description()), false),
    };
    let given_account = same_account::digest_of(&chosen.profile);
    let entry = planned.entry.map(|entry| match is_ours {
        true => JournalEntry { given_account, ..entry },
        false => JournalEntry { account: former_account, given_account, ..entry },
    });
    let change = ChangeReport {
        summary,
        before: if is_new { masked(text) } else { String::new() },
        after: if is_new { masked(planned.text.as_deref().unwrap_or_default()) } else { String::new() },
        account: Some(chosen.account),
        profile: Some(chosen.argument),
        ..ChangeReport::new(CLIENT.name, &target.spelled, label)
    };
    let put = planned.others.into_iter().chain(entry).collect();
    let plan = EditPlan { after: planned.text, put, remove: Vec::new() };
    Ok((plan, change))
}

/// Returns the place of a user's `exec` in the journal.
fn key_of(user: &str, target: &TargetFile) -> JournalEntry {
    let what = What::Value { format: Format::Yaml, path: path_of(user), before: None, ours: Vec::new(), containers: 0 };
    JournalEntry::new(CLIENT.name, &target.real, format!("user {user}"), what)
}

/// Returns the profile that setup has given to a user before, if the user runs the same profile of yc again, for the same
/// account: then yc has written its stanza anew.
fn given_before(noted: &JournalEntry, yc_name: Option<&str>, account: Option<&String>) -> Option<String> {
    let What::Value { format, before, ours, .. } = &noted.what else { return None };
    let method_of = |stored: &Stored| stanza::method(&TreeNode::map([("exec", stored.node(*format)?)])).ok();
    let Method::Yc { profile } = method_of(before.as_ref()?)? else { return None };
    let Method::Ycred { profile: given } = method_of(ours.first()?)? else { return None };
    given.filter(|_| profile.as_deref() == yc_name && noted.account.as_ref() == account)
}

/// Returns true if yc has written its stanza again, perhaps with another of its profiles.
fn runs_yc_again(entry: &JournalEntry, text: &str) -> bool {
    let What::Value { format, path, .. } = &entry.what else { return false };
    let root = format.parse(text).unwrap_or_else(|_| TreeNode::null());
    let (pointer, steps) = follow(&root, path);
    let exec = root.at(&pointer).filter(|_| steps == path.len());
    exec.is_some_and(|exec| {
        let user = TreeNode::map([("exec", exec.clone())]);
        matches!(stanza::method(&user), Ok(Method::Yc { .. }))
    })
}

/// What a user gets.
struct Decision {
    /// What the user ran before, for people.
    origin: String,
    chosen: Chosen,
    /// The user runs ycred already.
    is_ours: bool,
    /// The digest of the account that yc's profile has.
    former_account: Option<String>,
}

impl Decision {
    fn new(origin: impl Into<String>, chosen: Chosen) -> Self {
        Self { origin: origin.into(), chosen, is_ours: false, former_account: None }
    }
}

/// Chooses the profile of a user. `noted` is what the journal has about it.
fn decide(
    user: &Selected,
    entry: &TreeNode,
    noted: Option<&JournalEntry>,
    call: &SetupCall<'_>,
    session: &Session<'_>,
) -> Result<Decision> {
    let is_forced = call.is_set("force");
    let has_exec = entry.member("exec").is_some_and(|exec| !exec.is_empty());
    if let Some(key) = stanza::static_credential(entry) {
        return Err(Error::profile(format!("has `{key}`, which kubectl uses instead of `exec`")).hint(format!(
            "remove it first: kubectl config unset {}",
            shell::word(format!("users.{}.{key}", user.name))
        )));
    }
    let by_flag = call.profile_argument()?;
    let load = |argument: Option<String>| match argument {
        Some(argument) => Chosen::load(argument, session),
        None => profiles::chosen_or_only(call, session),
    };
    let method = match stanza::method(entry) {
        Ok(method) => method,
        // With `--profile` and `--force`, the person who runs setup has decided.
        Err(_) if is_forced && by_flag.is_some() => return Ok(Decision::new("yc", load(by_flag)?)),
        Err(error) => return Err(error),
    };
    match method {
        Method::Yc { profile } => {
            let origin = profile.as_ref().map_or_else(|| "yc".to_owned(), |profile| format!("yc profile {profile}"));
            let home = stanza::home(entry).map(PathBuf::from).or_else(|| session.places.home.clone());
            let yc = YcProfile { name: profile.as_deref(), home: home.as_deref() };
            let former_account = yc.account(session).map(|account| account.digest());
            let given = noted.and_then(|noted| {
                let given = Chosen::load(given_before(noted, yc.name, former_account.as_ref())?, session).ok()?;
                (same_account::digest_of(&given.profile) == noted.given_account).then_some(given)
            });
            let chosen = match by_flag {
                Some(argument) => Chosen::load(argument, session)?,
                None => same_account::for_user(&yc, given, &user.arguments, call, session)?,
            };
            let origin = match yc.account_beside(&chosen.profile, session) {
                Some(account) => format!("{origin} ({account})"),
                None => origin,
            };
            Ok(Decision { former_account, ..Decision::new(origin, chosen) })
        }
        Method::Ycred { profile } => {
            let origin =
                profile.as_ref().map_or_else(|| "ycred".to_owned(), |profile| format!("ycred profile {profile}"));
            if let Some(variable) = stanza::deciding_variables(entry, session.environment).first()
                && !(is_forced && by_flag.is_some())
            {
                return Err(Error::usage(format!("runs ycred with {variable}, which decides the account"))
                    .hint("choose the profile for that account: --profile NAME --force"));
            }
            // `--all` is for the users that run yc. One that runs ycred has a profile that somebody chose.
            let by_flag = by_flag.filter(|_| is_forced || !call.is_set("all") || profile.is_none());
            let is_chosen = by_flag.is_some();
            let chosen = load(by_flag.or(profile))?;
            if !is_chosen && chosen.is_another_elsewhere() {
                chosen.refuse_other()?;
            }
            Ok(Decision { is_ours: true, ..Decision::new(origin, chosen) })
        }
        Method::Nothing if user.is_named || !has_exec && is_forced => {
            Ok(Decision::new("no credentials", load(by_flag)?))
        }
        Method::Nothing => Err(Error::usage("has no credentials")
            .hint(format!("if it should use ycred: ycred setup kubectl {} --profile NAME", flag("user", &user.name)))),
        Method::Other(program) if user.is_named && is_forced => Ok(Decision::new(program, load(by_flag)?)),
        Method::Other(program) => Err(Error::usage(format!("runs {program}, not yc")).hint(format!(
            "if ycred should replace it: ycred setup kubectl {} --force --profile NAME",
            flag("user", &user.name)
        ))),
        // `static_credential` has returned above.
        Method::Static(key) => Err(Error::profile(format!("has `{key}`"))),
    }
}

/// Describes why a file is not edited. The hint has the stanza to paste.
fn refused(why: EditRefusal, target: &TargetFile, user: &str, stanza: &str) -> Error {
    let path = target.spelled.display();
    let error = match why {
        EditRefusal::Syntax(error) => Error::profile(format!("{path}:{}: {}", error.line, error.why)),
        EditRefusal::Unsupported(why) => Error::profile(format!("{path}: user {user}: cannot be edited: {why}")),
        EditRefusal::Unproven => {
            Error::profile(format!("{path}: user {user}: cannot be edited without changing other parts"))
        }
    };
    match stanza {
        "" => error,
        stanza => error.hint(format!("edit the file yourself: set exec of user {user} to {stanza}")),
    }
}

fn add_notes(
    report: &mut Report,
    files: &[Kubeconfig],
    selected: &[Selected],
    call: &SetupCall<'_>,
    session: &Session<'_>,
) -> Result<()> {
    let command = program::ycred(call, session)?;
    report.notes.extend(command.note);
    let runs_yc = |name: &String| {
        let user = kubeconfig::named(files, "users", name).and_then(|(_, item)| item.member("user"));
        user.is_some_and(|user| matches!(stanza::method(user), Ok(Method::Yc { .. })))
    };
    let is_selected = |name: &String| selected.iter().any(|user| user.name == *name);
    let others = kubeconfig::users(files).into_iter().map(|(name, _)| name);
    let others = others.filter(|name| !is_selected(name) && runs_yc(name)).count();
    if others > 0 {
        let noun = if others == 1 { "user runs" } else { "users run" };
        let file = call.value("kubeconfig").map(|file| format!(" {}", flag("kubeconfig", file))).unwrap_or_default();
        report.notes.push(format!("{others} more {noun} yc; to set up all: ycred setup kubectl{file} --all"));
    }
    if let Some(note) = policy::note(&command.path, session) {
        report.notes.push(note);
    }
    Ok(())
}

fn selects(call: &SetupCall<'_>, session: &Session<'_>, entry: &JournalEntry) -> Result<bool> {
    let file = call.real_path("kubeconfig", session)?;
    let user = selected_user(call, session)?;
    Ok(file.is_none_or(|file| entry.file == file) && user.is_none_or(|user| entry.label == format!("user {user}")))
}

/// Returns the user that the flags name.
fn selected_user(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Option<String>> {
    match (call.value("user"), call.value("context")) {
        (Some(user), _) => Ok(Some(user.to_owned())),
        (None, Some(context)) => kubeconfig::user_of_context(&kubeconfig::read(call, session)?, context).map(Some),
        (None, None) => Ok(None),
    }
}

fn shown(entry: &JournalEntry, text: &str) -> String {
    let What::Value { format, path, .. } = &entry.what else { return String::new() };
    let root = format.parse(text).unwrap_or_else(|_| TreeNode::null());
    let (pointer, steps) = follow(&root, path);
    let exec = root.at(&pointer).filter(|_| steps == path.len());
    exec.map(stanza::masked).unwrap_or_default()
}

/// Implements [`Client::undo_without_journal`]. It removes nothing from a kubeconfig: see [`without_journal`].
fn undo_without_journal(call: &SetupCall<'_>, session: &Session<'_>) -> Result<Report> {
    // A kubeconfig that cannot be read names no user.
    let Ok(files) = kubeconfig::read(call, session) else { return Ok(Report::default()) };
    let error = without_journal(&files, selected_user(call, session)?.as_deref());
    Ok(error.map(Report::failed).unwrap_or_default())
}

/// Without a journal, removing ycred would leave a user without credentials. Returns the error with the command that
/// creates the user again.
fn without_journal(files: &[Kubeconfig], only_user: Option<&str>) -> Option<Error> {
    let is_ours = |name: &str| {
        let user = kubeconfig::named(files, "users", name).and_then(|(_, item)| item.member("user"));
        user.is_some_and(|user| matches!(stanza::method(user), Ok(Method::Ycred { .. })))
    };
    let (user, file) = kubeconfig::users(files)
        .into_iter()
        .find(|(name, _)| only_user.is_none_or(|only| only == name) && is_ours(name))?;
    let cluster = user.strip_prefix("yc-managed-k8s-").unwrap_or("CLUSTER");
    Some(
        Error::profile(format!(
            "{}: user {user}: runs ycred, but there is no record of what was there before",
            file.display()
        ))
        .hint(format!(
            "create the user again: yc managed-kubernetes cluster get-credentials {} --external --force",
            shell::word(cluster)
        )),
    )
}

fn uses(session: &Session<'_>) -> Vec<Use> {
    let mut uses = Vec::new();
    for path in kubeconfig::paths(None, session).unwrap_or_default() {
        uses.extend(uses_in(&path, session.environment));
    }
    uses
}

fn uses_in(path: &Path, environment: &Environment) -> Vec<Use> {
    let text = TargetFile::read(path).ok().and_then(|target| target.text);
    text.map(|text| uses_in_text(path, &text, environment)).unwrap_or_default()
}

fn uses_in_text(path: &Path, text: &str, environment: &Environment) -> Vec<Use> {
    let Ok(root) = Format::Yaml.parse(text) else { return Vec::new() };
    let users = root.member("users").map(TreeNode::items).unwrap_or_default();
    let ours = |user: &TreeNode| {
        let (label, user) = (format!("user {}", user.member("name")?.as_scalar()?), user.member("user")?);
        let Ok(Method::Ycred { profile }) = stanza::method(user) else { return None };
        let deciding = stanza::deciding_variables(user, environment);
        let note = (!deciding.is_empty()).then(|| format!("its env sets {}", deciding.join(", ")));
        Some(Use { file: path.to_owned(), label, profile, note })
    };
    users.iter().filter_map(ours).collect()
}

fn remaining(call: &SetupCall<'_>, session: &Session<'_>) -> Vec<(String, String)> {
    let paths = call.path("kubeconfig", session).and_then(|path| kubeconfig::paths(path, session)).unwrap_or_default();
    let users = paths
        .iter()
        .flat_map(|path| uses_in_text(path, &call.editor.text(path).unwrap_or_default(), session.environment));
    let note = |place: Use| {
        let note =
            format!("{}: {}: still runs ycred, because setup did not write it", place.file.display(), place.label);
        (place.label, note)
    };
    users.map(note).collect()
}
