//! How program name and arguments select a hook: symlinks with suffixes and extensions, names that are not hooks,
//! unknown operations, and calls that go to the next `keyring` in `PATH`.

use std::os::unix::fs::symlink;

use crate::world::World;
use ycred::hooks::HOOKS as TABLE;
use ycred::hooks::protocol::Framing;

use crate::harness::machine::is_root;
use crate::harness::skip;
use crate::harness::{Call, Run, Sandbox, YCRED};
use crate::hooks::{HOOKS, Hook, HostHook, forms, with_host};

/// Returns the hooks that have a symlink, each with the name of the symlink.
fn hooks_with_symlink() -> impl Iterator<Item = (&'static Hook, &'static str)> {
    HOOKS.iter().filter_map(|hook| Some((hook, hook.symlink()?)))
}

fn ask(sandbox: &Sandbox, hook: &Hook, program: &std::path::Path) -> Call {
    // PATH has only `bin`, so that an installed program with that name is not run.
    sandbox.call(program, hook.operands()).stdin(hook.forms[0].stdin).env("PATH", sandbox.path("bin"))
}

#[test]
fn every_spelling_of_a_symlink_runs_its_hook_with_the_profile_in_the_suffix() {
    for (hook, link) in hooks_with_symlink() {
        let world = World::new();
        world.profile("prod", "");
        world.profile("my.prod-1", "");
        world.sandbox.ycred(["token", "-p", "prod"]).run().succeeds();
        let prod = world.last_token();
        world.sandbox.ycred(["token", "-p", "my.prod-1"]).run().succeeds();
        let dotted = world.last_token();
        world.sandbox.ycred(["token"]).run().succeeds();
        let default = world.last_token();
        let before = world.requests();
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
            let run = ask(&world.sandbox, hook, &path).run().succeeds().stderr_is_empty();
            hook.assert_gave_token(&run, token);
        }
        // Directories and chains of links make no difference. `YCRED_PROFILE` applies only to names without a suffix.
        let far = world.sandbox.link_at(format!("work/a b/{link}"));
        hook.assert_gave_token(&ask(&world.sandbox, hook, &far).run().succeeds().stderr_is_empty(), &default);
        hook.assert_gave_token(
            &ask(&world.sandbox, hook, &far).env("YCRED_PROFILE", "prod").run().succeeds().stderr_is_empty(),
            &prod,
        );
        let link_to_link = world.sandbox.path("work/twice").join(link);
        std::fs::create_dir(world.sandbox.path("work/twice")).expect("a directory");
        symlink(&far, &link_to_link).expect("a link to the link");
        hook.assert_gave_token(&ask(&world.sandbox, hook, &link_to_link).run().succeeds().stderr_is_empty(), &default);
        let suffixed = world.sandbox.path("bin").join(format!("{link}-prod"));
        hook.assert_gave_token(
            &ask(&world.sandbox, hook, &suffixed).env("YCRED_PROFILE", "my.prod-1").run().succeeds(),
            &prod,
        );
        assert_eq!(world.requests(), before, "{hook:?}: all of these are hits");
    }
}

/// Only a complete symlink name selects a hook. Any other name, including `kubectl-ycred`, gets the command-line
/// interface.
#[test]
fn every_other_program_name_runs_the_command_line_interface() {
    let world = World::new();
    let near_misses = hooks_with_symlink().flat_map(|(_, link)| {
        ["{}x", "x{}", "{}_prod", "{}prod", "{}_vx", "{}.sh", "{}.exe.exe", " {}", "{}\u{e9}"]
            .map(|form| form.replace("{}", link))
    });
    let names =
        ["ycred", "ycred.exe", "YCRED", "kubectl-ycred", "kubectl-ycred-prod", "yc", "ycred-", "ycred-prod", "x"];
    for name in names.into_iter().map(str::to_owned).chain(near_misses) {
        let link = world.sandbox.link_at(format!("work/{name}"));
        let run = world.sandbox.call(&link, ["token"]).run().succeeds().stderr_is_empty();
        world.token_printed_by(&run);
        world.sandbox.call(&link, ["--version"]).run().succeeds().stdout_has("ycred 0.");
        world.sandbox.call(&link, [""; 0]).run().exits(2).stderr_has("no command given");
        world.sandbox.call(&link, ["--help"]).run().succeeds().stdout_has("COMMAND");
    }
    assert_eq!(world.requests(), 1);
}

