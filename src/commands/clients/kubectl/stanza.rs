//! The `exec` stanza of a kubeconfig user: what runs there now, and what ycred puts in its place.

use std::ffi::OsStr;

use crate::base::environment::{Environment, YC_IAM_TOKEN, YC_OAUTH_TOKEN, YC_TOKEN};
use crate::base::error::{Error, Result};
use crate::commands::clients::public;
use crate::edit::render;
use crate::edit::tree::{NodeValue, TreeNode};
use crate::profile::keys;

/// What authenticates a user.
#[derive(Debug, PartialEq, Eq)]
pub enum Method {
    /// `yc k8s create-token` and the like. The profile is that of `--profile`.
    Yc {
        profile: Option<String>,
    },
    Ycred {
        profile: Option<String>,
    },
    /// Another program: its name, as it may be printed.
    Other(String),
    /// There is no `exec`, but a static credential, by its key.
    Static(String),
    Nothing,
}

/// Keys that give a user a static credential. kubectl prefers each of them to `exec`, without a message.
const STATIC: [&str; 7] =
    ["token", "tokenFile", "username", "password", "client-certificate", "client-certificate-data", "auth-provider"];

/// The flags of yc that do not change whose token it prints.
const HARMLESS_FLAGS: [&str; 4] = ["--profile", "--format", "--no-user-output", "--debug"];

/// Variables in `env` that only yc reads.
const YC_VARIABLES: [&str; 2] = ["YC_CLI_INITIALIZATION_SILENCE", "HOME"];

/// Variables in `env` that give yc another credential than its profile's.
const YC_CREDENTIALS: [&str; 3] = [YC_IAM_TOKEN, YC_TOKEN, YC_OAUTH_TOKEN];

/// Returns the key of a static credential, if the user has one.
pub fn static_credential(user: &TreeNode) -> Option<&str> {
    STATIC.into_iter().find(|key| user.member(key).is_some_and(|value| !value.is_empty()))
}

/// Determines what authenticates a user.
///
/// # Errors
/// Usage (2): it runs yc in a way that ycred cannot replace without changing the account, by the flag or variable.
pub fn method(user: &TreeNode) -> Result<Method> {
    let exec = user.member("exec").filter(|exec| !exec.is_empty());
    let Some(exec) = exec else {
        return Ok(static_credential(user).map_or(Method::Nothing, |key| Method::Static(key.to_owned())));
    };
    let command = exec.member("command").and_then(TreeNode::as_scalar).unwrap_or_default();
    let arguments: Vec<&str> =
        exec.member("args").map(TreeNode::items).unwrap_or_default().iter().filter_map(TreeNode::as_scalar).collect();
    match base_name(command) {
        "yc" => yc(exec, &arguments),
        "ycred" | "kubectl-ycred" if arguments.first() == Some(&"kubectl") => Ok(Method::Ycred { profile: profile_flag(&arguments) }),
        name @ ("sh" | "bash" | "dash" | "zsh") if arguments.iter().any(|argument| argument.contains("yc ")) => {
            Err(Error::usage(format!("runs yc inside a {name} script, which may do more than print a token"))
                .hint("replace the script in the kubeconfig by yc itself, or choose the profile: --user NAME --force --profile NAME"))
        }
        name => Ok(Method::Other(public::name_of(name).to_owned())),
    }
}

/// Returns the name of a program without directories and `.exe`.
pub fn base_name(command: &str) -> &str {
    let name = command.rsplit(['/', '\\']).next().unwrap_or_default();
    name.strip_suffix(".exe").unwrap_or(name)
}

