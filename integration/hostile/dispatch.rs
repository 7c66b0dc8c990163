//! By which names and words a hook is called: every symlink of the table with its suffixes and endings, the names that are
//! nobody's, and what becomes of an operation that a protocol does not know.

use std::os::unix::fs::symlink;

use crate::world::World;
use ycred::hooks::HOOKS as TABLE;
use ycred::hooks::protocol::Framing;

use crate::harness::machine::is_root;
use crate::harness::skip;
use crate::harness::{Call, Sandbox, YCRED};
use crate::hooks::{HOOKS, Hook};

/// The hooks that have a symlink, with it.
fn linked() -> impl Iterator<Item = (&'static Hook, &'static str)> {
    HOOKS.iter().filter_map(|hook| Some((hook, hook.symlink()?)))
}

fn ask(sandbox: &Sandbox, hook: &Hook, program: &std::path::Path) -> Call {
    // No other program of that name on this machine is to answer.
    sandbox.call(program, hook.operands()).stdin(hook.forms[0].stdin).env("PATH", sandbox.path("bin"))
}

#[test]
fn every_spelling_of_a_symlink_runs_its_hook_with_the_profile_in_the_suffix() {
    for (hook, link) in linked() {
        let world = World::new();
        world.profile("prod", "");
        world.profile("my.prod-1", "");
        world.sandbox.ycred(["token", "-p", "prod"]).run().succeeds();
        let prod = world.last_token();
        world.sandbox.ycred(["token", "-p", "my.prod-1"]).run().succeeds();
        let dotted = world.last_token();
        world.sandbox.ycred(["token"]).run().succeeds();
        let default = world.last_token();
        let asked = world.requests();
        for (name, token) in [
            (link.to_owned(), &default),
            (format!("{link}.exe"), &default),
            (format!("{link}_v1.2.3"), &default),
            (format!("{link}_v0.1.0.exe"), &default),
            (link.to_uppercase(), &default),
            (format!("{link}-prod"), &prod),
            (format!("{link}-PROD.EXE"), &prod),
            (format!("{link}-prod_v1.2.3"), &prod),
            (format!("{link}-my.prod-1"), &dotted),
        ] {
            let path = world.sandbox.link(&name);
            let run = ask(&world.sandbox, hook, &path).run().succeeds().quietly();
            hook.gave(&run, token);
        }
        // The link's path does not matter, nor does a link to the link; `YCRED_PROFILE` counts where the name says nothing.
        let far = world.sandbox.link_at(format!("work/a b/{link}"));
        hook.gave(&ask(&world.sandbox, hook, &far).run().succeeds().quietly(), &default);
        hook.gave(&ask(&world.sandbox, hook, &far).env("YCRED_PROFILE", "prod").run().succeeds().quietly(), &prod);
        let twice = world.sandbox.path("work/twice").join(link);
        std::fs::create_dir(world.sandbox.path("work/twice")).expect("a directory");
        symlink(&far, &twice).expect("a link to the link");
        hook.gave(&ask(&world.sandbox, hook, &twice).run().succeeds().quietly(), &default);
        let suffixed = world.sandbox.path("bin").join(format!("{link}-prod"));
        hook.gave(&ask(&world.sandbox, hook, &suffixed).env("YCRED_PROFILE", "my.prod-1").run().succeeds(), &prod);
        assert_eq!(world.requests(), asked, "{hook:?}: all of these are hits");
    }
}