#[test]
fn every_subcommand_runs_its_hook_and_flags_may_precede_or_follow_it() {
    let world = World::new();
    world.sandbox.ycred(["token"]).run().succeeds();
    for hook in HOOKS.iter().filter(|hook| hook.returns_token) {
        let (arguments, stdin) = (hook.operands(), hook.forms[0].stdin);
        for (before, after) in
            [(&[][..], &[][..]), (&["-p", "default"], &[]), (&[], &["--profile=default"]), (&[], &["-v"])]
        {
            if after.iter().any(|flag| hook.client_flags.contains(flag)) {
                continue;
            }
            let all = before.iter().chain([&hook.name]).chain(arguments).chain(after).copied();
            let call = world.sandbox.ycred(all).stdin(stdin).env("PATH", world.sandbox.path("bin"));
            hook.assert_gave_token(&call.run().succeeds(), &world.last_token());
        }
        let call = world.ycred(&[hook.name, "--nope"]).stdin(stdin).env("PATH", world.sandbox.path("bin"));
        let run = call.run().stderr_has("--nope");
        assert_eq!(run.status.success(), (hook.failure)(1) == 0, "{run}");
    }
    assert_eq!(world.requests(), 1);
}

/// A wrapper script or a kubeconfig may put flags in front of the hook's name. The client still gets a reply in its format.
#[test]
fn an_error_before_the_hooks_name_is_reported_in_the_format_of_its_protocol() {
    let world = World::new();
    for (hook, form) in forms() {
        for flags in [
            &["--timeout", "5"][..],
            &["--timeout=0s", "-v"],
            &["-p", "default", "--min-ttl", "-1"],
            &["--nope"],
            &["--profil", "prod"],
            &["-x"],
            &["--no-cache=1"],
        ] {
            let run = form.call(&world.sandbox, flags).env("PATH", world.sandbox.path("bin")).run();
            assert_eq!(run.lines_of_stderr("ycred: error: ").len(), 1, "{}\n{run}", form.name);
            // pip takes 2 for an outdated keyring.
            let code = if hook.name == "keyring" { 1 } else { (hook.failure)(hook.usage) };
            assert_eq!(run.status.code(), Some(code), "{}\n{run}", form.name);
            assert_eq!(run.stdout, (form.refusal)(&run), "{}\n{run}", form.name);
        }
    }
    // A host that is not allowed is left to the client's other helpers.
    for client in with_host().filter(|client| client.hook.name != "keyring" && !client.host.by_people) {
        let run = call_with_an_error(client, &world, &["--timeout", "5"], "evil.example", &[]);
        let expected = (client.host.not_found)("evil.example", &run).1;
        assert!(run.stdout.ends_with(&expected), "{client:?}\n{run}");
        let allowed = call_with_an_error(client, &world, &["-x"], "cr.yandex", &[]);
        assert_ne!((allowed.status, &allowed.stdout), (run.status, &run.stdout), "{client:?}\n{allowed}");
    }
    // A command after such an error is not taken for a hook's argument.
    world.ycred(&["--timeout", "5", "env"]).run().exits(2).stdout_is("").stderr_has("--timeout: ");
    world.ycred(&["--timeout", "5", "exec", "docker", "get"]).run().exits(125).stdout_is("").stderr_has("--timeout: ");
    assert_eq!(world.emulator.calls(), 0);
}

/// Runs a hook for a host, with flags before and after its name.
fn call_with_an_error(client: HostHook, world: &World, before: &[&str], host: &str, after: &[&str]) -> Run {
    let (words, stdin) = (client.host.request)(host);
    let call = world.ycred(before).and([client.hook.name]).and(words).and(after.iter().copied());
    call.stdin(stdin).run()
}