fn yc(exec: &TreeNode, arguments: &[&str]) -> Result<Method> {
    let mut words = Vec::new();
    let mut profile = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if !argument.starts_with('-') {
            words.push(*argument);
            continue;
        }
        let (flag, value) = argument.split_once('=').map_or((*argument, None), |(flag, value)| (flag, Some(value)));
        if !HARMLESS_FLAGS.contains(&flag) {
            // A short flag can have its value in it.
            let flag = public::arguments([flag]).concat();
            let flag = if flag == public::HIDDEN { "a flag" } else { flag.as_str() };
            return Err(Error::usage(format!("runs yc with {flag}, which ycred would lose"))
                .hint("put the setting into a profile of ycred, and choose it: --profile NAME --force"));
        }
        let value = match flag {
            "--profile" | "--format" => value.or_else(|| rest.next().copied()),
            _ => None,
        };
        if flag == "--profile" {
            profile = value.map(|value| public::profile(value).to_owned());
        }
    }
    // Newer versions of yc have `k8s v0 create-token` too.
    let is_token = matches!(
        words.as_slice(),
        ["k8s" | "managed-kubernetes" | "container", "create-token" | "token"]
            | ["k8s" | "managed-kubernetes" | "container", "v0" | "v1", "create-token" | "token"]
    );
    if !is_token {
        return Ok(Method::Other(format!("yc {}", public::arguments(words).join(" "))));
    }
    if let Some(name) = variables(exec).find(|name| YC_CREDENTIALS.contains(name)) {
        return Err(Error::usage(format!("runs yc with {name}, which decides the account"))
            .hint("choose the profile for that account: --profile NAME --force"));
    }
    Ok(Method::Yc { profile })
}

fn variables(exec: &TreeNode) -> impl Iterator<Item = &str> {
    let env = exec.member("env").map(TreeNode::items).unwrap_or_default();
    env.iter().filter_map(|variable| variable.member("name").and_then(TreeNode::as_scalar))
}

/// Returns the variables in `env` that can make ycred serve another account than it would here. One with the same value as
/// here changes nothing.
pub fn deciding_variables(user: &TreeNode, environment: &Environment) -> Vec<&'static str> {
    let Some(env) = user.member("exec").and_then(|exec| exec.member("env")) else { return Vec::new() };
    let deciding = keys::deciding_variables().into_iter();
    deciding.filter(|name| env.items().iter().any(|variable| is_another(variable, name, environment))).collect()
}

/// Returns true if an item of `env` gives a variable another value than it has here.
fn is_another(variable: &TreeNode, name: &str, environment: &Environment) -> bool {
    let field = |key: &str| variable.member(key).and_then(TreeNode::as_scalar).filter(|text| !text.is_empty());
    field("name") == Some(name) && field("value").map(OsStr::new) != environment.get(name)
}

/// Returns a stanza without those variables.
pub fn without_deciding_variables(exec: &TreeNode, environment: &Environment) -> TreeNode {
    let is_kept =
        |variable: &TreeNode| !keys::deciding_variables().iter().any(|name| is_another(variable, name, environment));
    let member = |(key, value): &(TreeNode, TreeNode)| {
        let value = if key.as_scalar() == Some("env") { with_variables(value, is_kept)? } else { value.clone() };
        Some((key.clone(), value))
    };
    match &exec.value {
        NodeValue::Map(members) => {
            TreeNode { value: NodeValue::Map(members.iter().filter_map(member).collect()), ..exec.clone() }
        }
        _ => exec.clone(),
    }
}

/// Returns the home directory that `env` sets for yc.
pub fn home(user: &TreeNode) -> Option<&str> {
    let env = user.member("exec")?.member("env")?.items();
    let home = env.iter().find(|variable| variable.member("name").and_then(TreeNode::as_scalar) == Some("HOME"))?;
    home.member("value").and_then(TreeNode::as_scalar)
}

/// Returns the value of `--profile` or `-p` in ycred's arguments.
fn profile_flag(arguments: &[&str]) -> Option<String> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.split_once('=') {
            Some(("--profile" | "-p", value)) => return Some(public::profile(value).to_owned()),
            _ if matches!(*argument, "--profile" | "-p") => {
                return rest.next().map(|value| public::profile(value).to_owned());
            }
            _ => {}
        }
    }
    None
}

