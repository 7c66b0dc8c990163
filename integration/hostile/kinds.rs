//! Kinds of mistakes, each with several inputs: text as people and editors write it, values that are there but cannot be used,
//! values parsed into the wrong parts, where a value came from, defaults that cannot work, and limits of the system.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::other_user::{NOBODY, OtherUser};
use crate::expect::fails_with;
use crate::harness::files::{mode, set_mode};
use crate::harness::machine::is_root;
use crate::harness::{Call, require_client, skip};
use crate::world::World;

fn utf16(text: &str) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

#[test]
fn text_files_are_read_as_people_and_editors_write_them() {
    let world = World::new();
    let (profile, key) =
        (world.settings(), fs::read_to_string(world.sandbox.path("config/key.json")).expect("the key"));
    let forms = |text: &str| {
        vec![
            text.as_bytes().to_vec(),
            text.replace('\n', "\r\n").into_bytes(),
            text.trim_end().as_bytes().to_vec(),
            format!("\u{feff}{text}").into_bytes(),
            format!("\n\n{text}\n\n").into_bytes(),
            utf16(text),
            utf16(&text.replace('\n', "\r\n")),
        ]
    };
    for form in forms(&profile) {
        fs::write(world.sandbox.path("config/default.toml"), &form).expect("written");
        let run = world.token(&["--no-cache"]).run().succeeds().stderr_is_empty();
        world.token_printed_by(&run);
    }
    for form in forms(&key) {
        fs::write(world.sandbox.path("config/key.json"), &form).expect("written");
        let run = world.token(&["--no-cache"]).run().succeeds().stderr_is_empty();
        world.token_printed_by(&run);
    }
    let token = world.issue_token();
    world.sandbox.profile("static", "source = \"static\"\ntoken-file = \"token.txt\"\n");
    for form in forms(&format!("{token}\n")).into_iter().chain([format!("\"{token}\"\n").into_bytes()]) {
        world.sandbox.file("config/token.txt", &form);
        world.ycred(&["token", "-p", "static"]).run().succeeds().stdout_is(&format!("{token}\n"));
    }
    world.sandbox.profile("variable", "source = \"static\"\ntoken-env = \"MY_TOKEN\"\n");
    for value in [
        format!("{token}\n"),
        format!("{token}\r\n"),
        format!("\u{feff}{token}"),
        format!("'{token}'"),
        format!(" \"{token}\" "),
    ] {
        world
            .ycred(&["token", "-p", "variable"])
            .env("MY_TOKEN", value)
            .run()
            .succeeds()
            .stdout_is(&format!("{token}\n"));
    }
    // Bytes that are not text are refused with the line, and not read in part.
    world.sandbox.file("config/default.toml", [profile.as_bytes(), b"\n# caf\xe9\n"].concat());
    fails_with(world.token(&[]).run(), 3, &["default.toml:5", "not UTF-8"]);
}

#[test]
fn a_key_in_the_variable_is_read_as_shells_and_secret_stores_pass_it() {
    let world = World::without_profile(crate::emulator::Config::default());
    let key = fs::read_to_string(world.sandbox.path("config/key.json")).expect("the key");
    for value in [
        key.clone(),
        format!("'{key}'"),
        format!("\"{key}\""),
        format!("\u{feff}{key}"),
        format!("{key}\r\n"),
        serde_json::json!(key).to_string(),
        key.replace('\n', "\r\n"),
        key.split_whitespace().collect::<Vec<_>>().join(" "),
    ] {
        let body =
            key.lines().find(|line| line.contains("BEGIN PRIVATE")).expect("the private key")[120..180].to_owned();
        let call = world.token(&["--no-cache", "--timeout", "2s"]).env("YC_SERVICE_ACCOUNT_KEY_FILE", &value);
        // There is no cloud behind the default endpoint here: what counts is that the key was read.
        let run = call.env("HTTPS_PROXY", "http://127.0.0.1:1").run().exits(4).never_prints(&body);
        assert!(run.stderr.contains(&world.key.service_account_id), "{run}");
    }
    for value in ["SECRET y", "{\"id\":", "{}", "[1]", "nonesuchkeyinhere"] {
        let run = world.token(&[]).env("YC_SERVICE_ACCOUNT_KEY_FILE", value).run().exits(3);
        assert!(run.stderr.contains("YC_SERVICE_ACCOUNT_KEY_FILE"), "{run}");
        assert!(!run.stderr.contains("SECRET") && !run.stderr.contains("nonesuch"), "{run}");
    }
}