/// The profile lists the host, so no other helper of the client has its password.
#[test]
fn an_error_in_the_flags_is_reported_for_the_hosts_of_the_profile_that_is_named() {
    let world = World::new();
    world.profile("demo", "hosts = [\"registry.example\"]\n");
    for client in with_host().filter(|client| client.hook.name != "keyring" && !client.host.by_people) {
        let is_failure = |before: &[&str], after: &[&str]| {
            let run = call_with_an_error(client, &world, before, "registry.example", after);
            let not_found = (client.host.not_found)("registry.example", &run);
            assert_eq!(run.lines_of_stderr("ycred: error: ").len(), 1, "{client:?}\n{run}");
            let is_not_found = run.stdout.ends_with(&not_found.1) && run.status.code() == Some(not_found.0);
            run.stdout == "quit=1\n" || !is_not_found
        };
        for (before, after) in [
            (&["-p", "demo", "--timeout", "x"][..], &[][..]),
            (&["--timeout", "x", "-p", "demo"], &[]),
            (&["--timeout", "x", "-pdemo"], &[]),
            (&["--timeout=x", "--profile=demo"], &[]),
            (&["--nope", "-vp=demo"], &[]),
            (&["--timeout", "x"], &["--profile", "demo"]),
            (&["--profile", "demo"], &["--min-ttl", "x"]),
        ] {
            assert!(is_failure(before, after), "{client:?} {before:?} {after:?}");
        }
        // The default profile lists no such host, and neither does one that does not exist.
        for before in [&["--timeout", "x"][..], &["-p", "gone", "--timeout", "x"]] {
            assert!(!is_failure(before, &[]), "{client:?} {before:?}");
        }
    }
    // A symlink's suffix names the profile too.
    let link = world.sandbox.link("docker-credential-ycred-demo");
    let run = world.sandbox.call(&link, ["--timeout", "x", "get"]).stdin("registry.example\n").run().exits(1);
    assert!(run.stdout.starts_with("ycred: --timeout: "), "{run}");
    let link = world.sandbox.link("git-credential-ycred-demo");
    let request = "protocol=https\nhost=registry.example\n\n";
    world.sandbox.call(&link, ["--timeout", "x", "get"]).stdin(request).run().stdout_is("quit=1\n");
    assert_eq!(world.emulator.calls(), 0);
}

/// Cargo passes a fixed flag instead of a subcommand, so `--cargo-plugin` selects the hook. Other hooks reject it.
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
        let run = call.stdin(stdin).run().succeeds().stderr_is_empty();
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

/// The hooks are called by symlink, as their clients do.
#[test]
fn an_unknown_operation_gets_the_response_that_the_protocol_defines() {
    let world = World::new();
    let bin = world.sandbox.path("bin");
    for (hook, link) in hooks_with_symlink() {
        let path = world.sandbox.link(link);
        let run = world.sandbox.call(&path, ["frobnicate"]).stdin("").env("PATH", &bin).run();
        let lines = run.stderr.lines().count();
        let expected = hook.unknown.as_ref().expect("the row of a hook with a symlink has `unknown`");
        assert_eq!(
            (run.status.code(), run.stdout.as_str(), lines),
            (Some(expected.code), expected.stdout, expected.lines),
            "{hook:?}\n{run}"
        );
    }
    assert_eq!(world.emulator.calls(), 0);
}

