//! `ycred install`: copies the program, its links and configuration files into a directory.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::expect::{fails_with, fails_with_hint};
use crate::harness::files::{mode, names, set_mode};
use crate::harness::waiting::wait_until;
use crate::harness::{Call, Sandbox, YCRED, run_all};
use crate::world::World;

/// The links that a package has.
const LINKS: [&str; 6] =
    ["docker-credential-ycred", "git-credential-ycred", "ycred-bazel", "ycred-cargo", "ycred-pnpm", "kubectl-ycred"];

fn install(sandbox: &Sandbox, directory: &Path) -> Call {
    sandbox.ycred([Path::new("install"), directory])
}

/// Checks that a directory has the program that the tests run, its links, and nothing else.
#[track_caller]
fn assert_installed(directory: &Path) {
    let mut expected: Vec<PathBuf> = LINKS.iter().map(|link| directory.join(link)).collect();
    expected.push(directory.join("ycred"));
    expected.sort();
    assert_eq!(names(directory), expected);
    let program = directory.join("ycred");
    assert!(fs::symlink_metadata(&program).is_ok_and(|found| found.is_file()), "the program is not a file");
    assert_eq!(mode(&program), 0o755);
    assert!(fs::read(&program).expect("the program") == fs::read(YCRED).expect("the program"), "another program");
    for link in LINKS {
        assert_eq!(fs::read_link(directory.join(link)).expect("a link"), Path::new("ycred"), "{link}");
    }
}

#[test]
fn the_installed_links_work_and_a_second_installation_changes_nothing() {
    let world = World::new();
    let directory = world.sandbox.path("work/new/bin");
    let shown = directory.display();
    let version = env!("CARGO_PKG_VERSION");
    // As in a container: a restrictive umask, and neither a home nor a configuration.
    let call = world.sandbox.call("sh", ["-c", "umask 077; exec \"$@\"", "sh", YCRED, "install"]).and([&directory]);
    let call =
        ["HOME", "YCRED_CONFIG_DIR", "YCRED_CACHE_DIR", "YCRED_STATE_DIR"].iter().fold(call, |c, n| c.without(n));
    call.run().succeeds().stderr_is_empty().stdout_is(&format!("{shown}: installed ycred {version}\n"));
    assert_installed(&directory);
    assert_eq!(crate::harness::files::mode(&directory), 0o755, "other users run the program");
    let helper = directory.join("docker-credential-ycred");
    let run = world.sandbox.call(&helper, ["get"]).stdin("cr.yandex").run().succeeds().stderr_is_empty();
    assert!(run.stdout.contains(&world.last_token()), "{run}");

    let identity = || {
        let found = fs::symlink_metadata(directory.join("ycred")).expect("the program");
        (found.ino(), found.ctime(), found.ctime_nsec(), fs::metadata(&directory).expect("a directory").mtime_nsec())
    };
    let before = identity();
    let run = install(&world.sandbox, &directory).run().succeeds().stderr_is_empty();
    run.stdout_is(&format!("{shown}: ycred {version} is already installed\n"));
    assert_eq!(identity(), before);
    // The installed program into its own directory.
    world.sandbox.call(directory.join("ycred"), ["install", "."]).within(&directory).run().succeeds();
    assert_eq!(identity(), before);
}

#[test]
fn called_by_a_link_it_copies_the_program_and_not_the_link() {
    let sandbox = Sandbox::new();
    sandbox.link("kubectl-ycred");
    symlink("kubectl-ycred", sandbox.path("bin/other")).expect("a link");
    for name in ["kubectl-ycred", "other"] {
        let directory = sandbox.path(format!("work/{name}"));
        // Found in PATH, so that argv[0] is not a path.
        let call = sandbox.call("sh", ["-c", &format!("exec {name} install \"$1\""), "sh"]).and([&directory]);
        call.run().succeeds().stderr_is_empty();
        assert_installed(&directory);
    }
}

#[test]
fn what_has_the_name_of_the_program_or_of_a_link_is_replaced_but_not_followed() {
    let sandbox = Sandbox::new();
    let directory = sandbox.path("work/bin");
    let victim = sandbox.file("work/victim", "unchanged");
    fs::create_dir(&directory).expect("a directory");
    symlink(&victim, directory.join("ycred")).expect("a link");
    symlink("missing", directory.join(LINKS[0])).expect("a link");
    fs::write(directory.join(LINKS[1]), "an old copy").expect("a file");
    install(&sandbox, &directory).run().succeeds().stderr_is_empty();
    assert_installed(&directory);
    assert_eq!(fs::read_to_string(&victim).expect("the victim"), "unchanged");

    for name in ["ycred", LINKS[2]] {
        let directory = sandbox.path(format!("work/{name}"));
        fs::create_dir_all(directory.join(name).join("inside")).expect("a directory");
        let place = format!("{}: cannot install", directory.join(name).display());
        fails_with_hint(install(&sandbox, &directory).run(), 2, &[&place], "move it away");
        assert!(directory.join(name).join("inside").exists());
        assert!(names(&directory).iter().all(|path| !path.to_string_lossy().contains("/.")), "{:?}", names(&directory));
    }
}