/// A name is ours as a whole or not at all; what is not is the command line for people, as is `kubectl ycred`.
#[test]
fn every_other_program_name_runs_the_command_line_interface() {
    let world = World::new();
    let near = linked().flat_map(|(_, link)| {
        ["{}x", "x{}", "{}-", "{}_prod", "{}prod", "{}_vx", "{}.sh", "{}.exe.exe", " {}", "{}\u{e9}"]
            .map(|form| form.replace("{}", link))
    });
    let names =
        ["ycred", "ycred.exe", "YCRED", "kubectl-ycred", "kubectl-ycred-prod", "yc", "ycred-", "ycred-prod", "x"];
    for name in names.into_iter().map(str::to_owned).chain(near) {
        let link = world.sandbox.link_at(format!("work/{name}"));
        let run = world.sandbox.call(&link, ["token"]).run().succeeds().quietly();
        world.printed_a_token(&run);
        world.sandbox.call(&link, ["--version"]).run().succeeds().stdout_has("ycred 0.");
        world.sandbox.call(&link, [""; 0]).run().exits(2).stderr_has("no command is given");
        world.sandbox.call(&link, ["--help"]).run().succeeds().stdout_has("COMMAND");
    }
    assert_eq!(world.requests(), 1);
}

#[test]
fn every_subcommand_runs_its_hook_and_flags_may_precede_or_follow_it() {
    let world = World::new();
    world.sandbox.ycred(["token"]).run().succeeds();
    for hook in HOOKS.iter().filter(|hook| hook.gives_token) {
        let (words, stdin) = (hook.operands(), hook.forms[0].stdin);
        for (before, behind) in
            [(&[][..], &[][..]), (&["-p", "default"], &[]), (&[], &["--profile=default"]), (&[], &["-v"])]
        {
            if behind.iter().any(|flag| hook.own_flags.contains(flag)) {
                continue;
            }
            let all = before.iter().chain([&hook.name]).chain(words).chain(behind).copied();
            let call = world.sandbox.ycred(all).stdin(stdin).env("PATH", world.sandbox.path("bin"));
            hook.gave(&call.run().succeeds(), &world.last_token());
        }
        world
            .ycred(&[hook.name, "--nope"])
            .stdin(stdin)
            .env("PATH", world.sandbox.path("bin"))
            .run()
            .fails()
            .stderr_has("--nope");
    }
    assert_eq!(world.requests(), 1);
}

/// Cargo cannot be told a word, so a flag names the hook; with it, anything else that is a hook's is not.
#[test]
fn the_cargo_plugin_flag_selects_the_cargo_hook() {
    let world = World::new();
    let stdin = Hook::named("cargo").forms[0].stdin;
    let link = world.sandbox.link("ycred-cargo");
    for call in [
        world.ycred(&["--cargo-plugin"]),
        world.ycred(&["-p", "default", "--cargo-plugin"]),
        world.ycred(&["cargo", "--cargo-plugin"]),
        world.ycred(&["cargo"]),
        world.sandbox.call(&link, ["--cargo-plugin"]),
        world.sandbox.call(&link, [""; 0]),
    ] {
        let run = call.stdin(stdin).run().succeeds().quietly();
        assert!(run.stdout.starts_with("{\"v\":[1]}\n{\"Ok\":"), "{run}");
    }
    world
        .ycred(&["docker", "--cargo-plugin"])
        .stdin("cr.yandex")
        .run()
        .exits(1)
        .stderr_has("unknown flag --cargo-plugin");
    world.ycred(&["--cargo-plugin=x"]).run().exits(2);
    assert_eq!(world.requests(), 1);
}

/// Each protocol's own rule for what it does not know, called as its clients do.
#[test]
fn an_unknown_operation_gets_the_response_that_the_protocol_defines() {
    let world = World::new();
    let bin = world.sandbox.path("bin");
    for (hook, link) in linked() {
        let path = world.sandbox.link(link);
        let run = world.sandbox.call(&path, ["frobnicate"]).stdin("").env("PATH", &bin).run();
        let lines = run.stderr.lines().count();
        let expected = hook.unknown.as_ref().expect("a hook with a symlink says what an unknown operation is");
        assert_eq!(
            (run.status.code(), run.stdout.as_str(), lines),
            (Some(expected.code), expected.stdout, expected.lines),
            "{hook:?}\n{run}"
        );
    }
    assert_eq!(world.emulator.calls(), 0);
}

