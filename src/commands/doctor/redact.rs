//! Replaces names, hosts, paths and ids in a report, so that people can paste it into an issue. The same text always
//! gets the same replacement.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::base::hosts::{Allowed, DEFAULT_ENDPOINT};
use crate::commands::check::Examination;
use crate::commands::clients::CLIENTS;
use crate::commands::doctor::runner::CheckResult;
use crate::profile::{Profile, ProfileRef, find};

/// Replaces texts, and remembers the replacements.
pub struct Redactor {
    /// Names that are known to be the user's, the longest first.
    names: Vec<String>,
    seen: RefCell<Vec<(Kind, String)>>,
    /// The home directory, which stands as `~` in front of common paths.
    home: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    Path,
    Host,
    Id,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Path => "path",
            Self::Host => "host",
            Self::Id => "id",
        }
    }
}

/// Paths that every machine has. They stay, because the place of a file is often the cause.
const COMMON_PATHS: [&str; 21] = [
    "/usr/bin",
    "/usr/local/bin",
    "/usr/sbin",
    "/bin",
    "/sbin",
    "/etc/ycred",
    "/opt/homebrew/bin",
    "~/.kube",
    "~/.docker",
    "~/.gitconfig",
    "~/.aws",
    "~/.terraform.d",
    "~/.local/bin",
    "~/.config/uv",
    "~/.npmrc",
    "~/.cargo",
    "~/.bazelrc",
    "/opt/ycred",
    "~/.cache/ycred",
    "~/.local/state/ycred",
    "~/AppData/Local/ycred",
];

/// Words in fixes that the user replaces.
const PLACEHOLDERS: [&str; 4] = ["HOST", "NAME", "PROFILE", "FILE"];

/// Variables whose values are names.
const NAMING: [&str; 7] = ["USER", "LOGNAME", "SUDO_USER", "HOSTNAME", "COMPUTERNAME", "YCRED_PROFILE", "HOME"];

/// Shorter names are replaced only where a name is expected, because they are also words.
const NAME_MIN: usize = 2;

/// Words and flags before a name.
const BEFORE_NAMES: [&str; 9] =
    ["profile", "user", "use", "--profile", "-p", "--user", "--context", "--name", "--host"];

impl Redactor {
    /// Collects the names of this machine.
    pub fn new(results: &[CheckResult], examination: &Examination) -> Self {
        let mut names: BTreeSet<String> = BTreeSet::new();
        names.extend(find::names(&examination.places));
        if let ProfileRef::NameOrPath { text, .. } = &examination.profile_ref {
            names.insert(text.to_string_lossy().into_owned());
        }
        let profiles = find::names(&examination.places).into_iter().filter_map(|name| {
            let named = ProfileRef::Name { by: "doctor", name };
            Profile::load(&named, &examination.environment, &examination.places, examination.clock.now()).ok()
        });
        let built_in: Vec<String> = Allowed::new(DEFAULT_ENDPOINT, &[]).singles().collect();
        for profile in profiles.chain(examination.profile().ok().cloned()) {
            names.extend(profile.hosts.singles().filter(|host| !built_in.contains(host)));
            names.extend(profile.impersonate.iter().cloned());
            names.extend(profile.secret_variables().map(str::to_owned));
            let keys = profile.source.keys.iter().filter(|key| key.name.ends_with("-file"));
            let files = keys.filter_map(|key| profile.settings.path(key.name).ok().flatten());
            names.extend(files.chain(profile.ca_file.clone()).map(|path| path.display().to_string()));
        }
        examination.with_session(|session| {
            for client in CLIENTS {
                for place in (client.uses)(session) {
                    let label = place.label.strip_prefix("user ").unwrap_or(&place.label);
                    names.insert(label.trim_start_matches("[profile ").trim_matches(['[', ']']).to_owned());
                    names.extend(place.profile);
                }
            }
        });
        let variables = NAMING.iter().filter_map(|name| examination.environment.text(name).ok().flatten());
        names.extend(variables.map(str::to_owned));
        names.extend(results.iter().flat_map(|result| &result.findings).flat_map(|finding| finding.names.clone()));
        // These occur in the texts of ycred itself.
        names.retain(|name| !name.is_empty() && !OWN_WORDS.contains(&name.as_str()) && !built_in.contains(name));
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let home = examination.places.home.as_ref().map(|home| home.display().to_string());
        Self { names, seen: RefCell::new(Vec::new()), home }
    }

