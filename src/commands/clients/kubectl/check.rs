//! `doctor`'s check of kubectl: the kubeconfig as kubectl reads it, and the command of each user that runs ycred.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::base::clock::{Timestamp, human};
use crate::base::environment::KUBERNETES_EXEC_INFO;
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::base::shell;
use crate::commands::check::{Check, Examination, Finding};
use crate::commands::clients::client::{Use, setup_command};
use crate::commands::clients::kubectl::kubeconfig::{self, Kubeconfig};
use crate::commands::clients::kubectl::policy;
use crate::commands::clients::kubectl::stanza::{self, Method};
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::commands::clients::trial::{self, CLIENT_LIMIT, DESKTOP_PATH, Trial, TrialResult};
use crate::edit::splice::Format;
use crate::edit::target::TargetFile;
use crate::edit::tree::{NodeValue, TreeNode};
use crate::profile::ProfileRef;
use crate::session::Session;
use crate::system::fixes;

pub const CHECK: Check = Check {
    id: "kubectl",
    about: "kubeconfig users that run ycred: the stanza, the command, and its answer",
    parts: &["config", "stanza", "command", "path", "policy", "profile", "answer"],
    limit: CLIENT_LIMIT,
    needs_network: false,
    run,
};

const GROUP: &str = "client.authentication.k8s.io/";

fn run(examination: &Examination) -> Vec<Finding> {
    examination.with_session(|session| examine(examination, session))
}

fn examine(examination: &Examination, session: &Session<'_>) -> Vec<Finding> {
    let Ok(paths) = kubeconfig::paths(None, session) else { return vec![Finding::skip("there is no home directory")] };
    let (mut files, mut findings) = (Vec::new(), Vec::new());
    for path in paths {
        match read(&path) {
            Ok(Some(root)) => files.push(Kubeconfig { path, root }),
            Ok(None) => {}
            Err(finding) => findings.push(finding),
        }
    }
    let users = kubeconfig::users(&files);
    let of = |name: &str| kubeconfig::named(&files, "users", name).and_then(|(_, item)| item.member("user"));
    let mut tried: Vec<(Trial, String)> = Vec::new();
    let (mut ours, mut of_yc) = (Vec::new(), Vec::new());
    for (name, file) in &users {
        let Some(user) = of(name) else { continue };
        match stanza::method(user) {
            Ok(Method::Ycred { profile }) => {
                ours.push(name.clone());
                let user = User { name, file, node: user, profile: profile.as_deref() };
                findings.extend(user.examine(&files, &mut tried, examination, session));
            }
            Ok(Method::Other(program)) if matches!(program.as_str(), "ycred" | "kubectl-ycred") => {
                ours.push(name.clone());
                let user = User { name, file, node: user, profile: None };
                findings.push(user.bad("runs ycred, but its first argument is not `kubectl`", session, " --force"));
            }
            Ok(Method::Yc { .. }) | Err(_) => of_yc.push(name.clone()),
            Ok(_) => {}
        }
    }
    if !ours.is_empty()
        && let Some(note) = trial::ycred_path(session).and_then(|path| policy::note(&path.to_string_lossy(), session))
    {
        let (what, fix) = note.split_once("; ").map_or((note.as_str(), None), |(what, fix)| (what, Some(fix)));
        let finding = Finding::fail(what).part("policy");
        findings.push(match fix {
            Some(fix) => finding.fix(fix),
            None => finding.fix("ask the owner of that file to allow ycred"),
        });
    }
    if findings.is_empty() {
        findings.push(summary(&users, &ours, &of_yc, session));
    }
    findings
}

fn summary(users: &[(String, PathBuf)], ours: &[String], of_yc: &[String], session: &Session<'_>) -> Finding {
    let named = |finding: Finding| users.iter().fold(finding, |finding, (name, _)| finding.named(name));
    let list = |names: &[String]| names.join(", ");
    named(match (ours, of_yc) {
        ([], []) if program::find("kubectl", session).is_none() => Finding::skip("kubectl is not in PATH"),
        ([], []) => Finding::skip("no user of the kubeconfig runs ycred"),
        ([], of_yc) => Finding::skip(format!("users that run yc: {}", list(of_yc)))
            .fix(format!("{} setup kubectl --all", trial::ycred_command(session))),
        (ours, _) => Finding::ok(format!("users that run ycred: {}", list(ours))),
    })
}

/// Reads a kubeconfig as kubectl does. A missing one is left out.
fn read(path: &Path) -> Result<Option<TreeNode>, Finding> {
    let text = match TargetFile::read(path) {
        Ok(target) => target.text,
        Err(error) => return Err(Finding::of_error(&error).part("config")),
    };
    let Some(text) = text else { return Ok(None) };
    Format::Yaml.parse(&text).map(Some).map_err(|error| {
        let place = format!("{}:{}", path.display(), error.line);
        let finding = Finding::fail(format!("{place}: {}; kubectl cannot read the file", error.why)).part("config");
        finding.fix(fixes::edit(path, error.line))
    })
}

