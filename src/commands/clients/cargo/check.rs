//! `doctor`'s check of cargo: each credential provider in the user's configuration that is ycred.

use serde_json::{Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::base::error::{Error, Result};
use crate::base::hosts::{Host, HostScope};
use crate::base::secret::Secret;
use crate::commands::check::{Check, Examination, Finding};
use crate::commands::clients::cargo::config::{HOOK, PROVIDER, paths};
use crate::commands::clients::client::profile_in;
use crate::commands::clients::paste::check::{PastedCommand, conclude, without_ycred};
use crate::commands::clients::paste::{line_at, place as shown, suffix_of};
use crate::commands::clients::trial::{CLIENT_LIMIT, Trial, TrialResult};
use crate::edit::target::TargetFile;
use crate::session::Session;
use crate::system::fixes;

pub const CHECK: Check = Check {
    id: "cargo",
    about: "cargo's registries that ycred serves: the credential provider, and its answer",
    parts: &["config", "variable", "command", "hosts", "profile", "answer"],
    limit: CLIENT_LIMIT,
    needs_network: false,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    examination.with_session(|session| examine(examination, session))
}

fn examine(examination: &Examination, session: &Session<'_>) -> Vec<Finding> {
    let Some(path) = paths(session).into_iter().find(|path| path.exists()) else {
        return vec![without_ycred("cargo", &["cargo"], session)];
    };
    let text = match TargetFile::read(&path) {
        Ok(target) => target.text.unwrap_or_default(),
        Err(error) => return vec![Finding::of_error(&error).part("config")],
    };
    let root = match DeTable::parse(&text) {
        Ok(root) => root,
        Err(error) if text.contains("ycred") => {
            let line = line_at(&text, error.span().map_or(0, |span| span.start));
            let what = format!("{}:{line}: {}; cargo cannot read the file", path.display(), error.message());
            return vec![Finding::fail(what).part("config").fix(fixes::edit(&path, line))];
        }
        Err(_) => return vec![without_ycred("cargo", &["cargo"], session)],
    };
    let (mut findings, mut names) = (Vec::new(), Vec::new());
    for provider in providers(root.get_ref()) {
        let place = format!("{}:{}", path.display(), line_at(&text, provider.offset));
        findings.extend(provider.examine(place, examination, session));
        names.push(
            provider.registry.map_or_else(|| "all registries".to_owned(), |registry| shown(&registry.name).to_owned()),
        );
    }
    conclude("cargo", &["cargo"], findings, &names, session)
}

struct Registry {
    name: String,
    index: Option<String>,
}

/// A provider that is ycred.
struct Provider {
    /// `None` for all registries.
    registry: Option<Registry>,
    words: Vec<String>,
    offset: usize,
}

/// Returns the providers that are ycred.
fn providers(root: &DeTable<'_>) -> Vec<Provider> {
    let table = |name: &str| root.get(name).and_then(|table| table.get_ref().as_table());
    let aliases = table("credential-alias");
    let of = |value: &Spanned<DeValue<'_>>, registry: Option<Registry>| {
        let mut words = words(value.get_ref());
        // An alias is a single word.
        if let [name] = &words[..]
            && let Some(command) = aliases.and_then(|aliases| aliases.get(name.as_str()))
        {
            words = self::words(command.get_ref());
        }
        let is_ours = words.first().is_some_and(|program| PastedCommand::is_ours(program, HOOK));
        is_ours.then(|| Provider { registry, words, offset: value.span().start })
    };
    let mut found = Vec::new();
    for (name, registry) in table("registries").into_iter().flatten() {
        let Some(registry) = registry.get_ref().as_table() else { continue };
        let index = registry.get("index").and_then(|index| index.get_ref().as_str()).map(str::to_owned);
        let named = Registry { name: name.get_ref().to_string(), index };
        found.extend(registry.get(PROVIDER).and_then(|value| of(value, Some(named))));
    }
    let all = table("registry").and_then(|table| table.get("global-credential-providers")?.get_ref().as_array());
    found.extend(all.into_iter().flatten().filter_map(|value| of(value, None)));
    found
}