/// Returns ycred's stanza in place of `former`, whose order and unknown members it keeps. `is_ours` says that the former
/// one runs ycred already, so that its other settings stay.
pub fn stanza(
    former: Option<&TreeNode>,
    is_ours: bool,
    command: &str,
    profile: &str,
    is_interactive: bool,
) -> TreeNode {
    let text = |text: &str| TreeNode::text(text);
    let mode = if is_interactive { "IfAvailable" } else { "Never" };
    let mut members = vec![
        ("apiVersion", text("client.authentication.k8s.io/v1")),
        ("args", TreeNode::list(["kubectl", "--profile", profile].map(text))),
        ("command", text(command)),
        ("installHint", text(INSTALL_HINT)),
        ("interactiveMode", text(mode)),
        ("provideClusterInfo", TreeNode::other("false")),
    ];
    if is_ours {
        let has = |name: &str| former.is_some_and(|former| former.member(name).is_some_and(|value| !value.is_empty()));
        let version = former.and_then(|former| former.member("apiVersion")).and_then(TreeNode::as_scalar);
        let is_current =
            matches!(version, Some("client.authentication.k8s.io/v1" | "client.authentication.k8s.io/v1beta1"));
        let is_written = |name: &str| matches!(name, "args" | "command") || name == "apiVersion" && !is_current;
        members.retain(|(name, _)| is_written(name) || !has(name));
    }
    let mut result: Vec<(String, TreeNode)> = Vec::new();
    for (key, value) in former.map(TreeNode::members).unwrap_or_default() {
        let name = key.as_scalar().unwrap_or_default();
        match members.iter().position(|(known, _)| *known == name) {
            Some(at) => result.push((name.to_owned(), members.remove(at).1)),
            None if name == "env" && !is_ours => {
                if let Some(value) = without_variables_of_yc(value) {
                    result.push((name.to_owned(), value));
                }
            }
            None => result.push((name.to_owned(), value.clone())),
        }
    }
    result.extend(members.into_iter().map(|(name, value)| (name.to_owned(), value)));
    TreeNode::map(result)
}

/// What kubectl prints if the command is missing.
const INSTALL_HINT: &str = "install ycred again, or correct `command` of this user in the kubeconfig";

/// yc does not read what selects ycred's account, so it was not meant for this.
fn without_variables_of_yc(env: &TreeNode) -> Option<TreeNode> {
    let deciding = keys::deciding_variables();
    with_variables(env, |variable| {
        let name = variable.member("name").and_then(TreeNode::as_scalar).unwrap_or_default();
        !YC_VARIABLES.contains(&name) && !deciding.contains(&name)
    })
}

/// Returns the variables of `env` that are to be kept. Returns `None` if none of them is.
fn with_variables(env: &TreeNode, is_kept: impl Fn(&TreeNode) -> bool) -> Option<TreeNode> {
    let NodeValue::List(items) = &env.value else { return Some(env.clone()) };
    let kept: Vec<TreeNode> = items.iter().filter(|variable| is_kept(variable)).cloned().collect();
    match kept.len() {
        all if all == items.len() => Some(env.clone()),
        0 => None,
        _ => Some(TreeNode::list(kept)),
    }
}

/// Versions, modes and words that `exec` can have.
const PUBLIC_VALUES: [&str; 8] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
    "client.authentication.k8s.io/v1alpha1",
    "Never",
    "IfAvailable",
    "Always",
    "true",
    "false",
];

/// Names of variables that say nothing about their values.
const PUBLIC_VARIABLES: [&str; 9] = [
    "HOME",
    "PATH",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "YC_CLI_INITIALIZATION_SILENCE",
    "AWS_PROFILE",
    "AWS_REGION",
    "KUBECONFIG",
];