/// What a person types who takes a hook for a way to run its program.
#[test]
fn extra_arguments_after_a_hook_are_rejected_with_a_hint() {
    let world = World::new();
    // `token` is called by people, who mean a profile.
    let run = world.ycred(&["token", "prod"]).run().exits(2).stdout_is("");
    assert!(run.stderr.ends_with("a profile is named by a flag: ycred token --profile prod\n"), "{run}");
    for protocol in TABLE.iter().filter(|protocol| !protocol.ignores_unknown_operations) {
        let hook = Hook::named(protocol.name);
        // A hook without one is called by people.
        let (name, Some(way)) = (hook.name, hook.run_by) else { continue };
        let words = ["pods", "one", "more", "-v"];
        let run = world.sandbox.ycred([name].into_iter().chain(words)).run().exits(hook.usage);
        assert!(run.stderr.contains(&format!("is called by {name} itself")), "{run}");
        assert!(
            run.stderr.contains(&format!("ycred: hint: to run {name} with a token: {way} -- {name} pods one more")),
            "{run}"
        );
        assert!(!run.stdout.contains("t1."), "{run}");
    }
    let run = world.ycred(&["goauth", "build", "./..."]).run().exits(2).stdout_is("");
    assert!(
        run.stderr.contains("is called by go itself") && run.stderr.contains("ycred exec -- go build ./..."),
        "{run}"
    );
    // Nor is an operation of the hook's a command of its program's.
    for (hook, (words, says)) in HOOKS.iter().filter_map(|hook| Some((hook, hook.surplus?))) {
        let run = world.sandbox.ycred([&hook.name].into_iter().chain(words)).run();
        let run = run.exits(hook.usage).never_says("ycred exec");
        assert!(run.stderr.contains(says), "{run}");
        assert_eq!(run.stderr.contains("on standard input"), !hook.forms[0].stdin.is_empty(), "{run}");
    }
    let link = world.sandbox.link("docker-credential-ycred");
    let run = world.sandbox.call(&link, ["get", "cr.yandex"]).run().exits(1);
    assert!(run.stderr.contains("echo cr.yandex | docker-credential-ycred get"), "{run}");
    // A hook that no program calls is not called by itself.
    for (words, hint) in [
        (&["token", "json"][..], "did you mean --format json?"),
        (&["token", "for", "headers-json"], "did you mean --format headers-json?"),
        (&["token", "cr.yandex"], "a profile is named by a flag: ycred token --profile cr.yandex"),
        (&["token", "--format", "JSON"], "did you mean --format json?"),
    ] {
        let run = world.ycred(words).run().exits(2).stdout_is("");
        assert!(run.stderr.ends_with(&format!("ycred: hint: {hint}\n")) && !run.stderr.contains("called by"), "{run}");
    }
    // And what stands in for another program has no words of its own to mind.
    let run = world.ycred(&["keyring", "a", "b", "c", "d"]).env("PATH", "").run().exits(1).stdout_is("");
    assert!(run.stderr.contains("there is no other keyring in PATH to pass `a` on to"), "{run}");
    assert_eq!(world.emulator.calls(), 0);
}

/// What a hook reads no stdin for, it leaves to whoever comes next.
#[test]
fn a_hook_has_a_framing_exactly_if_it_reads_stdin() {
    use ycred::base::environment::Environment;
    use ycred::process::flags::Options;
    for protocol in TABLE {
        let hook = Hook::named(protocol.name);
        let operands: Vec<String> = hook.operands().iter().map(|word| (*word).to_owned()).collect();
        let (options, environment) = (Options::default(), Environment::default());
        let call = ycred::hooks::protocol::Call {
            operands: &operands,
            options: &options,
            environment: &environment,
            parse: ycred::cli::hook::parse_options,
        };
        assert_eq!((protocol.framing)(&call) == Framing::None, hook.forms[0].stdin.is_empty(), "{hook:?}");
    }
}

// ------------------------------------------------------------------------------------------------- another's name

