//! Completion of names in the real shells.

use std::path::PathBuf;

use crate::harness::{Call, Sandbox, YCRED, require_client};

/// A sandbox with ycred in PATH, its completion script, and two profiles.
fn sandbox(shell: &str) -> Option<(Sandbox, PathBuf)> {
    require_client(shell)?;
    let sandbox = Sandbox::new();
    sandbox.link("ycred");
    sandbox.profile("prod", "source = \"metadata\"\nhosts = \"git.example.com\"\n");
    sandbox.profile("staging", "this is broken");
    let script = sandbox.ycred(["completions", shell]).run().succeeds().stderr_is_empty().stdout;
    assert!(!script.contains("prod") && !script.contains("staging"), "the script is static");
    // Without the words of the marker, which no user types.
    let path = sandbox.file(format!("tmp/_ycred.{shell}"), script);
    Some((sandbox, path))
}

/// Returns the words that bash offers for this command line.
fn bash(sandbox: &Sandbox, script: &std::path::Path, line: &str) -> Vec<String> {
    let program = "compopt() { :; }; source \"$1\"; COMP_LINE=$2; read -ra COMP_WORDS <<< \"$2\"; [[ $2 == *' ' ]] && COMP_WORDS+=(''); \
                   COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
                   _ycred ycred \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    words(sandbox.call("bash", ["-c", program, "bash"]).and([script]).and([line]))
}

fn words(call: Call) -> Vec<String> {
    let run = call.run().succeeds().stderr_is_empty();
    let mut words: Vec<String> = run.stdout.split_whitespace().map(str::to_owned).collect();
    words.sort();
    words
}

/// Arguments that are names of clients or of checks.
const OF_TABLES: [(&str, &[&str]); 7] = [
    ("ycred help acc", &["accounts"]),
    ("ycred help ex", &["exec", "exit-codes", "explain"]),
    ("ycred setup ku", &["kubectl", "kubelet"]),
    ("ycred unsetup d", &["docker"]),
    ("ycred doctor l", &["links", "lock", "login"]),
    ("ycred doctor --offline clo", &["clock"]),
    ("ycred status --sh", &["--short"]),
];

#[test]
fn bash_completes_profiles_and_hosts() {
    let Some((sandbox, script)) = sandbox("bash") else { return };
    for line in ["ycred use ", "ycred refresh ", "ycred -p ", "ycred token --profile ", "ycred kubectl -p "] {
        assert_eq!(bash(&sandbox, &script, line), ["prod", "staging"], "{line}");
    }
    assert_eq!(bash(&sandbox, &script, "ycred use pro"), ["prod"]);
    assert!(bash(&sandbox, &script, "ycred use --").contains(&"--verbose".to_owned()));
    for line in ["ycred status ", "ycred explain ", "ycred rename ", "ycred remove ", "ycred setup docker -p "] {
        assert_eq!(bash(&sandbox, &script, line), ["prod", "staging"], "{line}");
    }
    for (line, expected) in OF_TABLES {
        assert_eq!(bash(&sandbox, &script, line), expected, "{line}");
    }
    for line in ["ycred token --format j", "ycred token --host x --format j"] {
        assert_eq!(bash(&sandbox, &script, line), ["json"], "{line}");
    }
    // No list has these names, and files would be wrong.
    for line in ["ycred setup kubectl --user ", "ycred setup kubectl --context ", "ycred token --timeout "] {
        assert!(bash(&sandbox, &script, line).is_empty(), "{line}");
    }
    let hosts = bash(&sandbox, &script, "ycred token --host ");
    assert!(hosts.contains(&"git.example.com".to_owned()) && hosts.contains(&"cr.yandex".to_owned()), "{hosts:?}");
    assert_eq!(bash(&sandbox, &script, "ycred init "), bash(&sandbox, &script, "ycred init "), "no names of profiles");
    assert!(!bash(&sandbox, &script, "ycred init ").contains(&"prod".to_owned()), "the profile is a new one");
}