/// Returns the words of a command: a list, or a string that cargo splits at blanks.
fn words(value: &DeValue<'_>) -> Vec<String> {
    match value {
        DeValue::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        DeValue::Array(items) => items.iter().filter_map(|item| item.get_ref().as_str()).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

impl Provider {
    fn examine(&self, place: String, examination: &Examination, session: &Session<'_>) -> Option<Finding> {
        let (program, arguments) = self.words.split_first()?;
        let index = self.registry.as_ref().and_then(|registry| registry.index.as_deref());
        if let Some(registry) = self.registry.as_ref().filter(|registry| shown(&registry.name) == registry.name) {
            let variable = variable(&registry.name);
            let words: Option<Vec<String>> = session
                .environment
                .get(&variable)
                .map(|value| value.to_string_lossy().split_whitespace().map(str::to_owned).collect());
            if words.is_some_and(|words| !words.first().is_some_and(|word| PastedCommand::is_ours(word, HOOK))) {
                let what = format!("{variable} is set without ycred, and cargo prefers it to {place}");
                let finding = Finding::fail(what).part("variable").fix(fixes::unset(&[&variable]));
                return Some(finding.named(&registry.name));
            }
        }
        let host = index.map(|index| index.strip_prefix("sparse+").unwrap_or(index)).and_then(Host::parse);
        let command = PastedCommand {
            client: "cargo",
            place,
            profile: suffix_of(program, HOOK).or_else(|| profile_in(&self.words.join(" "))),
            program: program.clone(),
            host: host.map(|host| (host, HostScope::Registries)),
        };
        let trial = index.map(|index| {
            let request = json!({
                "v": 1,
                "registry": { "index-url": index },
                "kind": "get",
                "operation": "read",
                "args": arguments,
            });
            let stdin = format!("{request}\n");
            Trial { arguments: vec!["--cargo-plugin".to_owned()], stdin, ..Trial::default() }
        });
        command.examine(|_| trial, token, examination, session)
    }
}

/// Returns the variable that cargo prefers to the provider in the file.
fn variable(registry: &str) -> String {
    format!("CARGO_REGISTRIES_{}_CREDENTIAL_PROVIDER", registry.to_ascii_uppercase().replace('-', "_"))
}

/// Reads the last message of the conversation.
fn token(result: &TrialResult) -> Result<()> {
    let last = result.stdout.expose().lines().last().unwrap_or_default();
    let answer: Value = serde_json::from_str(last).unwrap_or_default();
    if let Some(secret) = answer["Ok"]["token"].as_str().and_then(|token| token.strip_prefix("Bearer ")) {
        let _masked = Secret::new(secret.to_owned());
        return Ok(());
    }
    let error = &answer["Err"];
    let Some(message) = error["message"].as_str() else {
        return Err(Error::internal(match error["kind"].as_str() {
            Some("url-not-supported") => "it does not serve this registry",
            _ => "the answer has no token",
        }));
    };
    let refused = Error::refused(message);
    Err(match error["caused-by"][0].as_str() {
        Some(hint) => refused.hint(hint),
        None => refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_read_with_their_registries_and_aliases() {
        let text = "[registries.a-b]\nindex = \"sparse+https://r.example/\"\ncredential-provider = [\"/x/ycred\", \"-p\", \"p\"]\n\
                    [registries.other]\ncredential-provider = \"cargo:token\"\n\
                    [registries.mine]\ncredential-provider = \"yandex\"\n\
                    [credential-alias]\nyandex = \"ycred-cargo-q --x\"\n\
                    [registry]\nglobal-credential-providers = [\"cargo:token\", \"ycred --profile r\"]\n";
        let root = DeTable::parse(text).expect("TOML");
        let found: Vec<(Option<String>, String, usize)> = providers(root.get_ref())
            .into_iter()
            .map(|provider| {
                let line = line_at(text, provider.offset);
                (provider.registry.map(|registry| registry.name), provider.words.join("|"), line)
            })
            .collect();
        let expected = |name: Option<&str>, words: &str, line| (name.map(str::to_owned), words.to_owned(), line);
        assert_eq!(
            found,
            [
                expected(Some("a-b"), "/x/ycred|-p|p", 3),
                expected(Some("mine"), "ycred-cargo-q|--x", 7),
                expected(None, "ycred|--profile|r", 11),
            ]
        );
        assert_eq!(variable("a-b"), "CARGO_REGISTRIES_A_B_CREDENTIAL_PROVIDER");
    }
}