/// Returns a stanza as it may be printed, in block style: everything that is not known to be public is `…`.
pub fn masked(exec: &TreeNode) -> String {
    let hidden = || TreeNode::other(public::HIDDEN);
    let members = exec.members().iter().map(|(key, value)| {
        let scalar = value.as_scalar().unwrap_or_default();
        let masked = match (key.as_scalar().unwrap_or_default(), &value.value) {
            ("args", NodeValue::List(items)) => masked_arguments(items),
            ("env", NodeValue::List(items)) => TreeNode::list(items.iter().map(masked_variable)),
            ("command", _) => TreeNode::other(public::program(scalar)),
            ("installHint", _) if scalar == INSTALL_HINT => value.clone(),
            ("installHint", _) => hidden(),
            ("apiVersion" | "interactiveMode" | "provideClusterInfo", _) if PUBLIC_VALUES.contains(&scalar) => {
                value.clone()
            }
            ("args" | "env" | "apiVersion" | "interactiveMode" | "provideClusterInfo", NodeValue::Null) => {
                value.clone()
            }
            ("args" | "env" | "apiVersion" | "interactiveMode" | "provideClusterInfo", _) => hidden(),
            _ => return (hidden(), hidden()),
        };
        (key.clone(), masked)
    });
    let masked = TreeNode { value: NodeValue::Map(members.collect()), ..TreeNode::map::<String>([]) };
    match &exec.value {
        NodeValue::Map(_) => render::block(&masked, 0, "\n").unwrap_or_default(),
        NodeValue::Null => String::new(),
        _ => public::HIDDEN.to_owned(),
    }
}

fn masked_arguments(items: &[TreeNode]) -> TreeNode {
    // An item that is not a scalar is hidden like an unknown word.
    let shown = public::arguments(items.iter().map(|item| item.as_scalar().unwrap_or(public::HIDDEN)));
    TreeNode::list(
        shown.into_iter().map(|word| if word == public::HIDDEN { TreeNode::other(word) } else { TreeNode::text(word) }),
    )
}