#[test]
fn what_is_there_but_cannot_be_used_is_an_error_and_no_other_identity_serves() {
    type Spoil = fn(&World);
    let cases: [(&str, Spoil); 8] = [
        ("a dangling link", |world| {
            fs::remove_file(world.sandbox.path("config/default.toml")).expect("removed");
            symlink("gone.toml", world.sandbox.path("config/default.toml")).expect("a link");
        }),
        ("a link to itself", |world| {
            fs::remove_file(world.sandbox.path("config/default.toml")).expect("removed");
            symlink("default.toml", world.sandbox.path("config/default.toml")).expect("a link");
        }),
        ("a directory", |world| {
            fs::remove_file(world.sandbox.path("config/default.toml")).expect("removed");
            fs::create_dir(world.sandbox.path("config/default.toml")).expect("a directory");
        }),
        ("no TOML", |world| drop(world.sandbox.profile("default", "source = \n"))),
        ("an empty file", |world| drop(world.sandbox.profile("default", ""))),
        ("another alias", |world| drop(world.sandbox.profile("default", "use = \"gone\"\n"))),
        ("a missing key", |world| fs::remove_file(world.sandbox.path("config/key.json")).expect("removed")),
        ("binary", |world| drop(world.sandbox.file("config/default.toml", b"\x00\xff\xfe\xfd".as_slice()))),
    ];
    for (what, spoil) in cases {
        let world = World::new();
        spoil(&world);
        let other = world.issue_token();
        let run = world.token(&[]).env("YC_IAM_TOKEN", &other).run();
        assert_eq!(run.status.code(), Some(3), "{what}\n{run}");
        assert!(!run.stdout.contains(&other) && run.stderr.starts_with("ycred: error: "), "{what}\n{run}");
        assert_eq!(world.emulator.calls(), 0, "{what}");
    }
    // Trust that cannot be read is not replaced by the machine's roots.
    for (variable, value) in [
        ("SSL_CERT_FILE", "/nonexistent/roots.pem"),
        ("SSL_CERT_FILE", "/"),
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/nonexistent"),
        ("SSL_CERT_DIR", "/dev/null"),
    ] {
        let world = World::with(crate::emulator::Config::with_tls(crate::emulator::Tls::Good));
        let run = world.token(&[]).env(variable, value).run().exits(3);
        assert!(run.stderr.contains(variable), "{run}");
        assert_eq!(world.emulator.server().connections(), 0, "{run}");
    }
}