#[test]
fn fish_completes_profiles_and_hosts() {
    let Some((sandbox, script)) = sandbox("fish") else { return };
    let complete = |line: &str| {
        let program = format!("source {}; complete -C '{line}' | string split -f 1 \\t; true", script.display());
        words(sandbox.call("fish", ["--no-config", "-c", &program]))
    };
    for line in ["ycred use ", "ycred refresh ", "ycred -p ", "ycred token --profile ", "ycred kubectl -p "] {
        assert_eq!(complete(line), ["prod", "staging"], "{line}");
    }
    assert_eq!(complete("ycred use pro"), ["prod"]);
    for (line, expected) in OF_TABLES {
        assert_eq!(complete(line), expected, "{line}");
    }
    assert!(complete("ycred token --host ").contains(&"git.example.com".to_owned()));
}

#[test]
fn zsh_completes_profiles_and_hosts() {
    let Some((sandbox, script)) = sandbox("zsh") else { return };
    // zsh completes only in a terminal, so the names come from the functions that the script gives to `compadd`.
    let directory = sandbox.path("tmp/functions");
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::copy(&script, directory.join("_ycred")).expect("the script");
    let terminal = "import ctypes, os, pty, select, sys, time\n\
        pid, master = pty.fork()\n\
        if pid == 0:\n    ctypes.CDLL(None).prctl(1, 9) # PR_SET_PDEATHSIG, SIGKILL\n    os.execvp('zsh', ['zsh', '-f'])\n\
        seen, end = b'', time.monotonic() + 20\n\
        def wait(text):\n    global seen\n    while time.monotonic() < end and text not in seen:\n        \
        if select.select([master], [], [], 0.05)[0]:\n            seen += os.read(master, 4096)\n\
        os.write(master, sys.argv[1].encode() + b'; echo rea\"\"dy\\n')\nwait(b'ready\\r\\n')\nseen = b''\n\
        os.write(master, sys.argv[2].encode() + b'\\t')\nwait(sys.argv[3].encode())\n\
        os.kill(pid, 9)\nos.waitpid(pid, 0)\nsys.stdout.write(seen.decode(errors='replace'))\n";
    let start = format!(
        "PS1='> '; fpath=({} $fpath); autoload -Uz compinit; compinit -D -u; setopt no_beep",
        directory.display()
    );
    for (line, expected) in [
        ("ycred use pro", "prod"),
        ("ycred token -p stag", "staging"),
        ("ycred refresh pro", "prod"),
        ("ycred token --host git.", "git.example.com"),
        ("ycred setup kubec", "kubectl"),
        ("ycred doctor envi", "environment"),
        ("ycred help accou", "accounts"),
        ("ycred status --sh", "--short"),
    ] {
        let call = sandbox.call("python3", ["-c", terminal, &start, line, expected]).env("TERM", "xterm");
        let run = call.run().succeeds();
        assert!(run.stdout.contains(expected), "{line}: {run}");
    }
}

#[test]
fn lists_are_silent_whatever_is_wrong() {
    let mut sandbox = Sandbox::new();
    sandbox.profile("prod", "this is broken");
    let list = |sandbox: &Sandbox, what: &str| {
        sandbox.ycred(["completions", "--list", what]).run().succeeds().stderr_is_empty()
    };
    assert_eq!(list(&sandbox, "profiles").stdout, "prod\n");
    assert!(list(&sandbox, "clients").stdout.contains("kubectl\n"));
    // Nothing is created, and no command of a profile runs.
    let marker = sandbox.path("tmp/ran");
    sandbox.profile("command", &format!("source = \"command\"\ncommand = [\"touch\", \"{}\"]\n", marker.display()));
    list(&sandbox, "hosts").stdout_has("cr.yandex\n");
    assert!(!marker.exists() && !sandbox.path("cache").exists() && !sandbox.path("state").exists());
    sandbox.set("YCRED_CONFIG_DIR", "relative");
    list(&sandbox, "profiles").stdout_is("");
    sandbox.set("YCRED_CONFIG_DIR", "/nonexistent").unset("HOME");
    list(&sandbox, "profiles").stdout_is("");
    sandbox.ycred(["completions", "--list", "nonsense"]).run().exits(2);
    sandbox.ycred(["completions"]).run().exits(2).stderr_has("use one of bash, zsh, fish");
    sandbox.ycred(["completions", "--help"]).run().succeeds().stdout_has("Usage: ycred completions <SHELL>");
    assert_ne!(YCRED, "");
}