fn masked_variable(variable: &TreeNode) -> TreeNode {
    let deciding = keys::deciding_variables();
    let is_public = |name: &&str| PUBLIC_VARIABLES.contains(name) || deciding.contains(name);
    let name = variable.member("name").and_then(TreeNode::as_scalar).filter(is_public);
    match name {
        Some(name) => TreeNode::map([("name", TreeNode::text(name)), ("value", TreeNode::other(public::HIDDEN))]),
        None => TreeNode::other(public::HIDDEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::yaml;

    fn read(text: &str) -> TreeNode {
        yaml::parse(text).expect("YAML")
    }

    #[test]
    fn yc_is_recognized_in_every_form() {
        let exec = |command: &str, args: &str| method(&read(&format!("exec: {{command: {command}, args: {args}}}")));
        let yc = |profile: Option<&str>| Method::Yc { profile: profile.map(str::to_owned) };
        for (command, args, expected) in [
            ("/home/u/yandex-cloud/bin/yc", "[k8s, create-token, --profile=prod]", yc(Some("prod"))),
            ("yc", "[managed-kubernetes, create-token, --profile, p2, --format, json]", yc(Some("p2"))),
            ("yc.exe", "[--profile=p, k8s, v0, create-token, --no-user-output, --debug]", yc(Some("p"))),
            ("yc", "[container, v1, token]", yc(None)),
            ("yc", "[iam, create-token]", Method::Other("yc iam create-token".into())),
            ("aws", "[eks, get-token]", Method::Other("aws".into())),
            ("/x/ycred", "[kubectl, --profile, p]", Method::Ycred { profile: Some("p".into()) }),
            ("ycred", "[kubectl]", Method::Ycred { profile: None }),
            ("ycred", "[token]", Method::Other("ycred".into())),
        ] {
            assert_eq!(exec(command, args).expect(command), expected, "{command} {args}");
        }
        for (command, args, why) in [
            ("yc", "[k8s, create-token, --impersonate-service-account-id, aje]", "--impersonate-service-account-id"),
            ("yc", "[k8s, create-token, --token=x]", "--token"),
            ("yc", "[k8s, create-token, --cluster-name=c]", "--cluster-name"),
            ("sh", "[-c, 'yc config set token x && exec yc k8s create-token']", "script"),
        ] {
            let error = exec(command, args).expect_err(why);
            assert!(error.reason().contains(why) && error.kind.exit_code() == 2, "{}", error.reason());
        }
        let with_token = "exec: {command: yc, args: [k8s, create-token], env: [{name: YC_IAM_TOKEN, value: t1.x.y}]}";
        assert!(method(&read(with_token)).expect_err("a token").reason().contains("YC_IAM_TOKEN"));
        assert_eq!(method(&read("{}")).expect("nothing"), Method::Nothing);
        assert_eq!(method(&read("exec: null\ntoken: x")).expect("a token"), Method::Static("token".into()));
    }

    #[test]
    fn the_stanza_keeps_the_order_and_the_variables_of_others() {
        let former = read(
            "apiVersion: client.authentication.k8s.io/v1beta1\ncommand: yc\nx: 1\nargs: [k8s]\nenv: [{name: HTTPS_PROXY, value: p}, {name: HOME, value: /h}]\n",
        );
        let new = stanza(Some(&former), false, "/b/ycred", "prod", false);
        let names: Vec<&str> = new.members().iter().filter_map(|(key, _)| key.as_scalar()).collect();
        assert_eq!(
            names,
            ["apiVersion", "command", "x", "args", "env", "installHint", "interactiveMode", "provideClusterInfo"]
        );
        assert_eq!(new.member("env"), Some(&read("[{name: HTTPS_PROXY, value: p}]")));
        assert_eq!(stanza(Some(&new), true, "/b/ycred", "prod", true), new, "ours stays");
        let only_yc = read("env: [{name: YC_CLI_INITIALIZATION_SILENCE, value: true}]");
        assert!(stanza(Some(&only_yc), false, "/b/ycred", "p", false).member("env").is_none());
    }

    #[test]
    fn only_what_is_known_to_be_public_is_shown() {
        for text in [
            "command: oidc\nargs: [get-token, --client-secret=s3cret, --token, s3cret, --profile=x, s3cret]\nenv:\n- name: HOME\n  value: s3cret\nother: s3cret\n",
            "command: sh\nargs: [-c, 'exec yc --token s3cret k8s create-token']\n",
            "command: sh\nargs:\n- -c\n- |\n  export AWS_SECRET_ACCESS_KEY=s3cret\n  yc k8s create-token\n",
            "command: sh -c 'PASS=s3cret yc k8s create-token'\nargs: []\n",
            "command: sh\nargs: sh -c 'PASS=s3cret yc k8s create-token'\n",
            "command: x\nargs: [-ts3cret, 'user:s3cret@h', s3cret, --header, 's3cret', 'Authorization: Bearer s3cret']\n",
            "command: x\nargs: [{command: s3cret}, [s3cret], 's3cret=1', --url=http://u:s3cret@h, --s3cret]\n",
            "command: {x: s3cret}\nother: {command: s3cret, installHint: s3cret}\ns3cret: 1\n",
            "command: x\nenv: [{name: 's3cret=1', value: 1}, s3cret, {other: s3cret}]\n",
            "apiVersion: s3cret\ninteractiveMode: s3cret\nprovideClusterInfo: s3cret\ninstallHint: s3cret\n",
            "command: yc # s3cret\nargs: [k8s, create-token, -ts3cret]\n",
            "command: yc\nargs: [k8s, create-token, --profile, 's3cret!']\n",
            "command: yc\nargs: [s3cret, create-token]\n",
            "command: yc\nargs: [k8s, create-token, --s3cret]\n",
            "s3cret",
        ] {
            let exec = read(text);
            let masked = masked(&exec);
            assert!(!masked.contains("s3cret") && (masked.contains('…') || text.contains('#')), "{masked}");
            let user = TreeNode::map([("exec", exec)]);
            let printed = match method(&user) {
                Ok(method) => format!("{method:?}"),
                Err(error) => error.render(),
            };
            assert!(!printed.contains("s3cret"), "{printed}");
        }
        let ours = stanza(None, false, "/b/ycred", "prod", false);
        let shown = masked(&ours);
        assert!(!shown.contains('…'), "{shown}");
        assert!(shown.contains("- kubectl\n- --profile\n- prod\ncommand: /b/ycred\n"), "{shown}");
    }
}