/// Says how it was called, with what came on stdin.
const NEXT: &str = "#!/bin/sh\necho \"next: $*\"\n[ \"$1\" = set ] && /bin/cat\nexit 7\n";

/// A `keyring` that is ycred, and behind it in PATH what the test puts there.
struct Chain {
    world: World,
    path: String,
}

impl Chain {
    fn new(behind: &[(&str, &str)]) -> Chain {
        let world = World::new();
        world.sandbox.link("keyring");
        let mut path = world.sandbox.path("bin").display().to_string();
        for (directory, script) in behind {
            let program = world.sandbox.script(format!("{directory}/keyring"), &script.replace("YCRED", YCRED));
            path = format!("{path}:{}", program.parent().expect("its directory").display());
        }
        Chain { world, path }
    }

    fn keyring(&self, words: &[&str]) -> Call {
        let program = self.world.sandbox.path("bin/keyring");
        self.world.sandbox.call(program, words).env("PATH", &self.path)
    }
}

#[test]
fn calls_that_are_not_for_ycred_go_to_the_next_keyring_unchanged() {
    let chain = Chain::new(&[("later", NEXT)]);
    for words in [
        &["get", "https://pypi.example/simple/", "iam"][..],
        &["--mode=creds", "--output=json", "get", "https://pypi.example/simple/"],
        &["get", "https://cr.yandex/", "somebody"],
        &["get", "https://cr.yandex/"],
        &["get", "http://cr.yandex/", "iam"],
        &["-p", "/some/path", "-b", "some.backend", "get", "https://cr.yandex/", "iam"],
        &["--list-backends"],
        &["--help"],
        &["--version"],
        &["--print-completion", "bash"],
        &["del", "a", "b"],
        &["diagnose"],
        &["get", "a", "b", "c", "d"],
        &["get", "--mode=nonsense", "x"],
        &["-v"],
        &[],
    ] {
        chain.keyring(words).run().exits(7).quietly().stdout_is(&format!("next: {}\n", words.join(" ")));
    }
    chain.keyring(&["set", "a", "b"]).stdin("hunter22\n").run().exits(7).stdout_is("next: set a b\nhunter22\n");
    assert_eq!(chain.world.emulator.calls(), 0);
    // What is for us is not.
    let run = chain.keyring(&["get", "https://cr.yandex/", "iam"]).run().succeeds().quietly();
    chain.world.printed_a_token(&run);
    // Nor is it when we have none: a password of somebody else's would only be refused.
    chain.world.emulator.fault(crate::emulator::faults::Fault::refuse(403));
    chain
        .keyring(&["get", "https://cr.yandex/", "iam"])
        .env("YCRED_CACHE_DIR", chain.world.sandbox.path("caches/other"))
        .run()
        .exits(1)
        .stdout_is("");
}

#[test]
fn without_proc_a_call_is_not_passed_to_ycred_itself() {
    if !is_root() {
        return skip("only root may mount over /proc");
    }
    let chain = Chain::new(&[("later", "#!/bin/sh\nenv | sed -n 's/.*_PASSED_ON=//p'\n")]);
    let keyring = chain.world.sandbox.path("bin/keyring");
    let script = format!("mount -t tmpfs none /proc && exec {} diagnose", keyring.display());
    let call = chain.world.sandbox.call("unshare", ["--mount", "sh", "-c", &script]);
    let passed_on = chain.world.sandbox.path("later/keyring");
    call.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", chain.path))
        .run()
        .succeeds()
        .stdout_is(&format!("{}\n", passed_on.display()));
}

