//! `doctor`'s check of the kubelet of this node: its configuration of credential providers, the program, and its answer.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::base::error::Result;
use crate::base::shell;
use crate::commands::check::{Check, Examination, Finding};
use crate::commands::clients::client::profile_in;
use crate::commands::clients::kubelet::config::{DIRECTORY, DIRECTORY_FLAG, FILE, FILE_FLAG, path};
use crate::commands::clients::paste::check::without_ycred;
use crate::commands::clients::program;
use crate::commands::clients::trial::{self, CLIENT_LIMIT, DESKTOP_PATH, Trial, TrialResult};
use crate::edit::splice::Format;
use crate::edit::target::TargetFile;
use crate::edit::tree::TreeNode;
use crate::session::Session;
use crate::system::{directories, fixes, process};

pub const CHECK: Check = Check {
    id: "kubelet",
    about: "this node's kubelet: its configuration, the program, the node's profile, and its answer",
    parts: &["config", "command", "profile", "answer"],
    limit: CLIENT_LIMIT,
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    examination.with_session(|session| examine(examination, session))
}

fn examine(examination: &Examination, session: &Session<'_>) -> Vec<Finding> {
    let by_flag = path(FILE_FLAG);
    let file = by_flag.clone().unwrap_or_else(|| PathBuf::from(FILE));
    let text = match TargetFile::read(&file) {
        Ok(target) => target.text,
        Err(error) => return vec![Finding::of_error(&error).part("config")],
    };
    let Some(text) = text else {
        return vec![match by_flag {
            Some(_) if file == Path::new(FILE) => {
                let what = format!("{}: no such file, so the kubelet does not start", file.display());
                Finding::fail(what).part("config").fix("create it with the text of: ycred setup kubelet")
            }
            _ => without_ycred("kubelet", &["kubelet"], session),
        }];
    };
    let root = match Format::Yaml.parse(&text) {
        Ok(root) => root,
        Err(error) if text.contains("ycred") => {
            let what = format!("{}:{}: {}; the kubelet does not start", file.display(), error.line, error.why);
            return vec![Finding::fail(what).part("config").fix(fixes::edit(&file, error.line))];
        }
        Err(_) => return vec![without_ycred("kubelet", &["kubelet"], session)],
    };
    let directory = path(DIRECTORY_FLAG).unwrap_or_else(|| PathBuf::from(DIRECTORY));
    let providers = root.member("providers").map(TreeNode::items).unwrap_or_default();
    let providers = providers.iter().filter_map(|node| Provider::read(node, &file, &directory));
    let providers: Vec<Provider> = providers.filter(Provider::is_ours).collect();
    if providers.is_empty() {
        return vec![without_ycred("kubelet", &["kubelet"], session)];
    }
    let findings: Vec<Finding> =
        providers.iter().filter_map(|provider| provider.examine(examination, session)).collect();
    match findings.is_empty() {
        true => vec![Finding::ok(format!("{} runs ycred", file.display()))],
        false => findings,
    }
}

/// A provider of the configuration.
struct Provider {
    name: String,
    file: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    /// A registry of `matchImages` without a wildcard.
    registry: Option<String>,
    /// The kubelet sends the token of a pod, which only it has.
    needs_pod: bool,
}

impl Provider {
    fn read(node: &TreeNode, file: &Path, directory: &Path) -> Option<Self> {
        let texts = |name: &str| -> Vec<String> {
            let items = node.member(name).map(TreeNode::items).unwrap_or_default();
            items.iter().filter_map(TreeNode::as_scalar).map(str::to_owned).collect()
        };
        let name = node.member("name")?.as_text()?.to_owned();
        let variables = node.member("env").map(TreeNode::items).unwrap_or_default().iter().filter_map(|variable| {
            let part = |name: &str| variable.member(name).and_then(TreeNode::as_scalar).map(str::to_owned);
            Some((part("name")?, part("value")?))
        });
        Some(Self {
            program: directory.join(&name),
            name,
            file: file.to_owned(),
            arguments: texts("args"),
            variables: variables.collect(),
            registry: texts("matchImages").into_iter().find(|registry| !registry.contains(['*', '/'])),
            needs_pod: node.member("tokenAttributes").is_some(),
        })
    }

