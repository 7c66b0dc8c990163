//! The output of `explain`: TOML with comments, and JSON (docs/explain.md).

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::base::error::clean;
use crate::base::hosts::{Host, HostReason};
use crate::commands::explain::keys::{ExplainedKey, KeyOrigin, KeyValue};
use crate::commands::explain::model::{Explanation, HostVerdict};
use crate::commands::explain::selection::CandidateState;
use crate::profile::{Profile, text as toml};
use crate::session::host::HostDecision;

/// Returns the text: the keys as TOML, and comments about the rest.
pub fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    let comment = |text: &mut String, what: &str| {
        let _ = writeln!(text, "# {}", clean(what));
    };
    match &explanation.loaded {
        Ok(profile) => comment(&mut text, &format!("{profile}{}", file_of(profile))),
        Err(error) => {
            comment(&mut text, &format!("cannot be used: {}", error.reason()));
            if let Some(hint) = error.hint_text() {
                comment(&mut text, &format!("to fix it: {hint}"));
            }
        }
    }
    for key in &explanation.keys {
        text.push_str(&key_line(key));
    }
    if let Some(error) = explanation.facts.as_ref().and_then(|(facts, _)| facts.error.as_ref()) {
        comment(&mut text, &format!("problem: {}", error.reason()));
        if let Some(hint) = error.hint_text() {
            comment(&mut text, &format!("to fix it: {hint}"));
        }
    }
    text.push_str("#\n# looked at, in this order:\n");
    for candidate in &explanation.candidates {
        let state = match candidate.state {
            CandidateState::Absent => "nothing",
            CandidateState::Used => "used",
            CandidateState::Failed => "there, but cannot be used",
            CandidateState::NotUsed => "there, not used",
            CandidateState::Expired => "not used: that token has expired",
        };
        comment(&mut text, &format!("  {}: {state}", candidate.what));
    }
    for (url, proxy) in &explanation.proxies {
        let proxy = proxy.as_ref().map_or_else(|error| format!("error: {}", error.reason()), ToString::to_string);
        comment(&mut text, &format!("requests to {url}: {proxy}"));
    }
    match &explanation.roots {
        Some(Ok(roots)) => comment(&mut text, &format!("trusted certificates: {roots}")),
        Some(Err(error)) => comment(&mut text, &format!("trusted certificates: error: {}", error.reason())),
        None => {}
    }
    if let Some((facts, next)) = &explanation.facts {
        let record = match &facts.record {
            Ok(path) => path.display().to_string(),
            Err(why) => format!("none, because {why}"),
        };
        comment(&mut text, &format!("cache record: {record}"));
        comment(&mut text, &format!("the next call {}", next.describe(facts.token.as_ref().map(|token| token.left))));
    }
    if let Some(verdict) = &explanation.host {
        comment(&mut text, &format!("host {}: {}", verdict.typed, host_line(verdict, explanation)));
    }
    text
}

fn file_of(profile: &Profile) -> String {
    profile.settings.file.as_ref().map(|file| format!(" from {}", file.display())).unwrap_or_default()
}

/// Returns the line of a key. Without a value it is a comment, so that the whole text is TOML.
fn key_line(key: &ExplainedKey) -> String {
    let origin = match &key.origin {
        KeyOrigin::Line(file, line) => format!("{file}:{line}"),
        KeyOrigin::Variable(name) => format!("variable {name}"),
        KeyOrigin::Flag(flag) => (*flag).to_owned(),
        KeyOrigin::Default => "default".to_owned(),
        KeyOrigin::NotSet => "not set".to_owned(),
    };
    let about = match &key.note {
        Some(note) => format!("{origin}; {note}"),
        None => origin,
    };
    let mut line = String::new();
    match &key.value {
        Some(KeyValue::Text(value)) => toml::setting(&mut line, &key.name, &[clean(value)], false),
        Some(KeyValue::List(values)) => {
            let values: Vec<String> = values.iter().map(|value| clean(value)).collect();
            toml::setting(&mut line, &key.name, &values, true);
        }
        Some(KeyValue::NotShown) => return format!("# {} is set ({})\n", key.name, clean(&about)),
        None => return format!("# {} ({})\n", key.name, clean(&about)),
    }
    format!("{:48} # {}\n", line.trim_end(), clean(&about))
}

fn host_line(verdict: &HostVerdict, explanation: &Explanation) -> String {
    if verdict.host.is_none() {
        return "no: not a host that a client may ask for (a user name, a trailing dot, or an unknown scheme)".into();
    }
    let released: Vec<&str> =
        verdict.hooks.iter().filter(|(_, it)| is_released(*it)).map(|(hook, _)| hook.name).collect();
    let only = if released.len() < verdict.hooks.len() && !released.is_empty() {
        format!(", for {} only", released.join(" and "))
    } else {
        String::new()
    };
    format!("{}{only}", why(verdict, explanation))
}

/// Hosts of others that people pull from. None of them accepts a token of the cloud.
const PUBLIC_REGISTRIES: [&str; 12] = [
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "hub.docker.com",
    "ghcr.io",
    "quay.io",
    "gcr.io",
    "registry.k8s.io",
    "mcr.microsoft.com",
    "public.ecr.aws",
    "github.com",
    "gitlab.com",
];

fn is_public_registry(host: &Host) -> bool {
    PUBLIC_REGISTRIES.contains(&host.name.as_str())
}

