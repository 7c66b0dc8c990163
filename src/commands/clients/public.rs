//! What may be printed of other programs' configuration. A word that is not known to be public can be a secret, so `…`
//! replaces it.

use std::path::Path;

use crate::base::shell;
use crate::profile::find;
use crate::system::programs;

/// What is printed in place of a word.
pub const HIDDEN: &str = "…";

/// Programs that other tools run for credentials, and shells.
const PROGRAMS: &[&str] = &[
    "yc",
    "ycred",
    "kubectl-ycred",
    "aws",
    "aws-iam-authenticator",
    "az",
    "gcloud",
    "gke-gcloud-auth-plugin",
    "gh",
    "glab",
    "kubelogin",
    "kubectl",
    "kubectl-oidc_login",
    "doctl",
    "oci",
    "ibmcloud",
    "linode-cli",
    "tsh",
    "vault",
    "oidc",
    "teleport",
    "sh",
    "bash",
    "dash",
    "zsh",
    "env",
    "python",
    "python3",
    "node",
    "pass",
    "op",
    "bw",
    "aws-vault",
    // Helpers of docker and git, and methods of go.
    "osxkeychain",
    "desktop",
    "secretservice",
    "wincred",
    "ecr-login",
    "gcr",
    "acr-env",
    "cache",
    "store",
    "manager",
    "manager-core",
    "libsecret",
    "oauth",
    "netrc",
    "git",
    "off",
    // Providers of pip and uv.
    "auto",
    "disabled",
    "import",
    "subprocess",
];

/// Operations of yc, ycred and well-known plugins, and values of their flags.
const WORDS: &[&str] = &[
    "k8s",
    "managed-kubernetes",
    "container",
    "v0",
    "v1",
    "create-token",
    "token",
    "iam",
    "kubectl",
    "get-token",
    "eks",
    "oidc-login",
    "git",
    "aws",
    "goauth",
    "docker",
    "terraform",
    "json",
    "yaml",
    "auth",
    "git-credential",
];

/// Flags of yc, ycred and well-known plugins.
const FLAGS: &[&str] = &[
    "--profile",
    "-p",
    "--format",
    "--no-user-output",
    "--debug",
    "--token",
    "--impersonate-service-account-id",
    "--endpoint",
    "--cloud-id",
    "--folder-id",
    "--folder-name",
    "--organization-id",
    "--federation-id",
    "--federation-endpoint",
    "--subject-id",
    "--username",
    "--userpool-id",
    "--instance-service-account",
    "--service-account-key",
    "--cluster-name",
    "--cluster-id",
    "--id",
    "--name",
    "--no-browser",
    "--retry",
    "--min-ttl",
    "--timeout",
    "--no-cache",
    "--force-refresh",
    "-v",
    "--verbose",
    "--client-id",
    "--client-secret",
    "--region",
    "--file",
    "-c",
    "-lc",
    "-ec",
    "--",
];

/// Options of AWS's files that are often there.
const OPTIONS: &[&str] = &[
    "region",
    "output",
    "endpoint_url",
    "credential_process",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "role_arn",
    "source_profile",
    "s3",
    "services",
];

/// Returns true for the name of a profile of ycred or yc.
pub fn is_profile_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    find::check_name(&name.to_ascii_lowercase()).is_ok()
        || !name.is_empty() && name.len() <= 63 && name.chars().all(is_plain)
}

/// Returns a profile as it may be printed: a name, or the path of a file.
pub fn profile(profile: &str) -> &str {
    let is_file = || {
        profile.contains(std::path::is_separator)
            && Path::new(profile).extension().is_some_and(|ending| ending == "toml")
    };
    if is_profile_name(profile) || is_file() { profile } else { HIDDEN }
}

/// Returns the name or path of a program as it may be printed: one that is known, or that exists.
pub fn program(command: &str) -> &str {
    let is_plain = |c: char| c.is_alphanumeric() || "/\\:._-+~@% ".contains(c);
    let name = command.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_known = PROGRAMS.contains(&name.strip_suffix(".exe").unwrap_or(name)) && command.chars().all(is_plain);
    let exists = || Path::new(command).is_absolute() && programs::is_program(Path::new(command));
    if is_known || exists() { command } else { HIDDEN }
}

/// Returns the name of an option as it may be printed.
pub fn word(name: &str) -> &str {
    if OPTIONS.contains(&name) { name } else { "an option" }
}

/// Returns a program's name for a sentence.
pub fn name_of(program: &str) -> &str {
    match self::program(program) {
        _ if program.is_empty() => "no program",
        HIDDEN => "another program",
        name => name,
    }
}

/// Returns the name of a helper as it may be printed.
pub fn helper(name: &str) -> &str {
    let is_ours = name.strip_prefix("ycred-").is_some_and(is_profile_name);
    if is_ours || name.is_empty() { name } else { program(name) }
}

/// Returns arguments as they may be printed.
pub fn arguments<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut former = "";
    let mut shown = Vec::new();
    for argument in arguments {
        shown.push(self::argument(argument, former));
        former = argument;
    }
    shown
}

fn argument(argument: &str, former: &str) -> String {
    let value_of = |flag: &str, value: &str| match flag {
        "--profile" | "-p" => profile(value) == value,
        "--format" => WORDS.contains(&value),
        _ => false,
    };
    let is_public = match argument.split_once('=') {
        Some((flag, value)) if value_of(flag, value) => true,
        Some((flag, _)) if FLAGS.contains(&flag) => return format!("{flag}={HIDDEN}"),
        Some(_) => false,
        None => FLAGS.contains(&argument) || WORDS.contains(&argument) || value_of(former, argument),
    };
    if is_public { argument.to_owned() } else { HIDDEN.to_owned() }
}

/// Returns a command line as it may be printed. Several hidden words in a row are one.
pub fn command(line: &str) -> String {
    let words = shell::split(line);
    let Some((first, rest)) = words.split_first() else { return String::new() };
    let mut shown = vec![shell::word(program(first))];
    if first.is_empty() || program(first) == HIDDEN {
        shown = vec![HIDDEN.to_owned()];
    }
    for word in arguments(rest.iter().map(String::as_str)) {
        if word != HIDDEN || shown.last().is_none_or(|last| last != HIDDEN) {
            shown.push(word);
        }
    }
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_words_are_printed() {
        for (line, shown) in [
            ("/b/ycred git --profile prod", "/b/ycred git --profile prod"),
            ("yc k8s create-token --profile=prod --format json", "yc k8s create-token --profile=prod --format json"),
            ("yc --token s3cret", "yc --token …"),
            ("yc --token=s3cret -ts3cret x", "yc --token=… …"),
            ("!f() { echo password=s3cret; }; f", "…"),
            ("s3cret", "…"),
            ("cache --timeout 9", "cache --timeout …"),
            ("\"/my dir/ycred\" aws --profile /x/y.toml", "\"/my dir/ycred\" aws --profile /x/y.toml"),
            ("ycred --profile s3c+ret --format s3cret", "ycred --profile … --format …"),
            ("", ""),
        ] {
            assert_eq!(command(line).replace('\'', "\""), shown, "{line}");
        }
        assert_eq!((helper("ycred-prod"), helper("yc"), helper("s3cret"), helper("")), ("ycred-prod", "yc", "…", ""));
        assert_eq!((name_of(""), name_of("s3cret"), name_of("aws")), ("no program", "another program", "aws"));
    }
}