/// What is wrong with the configuration directory, how to make it so, and the call that uses it.
type Place = (&'static str, fn(&World), fn(&World, Call) -> Call);

#[test]
fn a_configuration_directory_that_cannot_be_used_is_an_error_and_no_variable_serves() {
    let places: [Place; 9] = [
        (
            "YCRED_CONFIG_DIR is a dangling link",
            |world| symlink("nowhere", world.sandbox.path("tmp/config")).expect("a link"),
            |world, call| call.env("YCRED_CONFIG_DIR", world.sandbox.path("tmp/config")),
        ),
        (
            "YCRED_CONFIG_DIR is a file",
            |world| drop(world.sandbox.file("tmp/config", "")),
            |world, call| call.env("YCRED_CONFIG_DIR", world.sandbox.path("tmp/config")),
        ),
        (
            "YCRED_CONFIG_DIR is a link to a file",
            |world| {
                symlink(world.sandbox.file("tmp/file", ""), world.sandbox.path("tmp/config")).expect("a link");
            },
            |world, call| call.env("YCRED_CONFIG_DIR", world.sandbox.path("tmp/config")),
        ),
        (
            "YCRED_CONFIG_DIR is a directory in a file",
            |world| drop(world.sandbox.file("tmp/file", "")),
            |world, call| call.env("YCRED_CONFIG_DIR", world.sandbox.path("tmp/file/config")),
        ),
        ("YCRED_CONFIG_DIR is a device", |_| {}, |_, call| call.env("YCRED_CONFIG_DIR", "/dev/null")),
        (
            "XDG_CONFIG_HOME is a file",
            |world| drop(world.sandbox.file("tmp/xdg", "")),
            |world, call| call.without("YCRED_CONFIG_DIR").env("XDG_CONFIG_HOME", world.sandbox.path("tmp/xdg")),
        ),
        (
            "XDG_CONFIG_HOME is a dangling link",
            |world| symlink("nowhere", world.sandbox.path("tmp/xdg")).expect("a link"),
            |world, call| call.without("YCRED_CONFIG_DIR").env("XDG_CONFIG_HOME", world.sandbox.path("tmp/xdg")),
        ),
        (
            "~/.config/ycred is a file",
            |world| drop(world.sandbox.file("tmp/home/.config/ycred", "")),
            |world, call| call.without("YCRED_CONFIG_DIR").env("HOME", world.sandbox.path("tmp/home")),
        ),
        (
            "~/.config/ycred is a dangling link",
            |world| {
                fs::create_dir_all(world.sandbox.path("tmp/home/.config")).expect("directories");
                symlink("nowhere", world.sandbox.path("tmp/home/.config/ycred")).expect("a link");
            },
            |world, call| call.without("YCRED_CONFIG_DIR").env("HOME", world.sandbox.path("tmp/home")),
        ),
    ];
    for (what, spoil, place) in places {
        let world = World::new();
        spoil(&world);
        let token = world.issue_token();
        let call = |arguments: &[&str]| place(&world, world.ycred(arguments)).env("YC_IAM_TOKEN", &token);
        for arguments in [&["token"][..], &["token", "-p", "prod"], &["kubectl"], &["env"], &["explain"]] {
            let run = call(arguments).run();
            assert_eq!(run.status.code(), Some(3), "{what}\n{run}");
            let error = format!("{}{}", run.stdout, run.stderr);
            assert!(error.contains("tmp/") || error.contains("/dev/null"), "{what}: names the place\n{run}");
            assert!(error.contains("not a directory") || error.contains("dangling"), "{what}: says why\n{run}");
            assert!(!run.stdout.contains(&token), "{what}\n{run}");
        }
        let run = call(&["explain"]).run().stdout_has("default.toml: there, but cannot be used");
        assert!(run.stdout.contains("YC_IAM_TOKEN: there, not used"), "{what}\n{run}");
        for call in [call(&["list"]), call(&["list"]).without("YC_IAM_TOKEN")] {
            fails_with(call.run(), 3, &[]);
        }
        let run = call(&["status", "--all"]).run().exits(3);
        assert!(run.stdout.contains("directory") || run.stdout.contains("dangling"), "{what}\n{run}");
        assert_eq!(world.emulator.calls(), 0, "{what}");
    }
}

#[test]
fn without_a_home_directory_a_variable_serves() {
    let world = World::new();
    let token = world.issue_token();
    let call = || world.token(&[]).without("YCRED_CONFIG_DIR").env("YC_IAM_TOKEN", &token);
    let absent = world.sandbox.path("tmp/absent");
    for call in [
        call().env("HOME", "/dev/null"),
        call().env("HOME", "/nonexistent"),
        call().env("HOME", "/"),
        call().env("HOME", &absent),
        call().env("XDG_CONFIG_HOME", absent.join("config")),
        call().env("YCRED_CONFIG_DIR", absent.join("config")),
        call().without("HOME"),
    ] {
        call.run().succeeds().stdout_is(&format!("{token}\n"));
    }
}

#[test]
fn a_proxy_whose_password_was_parsed_into_the_wrong_parts_is_recognized() {
    let world = World::with_tls(crate::emulator::Tls::Good);
    let toml = world.settings().replace(&world.emulator.url(), "https://iam.example") + "ca-file = \"ca.pem\"\n";
    world.sandbox.profile("default", &toml);
    for password in
        ["pa/ss-hunter22", "hunter22?x", "hunter#22hunter", "hunt@er22hunter", "hunter22 hunter", "[hunter22]"]
    {
        let run = world
            .token(&["--no-cache"])
            .env("HTTPS_PROXY", format!("http://user:{password}@127.0.0.1:9"))
            .run()
            .exits(3);
        assert!(run.stderr.contains("HTTPS_PROXY: the user or password has a character that a URL reserves"), "{run}");
        assert!(run.stderr.contains("%2F") && !run.stderr.contains("hunter"), "{run}");
    }
}

#[test]
fn a_message_names_where_the_value_came_from() {
    let world = World::without_profile(crate::emulator::Config::default());
    for (variable, value, names) in [
        ("YC_METADATA_ADDR", "a/b", "YC_METADATA_ADDR"),
        ("YC_SERVICE_ACCOUNT_KEY_FILE", "/nonexistent/key.json", "/nonexistent/key.json"),
        ("YCRED_PROFILE", "No", "YCRED_PROFILE"),
        ("YCRED_CONFIG_DIR", "relative", "YCRED_CONFIG_DIR"),
    ] {
        let run = world.token(&["--timeout", "1s"]).env(variable, value).run();
        assert!(run.stderr.contains(names) && !run.status.success(), "{run}");
        assert!(!run.stderr.contains("--key-file") && !run.stderr.contains("--policy-file"), "{run}");
    }
    let metadata =
        |name, value| world.token(&["--timeout", "1s"]).env("YC_METADATA_ADDR", "127.0.0.1:1").env(name, value).run();
    for (variable, value) in
        [("YC_ENDPOINT", "https://x/"), ("YCRED_IMPERSONATE", "not an id"), ("YCRED_AUTH_URL", "http://x")]
    {
        let run = metadata(variable, value).exits(3);
        assert!(run.stderr.contains(variable), "{run}");
    }
    for (flag, value) in
        [("--profile", "No"), ("--min-ttl", "soon"), ("--timeout", "0s"), ("--format", "xml"), ("--host", "a b")]
    {
        world.ycred(&["token", flag, value]).run().exits(2).stderr_has(flag);
    }
    for (line, toml) in [
        ("default.toml:2", "source = \"metadata\"\ntimeout = \"soon\"\n"),
        ("default.toml:1", "source = \"metadaat\"\n"),
    ] {
        world.sandbox.profile("default", toml);
        world.token(&[]).run().exits(3).stderr_has(line);
    }
}

#[test]
fn init_takes_no_key_that_is_gone_after_the_run() {
    let world = World::without_profile(crate::emulator::Config::default());
    let key = fs::read_to_string(world.sandbox.path("config/key.json")).expect("the key");
    for path in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let run = world.ycred(&["init", "s", "--key-file", path]).stdin(key.clone()).run().exits(2).stdout_is("");
        assert!(run.stderr.contains("is gone after this run") && run.stderr.contains("install -m 600"), "{run}");
        assert!(!world.sandbox.path("config/s.toml").exists(), "{run}");
    }
    let fifo = world.sandbox.path("work/fifo");
    world.sandbox.call("mkfifo", [&fifo]).run().succeeds();
    world.ycred(&["init", "s", "--key-file"]).and([&fifo]).run().exits(2).stderr_has("is gone after this run");
    let run = world.token(&[]).env("YC_SERVICE_ACCOUNT_KEY_FILE", &fifo).run().exits(3);
    assert!(run.stderr.contains("set YC_SERVICE_ACCOUNT_KEY_FILE to the key's JSON itself"), "{run}");
}