/// A user that runs ycred.
struct User<'a> {
    name: &'a str,
    file: &'a Path,
    node: &'a TreeNode,
    profile: Option<&'a str>,
}

impl User<'_> {
    fn label(&self) -> String {
        format!("user {}", self.name)
    }

    /// Returns the command that writes the stanza anew.
    fn setup(&self, session: &Session<'_>, more: &str) -> String {
        let unnamed = || session.profile(&ProfileRef::Unnamed).ok().and_then(|profile| profile.name);
        let profile = if self.profile.is_some() { None } else { unnamed() };
        let command = self.command(profile.as_deref(), session);
        let arguments = command.strip_prefix("ycred").unwrap_or(&command);
        format!("{}{arguments}{more}", trial::ycred_command(session))
    }

    /// Returns the command that sets this user up with a profile.
    fn command(&self, profile: Option<&str>, session: &Session<'_>) -> String {
        let place = Use { file: self.file.to_owned(), label: self.label(), profile: None, note: None };
        setup_command("kubectl", kubeconfig::selection(&place, session), profile)
    }

    fn bad(&self, what: &str, session: &Session<'_>, more: &str) -> Finding {
        let finding = Finding::fail(format!("{}: {what}", self.label())).part("stanza").named(self.name);
        finding.fix(self.setup(session, more))
    }

    fn examine(
        &self,
        files: &[Kubeconfig],
        tried: &mut Vec<(Trial, String)>,
        examination: &Examination,
        session: &Session<'_>,
    ) -> Vec<Finding> {
        let null = TreeNode::null();
        let exec = self.node.member("exec").unwrap_or(&null);
        let text = |key: &str| exec.member(key).and_then(TreeNode::as_scalar).unwrap_or_default();
        let named = |finding: Finding| match self.profile {
            Some(profile) => finding.named(self.name).named(profile),
            None => finding.named(self.name),
        };
        if let Some(key) = stanza::static_credential(self.node) {
            let what = format!("{}: kubectl uses `{key}` and never runs ycred", self.label());
            let fix = format!("kubectl config unset {}", shell::word(format!("users.{}.{key}", self.name)));
            return vec![named(Finding::fail(what).part("stanza").fix(fix))];
        }
        let version = text("apiVersion");
        if !matches!(version.strip_prefix(GROUP), Some("v1" | "v1beta1")) {
            let what = match version {
                "client.authentication.k8s.io/v1alpha1" => "apiVersion v1alpha1 is not supported any more",
                _ => "apiVersion is not one that kubectl supports",
            };
            return vec![self.bad(what, session, "")];
        }
        let mode = text("interactiveMode");
        if version.ends_with("/v1") && !matches!(mode, "Never" | "IfAvailable" | "Always") {
            return vec![self.bad("apiVersion v1 needs interactiveMode, so kubectl refuses the file", session, "")];
        }
        let command = text("command");
        let directory = self.file.parent().unwrap_or(Path::new("/"));
        let path = match trial::resolve(command, directory, session) {
            Ok(path) => path,
            Err(finding) => {
                let what = format!("{}: {}", self.label(), finding.what);
                let fix = finding.fix.unwrap_or_else(|| self.setup(session, ""));
                return vec![named(Finding::fail(what).part("command").fix(fix))];
            }
        };
        let mut findings = Vec::new();
        let deciding = stanza::deciding_variables(self.node, session.environment);
        if !deciding.is_empty() {
            let what = format!("{}: its env sets {}, so it may get another account", self.label(), deciding.join(", "));
            let named = self.profile.is_some();
            let choice = if named { " --force" } else { " --profile NAME --force" };
            let command = format!("{}{choice}", self.command(self.profile, session));
            findings.push(Finding::warn(what).part("stanza").named(self.name).fix(command));
        }
        if !trial::is_found_by_desktop(command) {
            let what = format!(
                "{}: programs started from a desktop do not find {command} (PATH {DESKTOP_PATH})",
                self.label()
            );
            findings.push(named(Finding::warn(what).part("path").fix(self.setup(session, ""))));
        }
        if !program::is_ycred(&path) {
            let what = format!("{}: {} is not ycred, so it was not run", self.label(), path.display());
            findings.push(named(Finding::fail(what).part("command").fix(self.setup(session, ""))));
            return findings;
        }
        if let Err(finding) = trial::profile(self.profile, &self.command(Some("NAME"), session), session) {
            let what = format!("{}: {}", self.label(), finding.what);
            findings.push(named(Finding { what, ..finding.part("profile") }));
            return findings;
        }
        findings.extend(self.run(exec, &path, version, files, tried, examination, session).map(named));
        findings
    }

    /// Runs the command as kubectl does, and as kubectl started from a desktop.
    #[expect(clippy::too_many_arguments, reason = "the parts of one call, used here only")]
    fn run(
        &self,
        exec: &TreeNode,
        path: &Path,
        version: &str,
        files: &[Kubeconfig],
        tried: &mut Vec<(Trial, String)>,
        examination: &Examination,
        session: &Session<'_>,
    ) -> Option<Finding> {
        let strings = |key: &str| exec.member(key).map(TreeNode::items).unwrap_or_default();
        let arguments: Vec<String> =
            strings("args").iter().filter_map(TreeNode::as_scalar).map(str::to_owned).collect();
        let variable = |item: &TreeNode| {
            let field = |key: &str| item.member(key).and_then(TreeNode::as_scalar).map(str::to_owned);
            Some((field("name")?, field("value").unwrap_or_default()))
        };
        let mut variables: Vec<(String, String)> = strings("env").iter().filter_map(variable).collect();
        let mut spec = json!({ "interactive": false });
        if exec.member("provideClusterInfo").and_then(TreeNode::as_scalar) == Some("true") {
            spec["cluster"] = cluster(files, self.name);
        }
        let info = json!({ "apiVersion": version, "kind": "ExecCredential", "spec": spec });
        variables.push((KUBERNETES_EXEC_INFO.to_owned(), info.to_string()));
        // Users of several clusters often run the same command.
        for search in [None, Some(DESKTOP_PATH)] {
            let trial = Trial {
                program: path.to_owned(),
                arguments: arguments.clone(),
                variables: variables.clone(),
                search,
                ..Trial::default()
            };
            let is_same = |(other, _): &&(Trial, String)| {
                other.program == trial.program
                    && other.arguments == trial.arguments
                    && other.variables == trial.variables
                    && other.search == trial.search
            };
            if tried.iter().any(|it| is_same(&it)) {
                continue;
            }
            let now = session.clock.now();
            let answer = trial::answer(&trial, examination, session, |result| credential(result, version, now))?;
            match answer {
                Ok(answer) => tried.push((trial, answer)),
                Err(error) => {
                    let where_ = if search.is_some() { " started from a desktop" } else { "" };
                    let what = format!("{}: ycred{where_} does not answer: {}", self.label(), error.reason());
                    let verdict = if search.is_some() { Finding::warn(what) } else { Finding::fail(what) };
                    let finding = verdict.part("answer");
                    return Some(match error.hint_text() {
                        Some(hint) => finding.fix(hint),
                        None => {
                            let words = public::arguments(arguments.iter().map(String::as_str)).join(" ");
                            finding.fix(format!("run it by hand: {} {words}", shell::word(path)))
                        }
                    });
                }
            }
        }
        None
    }
}