#[test]
fn an_older_version_is_replaced_while_it_runs() {
    let sandbox = Sandbox::new();
    let directory = sandbox.path("work/bin");
    fs::create_dir(&directory).expect("a directory");
    let program = directory.join("ycred");
    fs::copy("/bin/sleep", &program).expect("a program that runs");
    let old = sandbox.call(&program, ["1000"]).start();
    let runs = || fs::read_link(format!("/proc/{}/exe", old.id())).unwrap_or_default();
    wait_until("the old version runs", || runs() == program.canonicalize().expect("a path"));
    install(&sandbox, &directory).run().succeeds().stderr_is_empty();
    assert_installed(&directory);
    assert!(runs().to_string_lossy().ends_with("(deleted)"), "the old version does not run: {:?}", runs());
    sandbox.call(&program, ["--version"]).run().succeeds().stdout_is(&format!("ycred {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn programs_started_during_installations_run_the_old_or_the_new_version() {
    let sandbox = Sandbox::new();
    let directory = sandbox.path("work/bin");
    install(&sandbox, &directory).run().succeeds();
    let program = directory.join("ycred");
    for link in &LINKS[..2] {
        // An older version, of another size.
        fs::copy("/bin/true", directory.join("old")).expect("a program");
        fs::rename(directory.join("old"), &program).expect("replaced");
        let installations = (0..3).map(|_| install(&sandbox, &directory));
        let uses = (0..20).map(|_| sandbox.call(directory.join(link), ["version"]));
        for run in run_all(installations.chain(uses)) {
            run.succeeds().stderr_is_empty();
        }
        assert_installed(&directory);
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("work/file", "");
    for directory in [&file, &file.join("below")] {
        fails_with(install(&sandbox, directory).run(), 2, &[&format!("{}: cannot install", directory.display())]);
    }
    fails_with(sandbox.ycred(["install"]).run(), 2, &["missing <DIR>"]);
    if !crate::harness::machine::is_root() {
        let directory = sandbox.path("work/closed");
        fs::create_dir(&directory).expect("a directory");
        set_mode(&directory, 0o555);
        fails_with(install(&sandbox, &directory).run(), 2, &["permission denied"]);
    }
}

#[test]
fn the_help_lists_it() {
    let sandbox = Sandbox::new();
    let run = sandbox.ycred(["--help"]).run().succeeds();
    assert!(run.stdout.contains("  install      copy ycred and its links into a directory\n"), "{run}");
    sandbox.ycred(["install", "--help"]).run().succeeds().stdout_has("--files <SOURCE>");
}

/// A directory as the kubelet mounts a ConfigMap or a Secret: links to a directory that is replaced as a whole.
fn mounted(sandbox: &Sandbox, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let directory = sandbox.path(format!("work/{name}"));
    for (file, content) in files {
        sandbox.file(format!("work/{name}/..2026_11_26/{file}"), content);
        symlink(format!("..data/{file}"), directory.join(file)).expect("a link");
    }
    symlink("..2026_11_26", directory.join("..data")).expect("a link");
    directory
}

#[test]
fn configuration_files_are_copied_privately_from_a_mounted_volume() {
    let sandbox = Sandbox::new();
    let source = mounted(&sandbox, "mounted", &[("default.toml", "source = \"metadata\"\n"), ("key.json", "{}")]);
    fs::create_dir(source.join("directory")).expect("a directory");
    let target = sandbox.path("work/etc");
    let shown = target.display();
    let call = || sandbox.ycred(["install", "--files"]).and([&source, &target]);
    call()
        .run()
        .succeeds()
        .stderr_is_empty()
        .stdout_is(&format!("{shown}: 2 files, replaced default.toml, key.json\n"));
    assert_eq!(names(&target), [target.join("default.toml"), target.join("key.json")]);
    for file in names(&target) {
        assert!(fs::symlink_metadata(&file).is_ok_and(|found| found.is_file()));
        assert_eq!(mode(&file), 0o600);
    }
    call().run().succeeds().stdout_is(&format!("{shown}: 2 files, unchanged\n"));
    sandbox.file("work/mounted/..2026_11_26/key.json", "{\"id\":\"rotated\"}");
    call().run().succeeds().stdout_is(&format!("{shown}: 2 files, replaced key.json\n"));
    assert_eq!(fs::read_to_string(target.join("key.json")).expect("a file"), "{\"id\":\"rotated\"}");

    let missing = sandbox.path("work/missing");
    let run = sandbox.ycred(["install", "--files"]).and([&missing, &target]).run();
    fails_with(run, 2, &[&format!("{}: no such file", missing.display())]);
}