#[test]
fn a_service_without_a_home_uses_systemds_directories() {
    if !is_root() {
        return skip("only root can run programs as another user");
    }
    let world = World::new();
    for home in ["/nonexistent", "/"] {
        let other = OtherUser::new(&world, NOBODY);
        for directory in ["cache", "state"] {
            fs::create_dir(other.path(directory)).expect("a directory");
            other.chown(directory, NOBODY);
        }
        let call = || {
            let call = other.call(&world, &["token"]).env("HOME", home);
            call.env("CACHE_DIRECTORY", other.path("cache")).env("STATE_DIRECTORY", other.path("state"))
        };
        let before = world.requests();
        call().run().succeeds().stderr_is_empty();
        world.assert_hit(call());
        assert_eq!(world.requests(), before + 1, "{home}");
        assert!(other.path("cache/v1").is_dir());
    }
}

#[test]
fn a_miss_needs_no_second_thread_and_no_second_process() {
    if !is_root() {
        return skip("only root can run programs as another user");
    }
    if require_client("prlimit").is_none() {
        return;
    }
    let world = World::new();
    // Nobody else runs processes as this user. Its own process is the only one that may exist.
    let other = OtherUser::new(&world, 54_377);
    for host in ["127.0.0.1", "localhost"] {
        let toml = world.settings().replace("127.0.0.1", host);
        fs::write(other.path("config/default.toml"), toml).expect("a profile");
        other.chown("config/default.toml", 54_377);
        let script = "ulimit -u 1; exec \"$@\"";
        let program = other.path("bin/ycred").display().to_string();
        let identity =
            ["--reuid=54377", "--regid=54377", "--clear-groups", "--", "bash", "-c", script, "bash", &program, "token"];
        let call = world.sandbox.call("setpriv", identity).within(other.path("work")).env("HOME", other.path("home"));
        let call =
            call.env("YCRED_CONFIG_DIR", other.path("config")).without("YCRED_CACHE_DIR").without("YCRED_STATE_DIR");
        let run = call.and(["--no-cache"]).run().succeeds().stderr_is_empty();
        world.token_printed_by(&run);
    }
}