/// Reads the answer as kubectl does. Returns how long it is valid.
fn credential(result: &TrialResult, version: &str, now: Timestamp) -> Result<String> {
    let invalid = |why: &str| Error::internal(format!("the answer {why}"));
    let answer: Value = serde_json::from_str(result.stdout.expose()).map_err(|_| invalid("is not JSON"))?;
    let status = &answer["status"];
    let token = status["token"].as_str().filter(|token| !token.is_empty()).ok_or_else(|| invalid("has no token"))?;
    let _masked = Secret::new(token.to_owned());
    if answer["apiVersion"].as_str() != Some(version) {
        return Err(invalid("has another apiVersion than the kubeconfig"));
    }
    let expires = status["expirationTimestamp"].as_str().and_then(Timestamp::parse);
    match expires.map(|expires| expires.since(now)) {
        Some(left) if left > 0 => Ok(human(left)),
        Some(_) => Err(invalid("has a token that has expired")),
        None => Err(invalid("has no expiry")),
    }
}

/// Returns the cluster of the first context of a user, as kubectl passes it to a plugin.
fn cluster(files: &[Kubeconfig], user: &str) -> Value {
    let field = |node: &TreeNode, key: &str| node.member(key).and_then(TreeNode::as_scalar).map(str::to_owned);
    let contexts = files.iter().flat_map(|file| file.root.member("contexts").map(TreeNode::items).unwrap_or_default());
    let context =
        contexts.filter_map(|item| item.member("context")).find(|it| field(it, "user").as_deref() == Some(user));
    let Some(cluster) = context
        .and_then(|context| field(context, "cluster"))
        .and_then(|name| kubeconfig::named(files, "clusters", &name))
        .and_then(|(_, item)| item.member("cluster"))
    else {
        return Value::Null;
    };
    let extensions = cluster.member("extensions").map(TreeNode::items).unwrap_or_default();
    let extension =
        extensions.iter().find(|item| field(item, "name").as_deref() == Some("client.authentication.k8s.io/exec"));
    let config = extension.and_then(|item| item.member("extension")).map_or(Value::Null, to_json);
    json!({ "server": field(cluster, "server").unwrap_or_default(), "config": config })
}

fn to_json(node: &TreeNode) -> Value {
    match &node.value {
        NodeValue::Null | NodeValue::Alias(_) => Value::Null,
        NodeValue::Text(text) => text.as_str().into(),
        NodeValue::Other(text) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
        NodeValue::List(items) => items.iter().map(to_json).collect(),
        NodeValue::Map(members) => {
            let member = |(key, value): &(TreeNode, TreeNode)| Some((key.as_scalar()?.to_owned(), to_json(value)));
            Value::Object(members.iter().filter_map(member).collect())
        }
    }
}