/// The script of the page: what ycred was told stays with ycred, whatever the rest is.
#[test]
fn ycreds_own_flags_are_not_passed_to_the_next_keyring() {
    let chain = Chain::new(&[("later", NEXT)]);
    let call = |words: &[&str]| chain.world.sandbox.call(YCRED, words).env("PATH", &chain.path);
    for words in [
        &["--list-backends"][..],
        &["-b", "some.backend", "get", "https://pypi.example/", "me"],
        &["get", "--mode=nonsense", "-p", "x"],
        &["--mode=creds", "--output=json", "get", "https://pypi.example/"],
        &["del", "a", "b"],
        &["a", "b", "c", "d", "-x"],
        &[],
    ] {
        for before in [&["keyring", "--profile", "default"][..], &["-p", "keyring", "keyring", "--no-cache"]] {
            call(&[before, words].concat()).run().exits(7).quietly().stdout_is(&format!("next: {}\n", words.join(" ")));
        }
    }
    assert_eq!(chain.world.emulator.calls(), 0);
}

#[test]
fn without_a_next_keyring_lookups_exit_1_silently_and_other_operations_report_an_error() {
    let chain = Chain::new(&[]);
    for words in [
        &["get", "https://pypi.example/simple/", "iam"][..],
        &["--mode=creds", "--output=json", "get", "https://pypi.example/simple/"],
        &["get", "https://cr.yandex/", "somebody"],
        &["get", "", ""],
    ] {
        chain.keyring(words).run().exits(1).quietly().stdout_is("");
    }
    for words in [&["set", "a", "b"][..], &["del", "a", "b"], &["diagnose"], &["--list-backends"], &["get"], &[]] {
        let run = chain.keyring(words).stdin("hunter22\n").run().exits(1).stdout_is("").never_says("hunter22");
        assert!(run.stderr.starts_with("ycred: error: ") && run.stderr.lines().count() <= 2, "{run}");
        // What makes pip complain of an old keyring.
        assert!(!run.stderr.contains("unrecognized arguments"), "{run}");
    }
}

/// Links and copies of ourselves, scripts that call us back, directories and files that are no programs: the call ends, and
/// reaches the one that is another program.
#[test]
fn calls_are_never_passed_in_a_loop() {
    let back = "#!/bin/sh\nexec 'YCRED' keyring --profile gone \"$@\"\n";
    let by_name = "#!/bin/sh\nexec keyring \"$@\"\n";
    let foreign = ["get", "https://pypi.example/simple/", "iam"];
    for behind in [&[("a", back)][..], &[("a", by_name)], &[("a", back), ("b", by_name), ("c", back)]] {
        Chain::new(behind).keyring(&foreign).run().exits(1).quietly().stdout_is("");
        let with_next: Vec<(&str, &str)> = behind.iter().copied().chain([("z", NEXT)]).collect();
        let run = Chain::new(&with_next).keyring(&foreign).run().exits(7).quietly();
        assert_eq!(run.stdout, "next: get https://pypi.example/simple/ iam\n", "{run}");
    }
    let chain = Chain::new(&[]);
    let sandbox = &chain.world.sandbox;
    sandbox.link_at("linked/keyring");
    std::fs::create_dir_all(sandbox.path("copied")).expect("a directory");
    // By another process, so that no child of ours that is just being started holds the copy open for writing.
    sandbox.call("cp", [YCRED.as_ref(), sandbox.path("copied/keyring").as_os_str()]).run().succeeds();
    std::fs::create_dir_all(sandbox.path("directory/keyring")).expect("a directory");
    sandbox.file("unexecutable/keyring", NEXT);
    symlink("/nowhere/at/all", sandbox.path("runs/keyring")).expect("a link to nowhere");
    sandbox.script("work/relative/keyring", NEXT);
    let all = ["bin", "linked", "copied", "directory", "unexecutable", "runs"];
    let all: Vec<String> = all.iter().map(|place| sandbox.path(place).display().to_string()).collect();
    let path = format!("{}:relative::.", all.join(":"));
    chain.keyring(&foreign).env("PATH", &path).run().exits(1).quietly().stdout_is("");
    chain.keyring(&foreign).env("PATH", "").run().exits(1).quietly().stdout_is("");
    let next = sandbox.script("z/keyring", NEXT);
    let path = format!("{path}:{}", next.parent().expect("its directory").display());
    chain.keyring(&foreign).env("PATH", &path).run().exits(7).quietly().stdout_has("next: get");
}