    /// Returns true if the provider has the name of ycred, or calls its hook.
    fn is_ours(&self) -> bool {
        self.name == "ycred" || self.name.starts_with("ycred-") || program::is_ycred(&self.program)
    }

    fn examine(&self, examination: &Examination, session: &Session<'_>) -> Option<Finding> {
        let finding = self.find_fault(examination, session)?;
        Some(Finding { what: format!("provider {}: {}", self.name, finding.what), ..finding }.named(self.name.clone()))
    }

    fn find_fault(&self, examination: &Examination, session: &Session<'_>) -> Option<Finding> {
        let path = match trial::resolve(&self.program.to_string_lossy(), Path::new("/"), session) {
            Ok(path) => path,
            Err(finding) => {
                let fix = finding.fix.clone().unwrap_or_else(|| self.install(session));
                return Some(finding.part("command").fix(fix));
            }
        };
        if !program::is_ycred(&path) {
            let what = format!("{} is not ycred, so it was not run", path.display());
            return Some(Finding::fail(what).part("command").fix(self.install(session)));
        }
        if self.arguments.first().is_none_or(|argument| argument != "kubelet") {
            let what = "its first argument is not `kubelet`";
            let fix = format!("in {}, set: args: [\"kubelet\"]", self.file.display());
            return Some(Finding::fail(what).part("config").fix(fix));
        }
        let profile = self.profile()?;
        if !profile.exists() {
            let what = format!("the node's profile {} does not exist", profile.display());
            let fix = format!("create {}, owned by root, with mode 0600", profile.display());
            return Some(Finding::fail(what).part("profile").fix(fix));
        }
        // The node's key is root's, as the kubelet is.
        if process::effective_uid() != 0 || self.needs_pod {
            return None;
        }
        let image = format!("{}/app:1", self.registry.as_ref()?);
        let request = json!({
            "kind": "CredentialProviderRequest",
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "image": image,
        });
        let trial = Trial {
            program: path,
            arguments: self.arguments.clone(),
            stdin: request.to_string(),
            variables: self.variables.clone(),
            search: Some(DESKTOP_PATH),
            is_service: true,
            ..Trial::default()
        };
        match trial::answer(&trial, examination, session, password)? {
            Ok(_) => None,
            Err(error) => {
                let what = format!("ycred does not answer for {image}: {}", error.reason());
                let by_hand = format!("check {}", profile.display());
                Some(Finding::fail(what).part("answer").fix(error.hint_text().unwrap_or(by_hand)))
            }
        }
    }

    /// Returns the profile that the kubelet's call reads: it has no home directory.
    fn profile(&self) -> Option<PathBuf> {
        let directory = Path::new(directories::SYSTEM_CONFIG?);
        let named = profile_in(&self.arguments.join(" "));
        Some(match named {
            Some(path) if path.contains(std::path::is_separator) => PathBuf::from(path),
            named => directory.join(format!("{}.toml", named.as_deref().unwrap_or("default"))),
        })
    }

    fn install(&self, session: &Session<'_>) -> String {
        let sudo = if process::effective_uid() == 0 { "" } else { "sudo " };
        let directory = self.program.parent().map(shell::word).unwrap_or_default();
        format!("{sudo}{} install {directory}", trial::ycred_command(session))
    }
}

fn password(result: &TrialResult) -> Result<()> {
    let answer: Option<Value> = serde_json::from_str(result.stdout.expose()).ok();
    let auth = answer.as_ref().and_then(|answer| answer["auth"].as_object());
    trial::hide(auth.and_then(|auth| auth.values().next()?["password"].as_str()), "password")
}