#[test]
fn the_output_of_a_command_counts_although_a_daemon_keeps_its_stdout() {
    if require_client("setsid").is_none() {
        return;
    }
    let world = World::new();
    let token = world.issue_token();
    let script = world.sandbox.script("bin/helper", &format!("#!/bin/sh\nsetsid sleep 15 &\necho {token}\n"));
    world.sandbox.profile("default", &format!("source = \"command\"\ncommand = [\"{}\"]\n", script.display()));
    let run = world.token(&["--no-cache"]).run().succeeds().stderr_is_empty().stdout_is(&format!("{token}\n"));
    assert!(run.took.as_secs() < 15, "{run}");
}

#[test]
fn the_users_own_cache_directory_keeps_its_mode() {
    let world = World::new();
    for bits in [0o2775, 0o750, 0o755, 0o770, 0o700] {
        let cache = world.sandbox.path(format!("caches/{bits:o}"));
        fs::create_dir(&cache).expect("a directory");
        fs::set_permissions(&cache, fs::Permissions::from_mode(bits)).expect("a mode");
        world.token(&[]).env("YCRED_CACHE_DIR", &cache).run().succeeds().stderr_is_empty();
        assert_eq!((mode(&cache) & 0o777, mode(&cache.join("v1")) & 0o777), (bits & 0o777, 0o700), "{bits:o}");
    }
    let cache = world.sandbox.path("caches/open");
    fs::create_dir(&cache).expect("a directory");
    set_mode(&cache, 0o777);
    world.token(&[]).env("YCRED_CACHE_DIR", &cache).run().succeeds();
    assert_eq!(mode(&cache), 0o700, "where anybody could replace the records");
}