/// People may take a hook for a wrapper around its client. The hint tells them how to run the client with a token.
#[test]
fn extra_arguments_after_a_hook_are_rejected_with_a_hint() {
    let world = World::new();
    // `token` is for people, who probably mean a profile.
    let run = world.ycred(&["token", "prod"]).run().exits(2).stdout_is("");
    assert!(run.stderr.ends_with("to select a profile: ycred token --profile prod\n"), "{run}");
    for protocol in TABLE.iter().filter(|protocol| !protocol.ignores_unknown_operations) {
        let hook = Hook::named(protocol.name);
        // People call the hooks without `run_by` themselves.
        let (name, Some(prefix)) = (hook.name, hook.run_by) else { continue };
        let arguments = ["pods", "one", "more", "-v"];
        let run = world.sandbox.ycred([name].into_iter().chain(arguments)).run().exits(hook.usage);
        assert!(run.stderr.contains(&format!("{name} runs it by itself, as a hook")), "{run}");
        assert!(run.stderr.contains(&format!("{prefix}{name} pods one more")), "{run}");
        // `ycred exec` gives these clients nothing that they read.
        assert!(!run.stderr.contains(&format!("ycred exec -- {name}")) || prefix.contains("exec"), "{run}");
        assert!(!run.stdout.contains("t1."), "{run}");
    }
    let run = world.ycred(&["goauth", "build", "./..."]).run().exits(2).stdout_is("");
    assert!(
        run.stderr.contains("go runs it by itself, as a hook") && run.stderr.contains("then `go build ./...` as usual"),
        "{run}"
    );
    // After a known operation the hint does not suggest `ycred exec`.
    for (hook, (arguments, message)) in HOOKS.iter().filter_map(|hook| Some((hook, hook.extra_argument?))) {
        let run = world.sandbox.ycred([&hook.name].into_iter().chain(arguments)).run();
        let run = run.exits(hook.usage).never_prints("ycred exec");
        assert!(run.stderr.contains(message), "{run}");
        assert_eq!(run.stderr.contains("on standard input"), !hook.forms[0].stdin.is_empty(), "{run}");
    }
    let link = world.sandbox.link("docker-credential-ycred");
    let run = world.sandbox.call(&link, ["get", "cr.yandex"]).run().exits(1);
    assert!(run.stderr.contains("echo cr.yandex | docker-credential-ycred get"), "{run}");
    // The errors of `token`, which no client calls, do not name a client.
    for (arguments, hint) in [
        (&["token", "json"][..], "did you mean --format json?"),
        (&["token", "for", "headers-json"], "did you mean --format headers-json?"),
        (&["token", "cr.yandex"], "to select a profile: ycred token --profile cr.yandex"),
        (&["token", "--format", "JSON"], "did you mean --format json?"),
    ] {
        let run = world.ycred(arguments).run().exits(2).stdout_is("");
        assert!(
            run.stderr.ends_with(&format!("ycred: hint: {hint}\n"))
                && !run.stderr.contains("runs it by itself, as a hook"),
            "{run}"
        );
    }
    // `keyring` stands in for another program, so it accepts any arguments and passes them on.
    let run = world.ycred(&["keyring", "a", "b", "c", "d"]).env("PATH", "").run().exits(1).stdout_is("");
    assert!(run.stderr.contains("there is no other keyring in PATH to run `a`"), "{run}");
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn the_version_needs_no_argument_of_the_command() {
    let world = World::new();
    for arguments in [
        &["use", "--version"][..],
        &["remove", "--version"],
        &["rename", "old", "--version"],
        &["completions", "--version"],
        &["serve", "-V"],
        &["--version", "use"],
    ] {
        world.ycred(arguments).run().succeeds().stdout_is(concat!("ycred ", env!("CARGO_PKG_VERSION"), "\n"));
    }
    world.ycred(&["use", "--help", "--version"]).run().succeeds().stdout_has("Usage");
}

/// ycred must not consume stdin that belongs to another program, so a hook's framing matches its requests.
#[test]
fn a_hook_has_a_framing_exactly_if_it_reads_stdin() {
    use ycred::base::environment::Environment;
    use ycred::process::flags::Options;
    for protocol in TABLE {
        let hook = Hook::named(protocol.name);
        let operands: Vec<String> = hook.operands().iter().map(|operand| (*operand).to_owned()).collect();
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

// ------------------------------------------------------------------------------------------------- the next keyring

/// A keyring that prints its arguments, and for `set` its stdin, and exits with 7.
const NEXT: &str = "#!/bin/sh\necho \"next: $*\"\n[ \"$1\" = set ] && /bin/cat\nexit 7\n";

/// A PATH with ycred as the first `keyring` and the test's own programs after it.
struct KeyringPath {
    world: World,
    path: String,
}

impl KeyringPath {
    /// `next` has a directory and a script for each further `keyring`.
    fn new(next: &[(&str, &str)]) -> KeyringPath {
        let world = World::new();
        world.sandbox.link("keyring");
        let mut path = world.sandbox.path("bin").display().to_string();
        for (directory, script) in next {
            let program = world.sandbox.script(format!("{directory}/keyring"), &script.replace("YCRED", YCRED));
            path = format!("{path}:{}", program.parent().expect("its directory").display());
        }
        KeyringPath { world, path }
    }

    fn keyring(&self, arguments: &[&str]) -> Call {
        let program = self.world.sandbox.path("bin/keyring");
        self.world.sandbox.call(program, arguments).env("PATH", &self.path)
    }
}

#[test]
fn calls_that_are_not_for_ycred_go_to_the_next_keyring_unchanged() {
    let keyrings = KeyringPath::new(&[("later", NEXT)]);
    for arguments in [
        &["get", "https://pypi.example/simple/", "iam"][..],
        &["--mode=creds", "--output=json", "get", "https://pypi.example/simple/"],
        &["get", "https://cr.yandex/", "somebody"],
        &["get", "https://cr.yandex/"],
        &["get", "http://cr.yandex/", "iam"],
        &["-p", "/some/path", "-b", "some.backend", "get", "https://cr.yandex/", "iam"],
        &["--list-backends"],
        &["--help"],
        &["--print-completion", "bash"],
        &["del", "a", "b"],
        &["diagnose"],
        &["get", "a", "b", "c", "d"],
        &["get", "--mode=nonsense", "x"],
        &["-v"],
        &[],
    ] {
        keyrings
            .keyring(arguments)
            .run()
            .exits(7)
            .stderr_is_empty()
            .stdout_is(&format!("next: {}\n", arguments.join(" ")));
    }
    keyrings.keyring(&["set", "a", "b"]).stdin("hunter22\n").run().exits(7).stdout_is("next: set a b\nhunter22\n");
    assert_eq!(keyrings.world.emulator.calls(), 0);
    // ycred's own flags are not for the other program.
    let own = ["--profile", "default", "--timeout=9s", "-v", "get", "https://cr.yandex/", "somebody"];
    keyrings.keyring(&own).run().exits(7).stdout_is("next: get https://cr.yandex/ somebody\n");
    let own = ["--mode", "creds", "get", "https://pypi.example/", "--no-cache"];
    keyrings.keyring(&own).run().exits(7).stdout_is("next: --mode=creds get https://pypi.example/\n");
    // A call for ycred stays with ycred.
    keyrings.keyring(&["--version"]).run().succeeds().stdout_has("ycred ");
    let call = |profile| keyrings.keyring(&["--profile", profile, "-v", "get", "https://cr.yandex/", "iam"]).run();
    let run = call("default").succeeds().stderr_has("ycred: debug: profile default");
    keyrings.world.token_printed_by(&run);
    call("nowhere").exits(3).stdout_is("").stderr_has("nowhere");
    let run = keyrings.keyring(&["get", "https://cr.yandex/", "iam"]).run().succeeds().stderr_is_empty();
    keyrings.world.token_printed_by(&run);
    // The same if ycred has no token: the registry would reject a password from another keyring.
    keyrings.world.emulator.fault(crate::emulator::faults::Fault::refuse(403));
    keyrings
        .keyring(&["get", "https://cr.yandex/", "iam"])
        .env("YCRED_CACHE_DIR", keyrings.world.sandbox.path("caches/other"))
        .run()
        .exits(1)
        .stdout_is("");
}

#[test]
fn without_proc_a_call_is_not_passed_to_ycred_itself() {
    if !is_root() {
        return skip("only root may mount over /proc");
    }
    let keyrings = KeyringPath::new(&[("later", "#!/bin/sh\nenv | sed -n 's/.*_PASSED_ON=//p'\n")]);
    let keyring = keyrings.world.sandbox.path("bin/keyring");
    let script = format!("mount -t tmpfs none /proc && exec {} diagnose", keyring.display());
    let call = keyrings.world.sandbox.call("unshare", ["--mount", "sh", "-c", &script]);
    let next = keyrings.world.sandbox.path("later/keyring");
    call.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", keyrings.path))
        .run()
        .succeeds()
        .stdout_is(&format!("{}\n", next.display()));
}

/// The documentation has a script named `keyring` that calls `ycred keyring` with flags. These flags are for ycred
/// only.
#[test]
fn ycreds_own_flags_are_not_passed_to_the_next_keyring() {
    let keyrings = KeyringPath::new(&[("later", NEXT)]);
    let call = |arguments: &[&str]| keyrings.world.sandbox.call(YCRED, arguments).env("PATH", &keyrings.path);
    for arguments in [
        &["--list-backends"][..],
        &["-b", "some.backend", "get", "https://pypi.example/", "me"],
        &["get", "--mode=nonsense", "-p", "x"],
        &["--mode=creds", "--output=json", "get", "https://pypi.example/"],
        &["del", "a", "b"],
        &["a", "b", "c", "d", "-x"],
        &[],
    ] {
        for before in [&["keyring", "--profile", "default"][..], &["-p", "keyring", "keyring", "--no-cache"]] {
            call(&[before, arguments].concat())
                .run()
                .exits(7)
                .stderr_is_empty()
                .stdout_is(&format!("next: {}\n", arguments.join(" ")));
        }
    }
    assert_eq!(keyrings.world.emulator.calls(), 0);
}

#[test]
fn without_a_next_keyring_lookups_exit_1_silently_and_other_operations_report_an_error() {
    let keyrings = KeyringPath::new(&[]);
    for arguments in [
        &["get", "https://pypi.example/simple/", "iam"][..],
        &["--mode=creds", "--output=json", "get", "https://pypi.example/simple/"],
        &["get", "https://cr.yandex/", "somebody"],
        &["get", "", ""],
    ] {
        keyrings.keyring(arguments).run().exits(1).stderr_is_empty().stdout_is("");
    }
    for arguments in [&["set", "a", "b"][..], &["del", "a", "b"], &["diagnose"], &["--list-backends"], &["get"], &[]] {
        let run = keyrings.keyring(arguments).stdin("hunter22\n").run().exits(1).stdout_is("").never_prints("hunter22");
        assert!(run.stderr.starts_with("ycred: error: ") && run.stderr.lines().count() <= 2, "{run}");
        // From this message pip concludes that the keyring is too old.
        assert!(!run.stderr.contains("unrecognized arguments"), "{run}");
    }
}

/// Other entries of PATH may be links to ycred, copies of it, scripts that call it, directories or files that are not
/// executable. The call ends anyway, and reaches another keyring if there is one.
#[test]
fn calls_are_never_passed_in_a_loop() {
    let calls_ycred = "#!/bin/sh\nexec 'YCRED' keyring --profile gone \"$@\"\n";
    let calls_keyring = "#!/bin/sh\nexec keyring \"$@\"\n";
    let foreign = ["get", "https://pypi.example/simple/", "iam"];
    for scripts in [
        &[("a", calls_ycred)][..],
        &[("a", calls_keyring)],
        &[("a", calls_ycred), ("b", calls_keyring), ("c", calls_ycred)],
    ] {
        KeyringPath::new(scripts).keyring(&foreign).run().exits(1).stderr_is_empty().stdout_is("");
        let with_next: Vec<(&str, &str)> = scripts.iter().copied().chain([("z", NEXT)]).collect();
        let run = KeyringPath::new(&with_next).keyring(&foreign).run().exits(7).stderr_is_empty();
        assert_eq!(run.stdout, "next: get https://pypi.example/simple/ iam\n", "{run}");
    }
    let keyrings = KeyringPath::new(&[]);
    let sandbox = &keyrings.world.sandbox;
    sandbox.link_at("linked/keyring");
    std::fs::create_dir_all(sandbox.path("copied")).expect("a directory");
    // Copied by another process: a child that this process is just starting could inherit the open copy, and the kernel
    // does not run a file that is open for writing.
    sandbox.call("cp", [YCRED.as_ref(), sandbox.path("copied/keyring").as_os_str()]).run().succeeds();
    std::fs::create_dir_all(sandbox.path("directory/keyring")).expect("a directory");
    sandbox.file("unexecutable/keyring", NEXT);
    symlink("/nowhere/at/all", sandbox.path("runs/keyring")).expect("a link to nowhere");
    sandbox.script("work/relative/keyring", NEXT);
    let directories = ["bin", "linked", "copied", "directory", "unexecutable", "runs"];
    let directories: Vec<String> = directories.iter().map(|name| sandbox.path(name).display().to_string()).collect();
    let path = format!("{}:relative::.", directories.join(":"));
    keyrings.keyring(&foreign).env("PATH", &path).run().exits(1).stderr_is_empty().stdout_is("");
    keyrings.keyring(&foreign).env("PATH", "").run().exits(1).stderr_is_empty().stdout_is("");
    let next = sandbox.script("z/keyring", NEXT);
    let path = format!("{path}:{}", next.parent().expect("its directory").display());
    keyrings.keyring(&foreign).env("PATH", &path).run().exits(7).stderr_is_empty().stdout_has("next: get");
}