    /// Returns a text with replacements such as `<path-1>`.
    pub fn redact(&self, text: &str) -> String {
        // Paths of Windows are the same without these prefixes.
        if text.contains(r"\\?\") {
            return self.redact(&text.replace(r"\\?\UNC\", r"\\").replace(r"\\?\", ""));
        }
        // What another program has printed may contain anything.
        if let Some(end) = end_of_status(text)
            && !text[end..].starts_with("<")
        {
            return format!("{}<output>", self.redact(&text[..end]));
        }
        // A name with a space has several words. The longest is the first.
        let is_phrase = |name: &&String| name.contains(|c| !is_part(c));
        let found = self.names.iter().filter(is_phrase).find_map(|name| text.split_once(name.as_str()).zip(Some(name)));
        let found = found.map(|(parts, name)| (parts, name.as_str())).or_else(|| spaced_path(text));
        if let Some(((before, after), name)) = found {
            let before = self.redact(before);
            let name = self.replace(if name.contains(is_separator) { Kind::Path } else { Kind::Name }, name);
            return format!("{before}{name}{}", self.redact(after));
        }
        let mut out = String::new();
        // The last word, and where it ended.
        let (mut at, mut before, mut before_end) = (0, "", 0);
        while at < text.len() {
            let (word, separator) = split_word(&text[at..]);
            let (end, gap) = (at + word.len(), &text[before_end..at]);
            let is_name =
                is_flag_of_name(before) && gap == " " && !word.starts_with('-') && !PLACEHOLDERS.contains(&word)
                    || self.is_short_name(word) && is_place_of_name(before, gap, separator);
            let replaced = self.word(word);
            out.push_str(&if is_name && replaced == word { self.replace(Kind::Name, word) } else { replaced });
            out.push_str(separator);
            at = end + separator.len();
            if !word.is_empty() {
                (before, before_end) = (word, end);
            }
        }
        out
    }

    fn is_short_name(&self, word: &str) -> bool {
        word.len() < NAME_MIN && self.names.iter().any(|name| name == word)
    }

    fn word(&self, word: &str) -> String {
        if word.is_empty() {
            return String::new();
        }
        // `--flag=value`, `NAME=value`
        if let Some((name, value)) = word.split_once('=')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        {
            let is_name = is_flag_of_name(name) && self.word(value) == value && !value.is_empty();
            return format!("{name}={}", if is_name { self.replace(Kind::Name, value) } else { self.word(value) });
        }
        if let Some((scheme, rest)) = word.split_once("://") {
            let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
            let host = if is_known_host(host) { host.to_owned() } else { self.replace(Kind::Host, host) };
            // The paths of the cloud's API are the same for everybody.
            let is_api = path.starts_with("iam/") || path.starts_with("oauth/") || path.starts_with("computeMetadata/");
            let path = match path {
                "" => String::new(),
                path if is_api => format!("/{path}"),
                path => format!("/{}", self.replace(Kind::Path, path)),
            };
            return format!("{scheme}://{host}{path}");
        }
        if starts_path(word) {
            // `/path/file.toml:3`
            let (path, line) = match word.rsplit_once(':') {
                Some((path, line)) if line.chars().all(|c| c.is_ascii_digit()) => (path, format!(":{line}")),
                _ => (word, String::new()),
            };
            return format!("{}{line}", self.path(path));
        }
        if word.len() >= NAME_MIN && self.names.iter().any(|name| name == word) {
            return self.replace(if word.contains('.') { Kind::Host } else { Kind::Name }, word);
        }
        if is_id(word) {
            return self.replace(Kind::Id, word);
        }
        if looks_like_host(word) && !is_known_host(word) {
            return self.replace(Kind::Host, word);
        }
        // `docker-credential-ycred-prod`
        match self.names.iter().find(|name| word.strip_suffix(name.as_str()).is_some_and(|start| start.ends_with('-')))
        {
            Some(name) => format!("{}{}", &word[..word.len() - name.len()], self.replace(Kind::Name, name)),
            None => word.to_owned(),
        }
    }

    fn path(&self, path: &str) -> String {
        // A path of Windows may have both separators.
        let is_windows = path.contains('\\') || has_drive(path);
        let normal = |path: &str| if is_windows { path.replace('\\', "/") } else { path.to_owned() };
        let (path, home) = (&*normal(path), self.home.as_deref().map(normal));
        let below_home = home.filter(|home| home.len() > 1).and_then(|home| path.strip_prefix(&*home));
        let in_home = below_home.filter(|rest| rest.starts_with('/')).map(|rest| format!("~{rest}"));
        self.common_path(in_home.as_deref().unwrap_or(path)).unwrap_or_else(|| self.replace(Kind::Path, path))
    }

    /// Redacts a path below one that every machine has. Returns `None` for any other path.
    fn common_path(&self, path: &str) -> Option<String> {
        let common = COMMON_PATHS
            .iter()
            .find(|common| path.strip_prefix(**common).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))?;
        let rest = path[common.len()..].trim_start_matches('/');
        // File names that ycred or a client has chosen reveal nothing about the user.
        let is_plain =
            ["", "ycred", "config", "config.json", "credentials", "ycred.tfrc", "plugins", "v1"].contains(&rest);
        Some(match is_plain {
            true => path.to_owned(),
            false => format!("{common}/{}", self.word_in_path(rest)),
        })
    }

    fn word_in_path(&self, rest: &str) -> String {
        match rest.contains('/') {
            true => self.replace(Kind::Path, rest),
            false => {
                let redacted = self.word(rest);
                // An unknown file name may be anything.
                if redacted == rest && !rest.contains("ycred") { self.replace(Kind::Path, rest) } else { redacted }
            }
        }
    }

    fn replace(&self, kind: Kind, text: &str) -> String {
        let mut seen = self.seen.borrow_mut();
        let number = |seen: &[(Kind, String)], until: usize| seen[..until].iter().filter(|it| it.0 == kind).count() + 1;
        let at = match seen.iter().position(|(known, other)| *known == kind && other == text) {
            Some(at) => at,
            None => {
                seen.push((kind, text.to_owned()));
                seen.len() - 1
            }
        };
        format!("<{}-{}>", kind.word(), number(&seen, at))
    }
}

/// Returns true for a flag whose value is a name.
fn is_flag_of_name(word: &str) -> bool {
    word.starts_with('-') && BEFORE_NAMES.contains(&word)
}

/// Returns true if a word is a name and not a word of a sentence: after `profile` and the like, or an entry of a list.
fn is_place_of_name(before: &str, gap: &str, after: &str) -> bool {
    let is_entry = matches!(gap, ": " | ", ") && (after.is_empty() || after.starts_with([',', ':', ';', '.']));
    is_entry || BEFORE_NAMES.contains(&before)
}

/// In a message about a failed program, returns where the exit status ends and the program's own output begins.
fn end_of_status(text: &str) -> Option<usize> {
    ["exit status: ", "exit code: ", "signal: "].iter().find_map(|label| {
        let start = text.find(label)? + label.len();
        let end = start + text[start..].find(": ")? + ": ".len();
        (end < text.len()).then_some(end)
    })
}

/// Finds a path that contains blanks and is not among the known names. Returns the text before and after it, and the path.
fn spaced_path(text: &str) -> Option<((&str, &str), &str)> {
    for at in text.char_indices().map(|(at, _)| at).filter(|at| is_rooted(&text[*at..])) {
        let is_start = text[..at].is_empty() || text[..at].ends_with([' ', '\'', '"', '(', '=']);
        if !is_start {
            continue;
        }
        let quote = text[..at].chars().next_back().filter(|c| matches!(c, '\'' | '"'));
        let clause = &text[at..];
        let limit = match quote {
            Some(quote) => clause.find(quote),
            None => [": ", "; ", ", ", " (", ")", " && ", "'", "\""].iter().filter_map(|end| clause.find(end)).min(),
        };
        let clause = &clause[..limit.unwrap_or(clause.len())];
        let mut end = 0;
        let mut place = 0;
        for word in clause.split(' ') {
            // Another path or a flag is not a part of this one.
            if place > 0 && quote.is_none() && (word.starts_with(['/', '~', '-', '<', '.']) || starts_path(word)) {
                break;
            }
            if place > 0 && (quote.is_some() || word.contains(is_separator)) && !word.contains("://") {
                end = place + word.len();
            }
            place += word.len() + 1;
        }
        if end > 0 {
            return Some(((&text[..at], &text[at + end..]), &text[at..at + end]));
        }
    }
    None
}

/// Returns true for the separators of every system: a path may be one of Windows.
fn is_separator(c: char) -> bool {
    matches!(c, '/' | '\\')
}

/// Returns true if a text begins with an absolute path, or with one below the home directory.
fn starts_path(text: &str) -> bool {
    is_rooted(text) || text.starts_with("~/") || text.starts_with("~\\")
}

fn is_rooted(text: &str) -> bool {
    text.starts_with('/') || text.starts_with(r"\\") || has_drive(text)
}

/// `C:\` or `C:/`
fn has_drive(text: &str) -> bool {
    matches!(text.as_bytes(), [drive, b':', b'/' | b'\\', ..] if drive.is_ascii_alphabetic())
        && !text[2..].starts_with("//")
}

/// Words of ycred's own texts, which may also be a profile's name.
const OWN_WORDS: [&str; 22] = [
    "default",
    "ycred",
    "yc",
    "kubectl",
    "docker",
    "git",
    "terraform",
    "aws",
    "go",
    "pip",
    "uv",
    "pnpm",
    "cargo",
    "bazel",
    "kubelet",
    "root",
    "user",
    "profile",
    "token",
    "login",
    "GOAUTH",
    "true",
];

/// Returns true for the characters of a word. Most names, paths and hosts have no others.
fn is_part(c: char) -> bool {
    c.is_alphanumeric() || "/\\._-+:@%~=$#".contains(c)
}

/// Splits the text after its first word.
fn split_word(text: &str) -> (&str, &str) {
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    // Punctuation at the end belongs to the sentence.
    let word = text[..end].trim_end_matches([':', '.']);
    let rest = &text[word.len()..];
    let next = rest.find(is_part).unwrap_or(rest.len());
    match next {
        0 => {
            let sign = rest.find(|c: char| !matches!(c, ':' | '.')).unwrap_or(rest.len());
            (word, &rest[..sign])
        }
        next => (word, &rest[..next]),
    }
}

/// Returns true for the id of a resource of the cloud: 20 letters and digits.
fn is_id(word: &str) -> bool {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let is_uuid = word.len() == 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4;
    is_uuid || (is_plain && word.len() >= 20) || (is_plain && word.starts_with("aje") && has_digit)
}

/// Returns true for `name.domain`, `name.domain:port` and addresses.
fn looks_like_host(word: &str) -> bool {
    let name = word.rsplit_once(':').map_or(word, |(name, port)| match port.parse::<u16>() {
        Ok(_) => name,
        Err(_) => word,
    });
    let labels: Vec<&str> = name.split('.').collect();
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    let is_label = |label: &&str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_domain = labels.len() >= 2
        && labels.iter().all(is_label)
        && labels.last().is_some_and(|last| last.len() >= 2 && last.bytes().all(|b| b.is_ascii_alphabetic()));
    // `config.json` is a file.
    let is_file =
        labels.last().is_some_and(|last| ["json", "toml", "yaml", "pem", "lock", "tfrc", "exec"].contains(last));
    is_address || (is_domain && !is_file)
}

/// Returns true for hosts that everybody who uses the cloud has.
fn is_known_host(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == DEFAULT_ENDPOINT
        || name.ends_with(&format!(".{DEFAULT_ENDPOINT}"))
        || ["auth.yandex.cloud", "client.authentication.k8s.io"].contains(&name)
        || Allowed::new(DEFAULT_ENDPOINT, &[]).singles().any(|known| known == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(names: &[&str]) -> Redactor {
        Redactor {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            seen: RefCell::new(Vec::new()),
            home: Some("/home/me".to_owned()),
        }
    }

    #[test]
    fn names_hosts_paths_and_ids_are_replaced_consistently() {
        let redactor = redactor(&["git.corp.example", "yc-managed-k8s-cat1", "prod"]);
        for (text, expected) in [
            (
                "profile prod (the default): authorized-key, ~/.config/ycred/prod.toml",
                "profile <name-1> (the default): authorized-key, <path-1>",
            ),
            ("user yc-managed-k8s-cat1: /home/me/bin/ycred: no such file", "user <name-2>: <path-2>: no such file"),
            ("profile /home/me/bin/ycred:3: unknown key", "profile <path-2>:3: unknown key"),
            ("docker-credential-ycred-prod is not in PATH", "docker-credential-ycred-<name-1> is not in PATH"),
            ("cr.yandex: a helper answers, git.corp.example:8443 not", "cr.yandex: a helper answers, <host-1> not"),
            ("https://10.1.2.3:8443/iam/v1/tokens: 401", "https://<host-2>/iam/v1/tokens: 401"),
            (
                "https://iam.api.cloud.yandex.net/iam/v1/tokens answers",
                "https://iam.api.cloud.yandex.net/iam/v1/tokens answers",
            ),
            (
                "service account aje1234567890abcdefg (key ajek0000000000000001).",
                "service account <id-1> (key <id-2>).",
            ),
            (
                "ycred setup kubectl --user yc-managed-k8s-cat1 --profile=prod",
                "ycred setup kubectl --user <name-2> --profile=<name-1>",
            ),
            ("~/.docker/config.json:2: x", "~/.docker/config.json:2: x"),
            ("/usr/local/bin/docker-credential-ycred", "/usr/local/bin/docker-credential-ycred"),
            ("cache: /home/me/.cache/ycred/v1 is private", "cache: ~/.cache/ycred/v1 is private"),
            ("/home/me/.local/state/ycred/v1 can be", "~/.local/state/ycred/v1 can be"),
            ("/home/me/.kube/config: x", "~/.kube/config: x"),
            ("/home/men/.kube/config: x", "<path-3>: x"),
            ("ycred setup git --host HOST", "ycred setup git --host HOST"),
            ("ycred setup git --host gitlab", "ycred setup git --host <name-3>"),
            ("12 of 34, 0.5 s; v1beta1 at 2026-11-26T10:00:00Z", "12 of 34, 0.5 s; v1beta1 at 2026-11-26T10:00:00Z"),
        ] {
            assert_eq!(redactor.redact(text), expected);
        }
    }

    #[test]
    fn what_no_list_knows_is_replaced_by_its_place() {
        let redactor = redactor(&["a", "z", "prod"]);
        for (text, expected) in [
            ("profile a: a token of 2 h", "profile <name-1>: a token of 2 h"),
            ("2 other profiles are broken: a, z", "2 other profiles are broken: <name-1>, <name-2>"),
            ("ycred use a", "ycred use <name-1>"),
            ("ycred doctor profile --profile unknown-1", "ycred doctor profile --profile <name-3>"),
            ("ycred setup kubectl --user=unknown-2 --force", "ycred setup kubectl --user=<name-4> --force"),
            ("user z: /opt/My Tools/bin x/ycred: no such file", "user <name-2>: <path-1>: no such file"),
            ("chmod 600 '/opt/My Keys'", "chmod 600 '<path-2>'"),
            ("ln -sfn /usr/bin/ycred /opt/x/y", "ln -sfn /usr/bin/ycred <path-3>"),
            (
                "script /x/s: exit status: 1: cannot open bucket-of-mine of anna",
                "script <path-4>: exit status: 1: <output>",
            ),
            ("exit status: 1, without a message on stderr", "exit status: 1, without a message on stderr"),
            ("signal: 9 (SIGKILL): secret plan", "signal: 9 (SIGKILL): <output>"),
        ] {
            assert_eq!(redactor.redact(text), expected);
        }
    }

    #[test]
    fn paths_of_windows_are_replaced() {
        let home = Some(r"C:\Users\Anna Schmidt".to_owned());
        let redactor = Redactor { home, ..redactor(&["prod", r"C:\Users\Anna Schmidt"]) };
        for (text, expected) in [
            (r"profile prod: Z:\root\r17\config\prod.toml: no such file", "profile <name-1>: <path-1>: no such file"),
            (r"Z:\root\r17\config\prod.toml:3: unknown key", "<path-1>:3: unknown key"),
            ("cannot read z:/keys/secret-project.json", "cannot read <path-2>"),
            (r#"cannot read "D:\My Keys\k.json" there"#, r#"cannot read "<path-3>" there"#),
            (r"key D:\My Keys\k2.json: is missing", "key <path-4>: is missing"),
            (r"\\server\share\alice-secret-project is slow", "<path-5> is slow"),
            (r"\\?\Z:\root\x.toml: gone", "<path-6>: gone"),
            (r"https://iam.api.cloud.yandex.net/iam/v1/tokens", "https://iam.api.cloud.yandex.net/iam/v1/tokens"),
        ] {
            let redacted = redactor.redact(text);
            for part in ["root", "r17", "alice", "secret-project", "My Keys", "Anna", "Schmidt"] {
                assert!(!redacted.contains(part), "{redacted}");
            }
            assert_eq!(redacted, expected, "{text}");
        }
        let redactor = self::redactor(&[]);
        let redactor = Redactor { home: Some(r"C:\Users\anna".to_owned()), ..redactor };
        assert_eq!(redactor.redact(r"cache: C:\Users\anna\AppData\Local\ycred\v1"), "cache: ~/AppData/Local/ycred/v1");
        assert_eq!(redactor.redact(r"C:\Users\anna\.kube/config: x"), "~/.kube/config: x");
        assert_eq!(redactor.redact(r"C:\Users\anna\.kube\other: x"), "~/.kube/<path-1>: x");
    }

    /// Names and paths at random, in the places where findings have them.
    #[test]
    fn no_name_or_path_of_the_user_is_left() {
        let mut state = 7_u64;
        let mut random = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).expect("31 bits") % bound
        };
        // No text of ycred has such letters.
        let letters: Vec<char> = "QXJZqjz".chars().collect();
        for _ in 0..3000 {
            let mut word = |least: usize| -> String {
                let length = least + random(5);
                (0..length).map(|_| letters[random(letters.len())]).collect()
            };
            let (name, other) = (word(1), word(1));
            let path = format!("/{}/{} {}/{}", word(1), word(1), word(1), word(1));
            let printed = format!("{} {}", word(3), word(3));
            let redactor = redactor(&[name.as_str(), other.as_str()]);
            for text in [
                format!("profile {name}: {path}: no such file"),
                format!("user {name}: profile {other}: {path}: is not a program"),
                format!("users that run ycred: {name}, {other}"),
                format!("ycred setup kubectl --user {name} --profile {other}"),
                format!("chmod 600 '{path}'"),
                format!("{path}: exit status: 3: {printed}"),
                format!("{path}:12: unknown key"),
                format!("docker-credential-ycred-{name} is not in PATH"),
            ] {
                let redacted = redactor.redact(&text);
                assert!(!redacted.contains(letters.as_slice()), "{text}\n{redacted}");
            }
        }
    }

    #[test]
    fn names_and_paths_with_blanks_are_replaced_as_a_whole() {
        let redactor = redactor(&["/home/J Doe/My Keys/k.json", "/home/J Doe", "my cluster"]);
        for (text, expected) in [
            ("/home/J Doe/My Keys/k.json: no such file", "<path-1>: no such file"),
            ("chmod 600 '/home/J Doe/My Keys/k.json'", "chmod 600 '<path-1>'"),
            ("user my cluster: /home/J Doe/bin/ycred", "user <name-1>: <path-2>/bin/ycred"),
        ] {
            assert_eq!(redactor.redact(text), expected);
        }
    }
}