fn is_released(decision: HostDecision) -> bool {
    matches!(decision, HostDecision::Released(_))
}

fn why(verdict: &HostVerdict, explanation: &Explanation) -> String {
    let decision = verdict.hooks.iter().map(|(_, decision)| *decision).max_by_key(|decision| is_released(*decision));
    let profile = explanation.loaded.as_ref().ok();
    let host = verdict.host.as_ref().map(ToString::to_string).unwrap_or_default();
    match decision {
        Some(HostDecision::Released(HostReason::Installation)) => "yes: a host of the cloud".into(),
        Some(HostDecision::Released(HostReason::Listed)) => "yes: in `hosts` of the profile".into(),
        Some(HostDecision::Failed) => "no: the profile cannot be used, so its clients get an error".into(),
        Some(HostDecision::Unknown) => {
            "no: the profile cannot be used, so it is unknown whether its hosts include this one".into()
        }
        Some(HostDecision::NotListed) | None => match profile.and_then(|profile| profile.settings.file.as_ref()) {
            Some(_) if verdict.host.as_ref().is_some_and(Host::is_foreign_over_http) => {
                "no: over http, only this machine itself gets a token (localhost, if `hosts` lists it)".into()
            }
            Some(_) if verdict.host.as_ref().is_some_and(is_public_registry) => {
                format!("no: not listed, and {host} accepts no token of the cloud, so there is nothing to change")
            }
            Some(_) => {
                let edit = profile.map(|profile| profile.settings.edit_for_host(&host)).unwrap_or_default();
                let near = profile.and_then(|profile| profile.hosts.near(&host));
                match near {
                    Some(near) => format!(
                        "no: not a host of the profile; did you mean {near}? If {host} is right, and you trust it with your IAM \
                         token: {edit}"
                    ),
                    None => format!("no: not in `hosts`. If you trust this host with your IAM token: {edit}"),
                }
            }
            None => "no: without a profile, only the cloud's own hosts get a token".into(),
        },
    }
}

/// Returns the JSON object.
pub fn json(explanation: &Explanation, code: u8) -> Value {
    let keys: Vec<Value> = explanation
        .keys
        .iter()
        .map(|key| {
            let value = match &key.value {
                Some(KeyValue::Text(value)) => json!(clean(value)),
                Some(KeyValue::List(values)) => json!(values.iter().map(|value| clean(value)).collect::<Vec<_>>()),
                Some(KeyValue::NotShown) | None => Value::Null,
            };
            let (kind, place) = key.origin.parts();
            json!({
                "key": clean(&key.name), "value": value, "note": key.note.as_deref().map(clean),
                "origin": { "kind": kind, "place": place.as_deref().map(clean) },
            })
        })
        .collect();
    let looked_at: Vec<Value> = explanation
        .candidates
        .iter()
        .map(|candidate| json!({ "what": clean(&candidate.what), "state": candidate.state.name() }))
        .collect();
    let proxies: Vec<Value> = explanation
        .proxies
        .iter()
        .map(|(url, proxy)| match proxy {
            Ok(proxy) => json!({
                "url": clean(url), "proxy": proxy.address().map(|address| clean(&address)), "variable": proxy.variable(),
                "error": null,
            }),
            Err(error) => json!({ "url": clean(url), "proxy": null, "variable": null, "error": error.reason() }),
        })
        .collect();
    let roots = explanation.roots.as_ref().map(|roots| match roots {
        Ok(roots) => {
            json!({ "origin": roots.origin, "count": roots.count, "from_ca_file": roots.extra, "error": null })
        }
        Err(error) => json!({ "origin": null, "count": null, "from_ca_file": null, "error": error.reason() }),
    });
    let cache = explanation.facts.as_ref().map(|(facts, next)| {
        let (file, why) = match &facts.record {
            Ok(path) => (Some(clean(&path.display().to_string())), None),
            Err(why) => (None, Some(clean(why))),
        };
        let left = facts.token.as_ref().map(|token| token.left / 1000);
        json!({ "file": file, "reason": why, "seconds_left": left, "next_call": next.name() })
    });
    let host = explanation.host.as_ref().map(|verdict| {
        let hooks: serde_json::Map<String, Value> =
            verdict.hooks.iter().map(|(hook, it)| (hook.name.to_owned(), is_released(*it).into())).collect();
        json!({
            "host": clean(&verdict.typed), "released": verdict.is_released(), "reason": clean(&host_line(verdict, explanation)),
            "hooks": hooks,
        })
    });
    let profile = explanation.loaded.as_ref().ok();
    let error = match (&explanation.loaded, &explanation.facts) {
        (Err(error), _) => Some(error),
        (Ok(_), Some((facts, _))) => facts.error.as_ref(),
        (Ok(_), None) => None,
    };
    let file =
        profile.and_then(|profile| profile.settings.file.as_ref()).map(|file| clean(&file.display().to_string()));
    json!({
        "version": 1,
        "profile": profile.and_then(|profile| profile.name.as_deref()).map(clean),
        "file": file,
        "keys": keys,
        "looked_at": looked_at,
        "proxies": proxies,
        "roots": roots,
        "cache": cache,
        "host": host,
        "error": error.map(|error| json!({ "message": error.reason(), "hint": error.hint_text() })),
        "exit_code": code,
    })
}
