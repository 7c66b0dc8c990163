//! The installer, with a small archive in place of a release: what it leaves when it removes ycred.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::files::{mode, set_mode};
use crate::harness::machine::require_root;
use crate::harness::{Run, Sandbox};

/// Makes a directory as `packaging/release` does, with one archive for this machine. Its program only prints its version.
const RELEASE: &str = r#"
set -eu
export SOURCE_DATE_EPOCH=1700000000
name=ycred-v$VERSION-$(uname -m)-unknown-linux-musl
rm -rf stage dist
mkdir -p "stage/$name/man" "stage/$name/completions" dist
cd "stage/$name"
printf '#!/bin/sh\n[ "$1" != --version ] || echo "ycred %s"\n' "$VERSION" >ycred
chmod 755 ycred
printf '%s\n' $LINKS >links
for page in $PAGES; do echo "$page" >"man/$page"; done
for file in completions/ycred.bash completions/_ycred completions/ycred.fish README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT \
    THIRD-PARTY-LICENSES; do
    echo "$file" >"$file"
done
cd ../..
"$PACKAGING/tools/archive" stage "$name" "dist/$name.tar.gz"
sed "s|@VERSION@|$VERSION|; s|@URL@||" "$PACKAGING/install.sh" >dist/install.sh
"$PACKAGING/tools/digests" dist
"#;

struct Installer {
    sandbox: Sandbox,
}

impl Installer {
    fn new() -> Installer {
        let installer = Installer { sandbox: Sandbox::new() };
        installer.release("1.2.3", "docker-credential-ycred kubectl-ycred", "ycred.1 ycred-token.1");
        installer
    }

    #[track_caller]
    fn release(&self, version: &str, links: &str, pages: &str) {
        let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
        let call = self.sandbox.call("sh", ["-c", RELEASE]).env("PACKAGING", packaging);
        call.env("VERSION", version).env("LINKS", links).env("PAGES", pages).run().succeeds();
    }

    fn run(&self, prefix: &Path, more: &[&str]) -> Run {
        let script = self.sandbox.path("work/dist/install.sh");
        self.sandbox.call("sh", [script.as_path(), Path::new("--prefix"), prefix]).and(more).run()
    }

    #[track_caller]
    fn install(&self, prefix: &Path) {
        self.run(prefix, &[]).succeeds().stderr_is_empty().stdout_has("installed ycred ");
    }

    #[track_caller]
    fn remove(&self, prefix: &Path) {
        self.run(prefix, &["--remove"]).succeeds().stderr_is_empty().stdout_has("removed ycred from");
    }

    /// Returns everything below a directory, with a slash after each directory, sorted.
    fn tree(&self, directory: &Path) -> Vec<String> {
        let format = ["-mindepth", "1", "(", "-type", "d", "-printf", "%P/\\n", "-o", "-printf", "%P\\n", ")"];
        let run = self.sandbox.call("find", [directory]).and(format).run().succeeds();
        let mut lines: Vec<String> = run.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

#[test]
fn removal_leaves_the_directories_that_were_there_before() {
    let installer = Installer::new();
    let prefix = installer.sandbox.path("work/a b/prefix");
    // As on a new machine: empty directories that belong to nobody's package.
    for directory in ["bin", "share/man/man1", "share/fish/vendor_completions.d", "share/doc", "lib"] {
        fs::create_dir_all(prefix.join(directory)).expect("a directory");
    }
    let before = installer.tree(&prefix);
    installer.install(&prefix);
    assert!(prefix.join("bin/kubectl-ycred").exists() && prefix.join("share/doc/ycred/README.md").exists());
    // Again: the directories of the first installation are not taken for older ones.
    installer.install(&prefix);
    installer.remove(&prefix);
    assert_eq!(installer.tree(&prefix), before);
    // With a slash at the end, as shells complete it.
    installer.install(&PathBuf::from(format!("{}/", prefix.display())));
    installer.remove(&prefix);
    assert_eq!(installer.tree(&prefix), before);
    installer.run(&prefix, &["--remove"]).fails().stderr_has("nothing was installed there");
}

#[test]
fn removal_takes_the_directories_that_the_installation_created_unless_they_are_in_use() {
    let installer = Installer::new();
    let parent = installer.sandbox.path("work/opt");
    let prefix = parent.join("tools/ycred");
    installer.install(&prefix);
    for directory in [&parent, &prefix, &prefix.join("share/man/man1")] {
        assert_eq!(mode(directory), 0o755, "other users run the program");
    }
    fs::write(prefix.join("share/man/man1/other.1"), "").expect("a file");
    fs::create_dir(prefix.join("share/doc/other")).expect("a directory");
    installer.remove(&prefix);
    let left = ["share/", "share/doc/", "share/doc/other/", "share/man/", "share/man/man1/", "share/man/man1/other.1"];
    assert_eq!(installer.tree(&prefix), left);
    fs::remove_dir_all(&parent).expect("removed");

    installer.install(&prefix);
    installer.remove(&prefix);
    assert!(!parent.exists(), "the installation had created it");

    // Moved to another place: the directories above it are not those that were created.
    installer.install(&prefix);
    let moved = installer.sandbox.path("work/moved");
    fs::rename(&prefix, &moved).expect("renamed");
    installer.remove(&moved);
    assert!(installer.tree(&moved).is_empty() && parent.join("tools").exists(), "{:?}", installer.tree(&moved));
}

#[test]
fn a_new_version_removes_what_only_the_old_one_has_and_the_list_of_an_old_installer_names_no_directories() {
    let installer = Installer::new();
    let prefix = installer.sandbox.path("work/prefix");
    installer.install(&prefix);
    installer.release("1.3.0", "docker-credential-ycred ycred-pnpm", "ycred.1 ycred-status.1");
    installer.install(&prefix);
    let bin: Vec<String> = installer.tree(&prefix.join("bin"));
    assert_eq!(bin, ["docker-credential-ycred", "ycred", "ycred-pnpm"]);
    assert_eq!(installer.tree(&prefix.join("share/man/man1")), ["ycred-status.1", "ycred.1"]);

    let list = prefix.join("share/ycred/installed");
    let files: Vec<String> = fs::read_to_string(&list)
        .expect("the list")
        .lines()
        .filter(|it| !it.ends_with('/'))
        .map(str::to_owned)
        .collect();
    fs::write(&list, files.join("\n") + "\n").expect("written");
    installer.remove(&prefix);
    let left = installer.tree(&prefix);
    assert!(left.iter().all(|path| path.ends_with('/')) && left.contains(&"bin/".to_owned()), "{left:?}");
}

#[test]
fn an_installation_that_failed_halfway_can_be_removed() {
    let installer = Installer::new();
    let prefix = installer.sandbox.path("work/prefix");
    // A file in place of a directory that comes late.
    fs::create_dir_all(prefix.join("share")).expect("a directory");
    fs::write(prefix.join("share/doc"), "").expect("a file");
    let before = installer.tree(&prefix);
    installer.run(&prefix, &[]).fails();
    assert!(prefix.join("bin/ycred").exists());
    installer.remove(&prefix);
    assert_eq!(installer.tree(&prefix), before);

    // A list that somebody has changed removes nothing outside of the prefix.
    let other = installer.sandbox.path("work/other");
    fs::create_dir(&other).expect("a directory");
    fs::remove_file(prefix.join("share/doc")).expect("removed");
    installer.install(&prefix);
    let list = prefix.join("share/ycred/installed");
    let text = fs::read_to_string(&list).expect("the list");
    set_mode(&list, 0o644);
    fs::write(&list, format!("{text}{}/\n../other/\n", other.display())).expect("written");
    installer.remove(&prefix);
    assert!(other.exists());
    fs::create_dir_all(prefix.join("share/ycred")).expect("a directory");
    fs::write(&list, "../other/file\n").expect("written");
    installer.run(&prefix, &["--remove"]).fails().stderr_has("unexpected path");
}

#[test]
fn a_script_without_a_file_takes_nothing_from_the_current_directory() {
    let installer = Installer::new();
    let prefix = installer.sandbox.path("work/prefix");
    // As `curl … | sh` in a directory that somebody else has filled.
    let script = fs::read(installer.sandbox.path("work/dist/install.sh")).expect("the script");
    let piped = |script: &[u8], more: &[&str]| {
        let call =
            installer.sandbox.call("sh", [Path::new("-s"), Path::new("--"), Path::new("--prefix"), &prefix]).and(more);
        call.within(installer.sandbox.path("work/dist")).stdin(script).run()
    };
    piped(&script, &[]).fails().stderr_has("no release to download from");
    // Cut off anywhere, it does nothing.
    let from = installer.sandbox.path("work/dist");
    for length in (1..20).map(|part| script.len() * part / 20).chain([script.len() - 10]) {
        piped(&script[..length], &["--from", from.to_str().expect("UTF-8")]);
        assert!(!prefix.exists(), "{length} bytes of the script have installed something");
    }
    piped(&script, &["--from", from.to_str().expect("UTF-8")]).succeeds();
}

#[test]
fn a_file_of_others_is_not_replaced_unless_that_is_demanded() {
    let installer = Installer::new();
    let prefix = installer.sandbox.path("work/prefix");
    fs::create_dir_all(prefix.join("bin")).expect("a directory");
    for place in ["bin/ycred", "bin/docker-credential-ycred", "bin/kubectl-ycred"] {
        fs::write(prefix.join(place), "somebody's own").expect("a file");
        installer.run(&prefix, &[]).fails().stderr_has(place).stderr_has("use --force to replace it");
        assert_eq!(fs::read_to_string(prefix.join(place)).expect("a file"), "somebody's own");
        assert!(!prefix.join("share").exists(), "something was installed");
        fs::remove_file(prefix.join(place)).expect("removed");
    }
    // A link that `ycred setup` has made is ours.
    std::os::unix::fs::symlink("/opt/bin/ycred", prefix.join("bin/kubectl-ycred")).expect("a link");
    installer.install(&prefix);
    installer.remove(&prefix);
    fs::write(prefix.join("bin/ycred"), "somebody's own").expect("a file");
    installer.run(&prefix, &["--force"]).succeeds().stdout_has("installed ycred 1.2.3");
    installer.install(&prefix);
    installer.remove(&prefix);
}

#[test]
fn a_program_that_does_not_run_is_not_installed() {
    let installer = Installer::new();
    let prefix = installer.sandbox.path("work/prefix");
    let break_program = "name=ycred-v1.2.3-$(uname -m)-unknown-linux-musl; printf '#!/nowhere\\n' >stage/$name/ycred; \
        SOURCE_DATE_EPOCH=1 \"$PACKAGING/tools/archive\" stage $name dist/$name.tar.gz; \"$PACKAGING/tools/digests\" dist";
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let call = || installer.sandbox.call("sh", ["-c", break_program]).env("PACKAGING", &packaging);
    call().run().succeeds();
    installer.run(&prefix, &[]).fails().stderr_has("does not run on this machine: ").stdout_is("");
    assert!(!prefix.exists(), "{:?}", installer.tree(&prefix));
    // An update leaves the program that runs.
    installer.release("1.2.2", "docker-credential-ycred", "ycred.1");
    installer.install(&prefix);
    let before = installer.tree(&prefix);
    installer.release("1.2.3", "docker-credential-ycred", "ycred.1");
    call().run().succeeds();
    installer.run(&prefix, &[]).fails().stderr_has("does not run on this machine");
    assert_eq!(installer.tree(&prefix), before);
    let program = fs::read_to_string(prefix.join("bin/ycred")).expect("the program");
    assert!(program.contains("1.2.2"), "{program}");
}

#[test]
fn a_machine_that_cannot_compute_digests_is_told_so() {
    let installer = Installer::new();
    let prefix = installer.sandbox.path("work/prefix");
    let tools = installer.sandbox.path("work/tools");
    fs::create_dir(&tools).expect("a directory");
    for tool in ["sh", "dirname", "id", "uname", "mktemp", "rm", "cp", "grep", "tar", "gzip"] {
        let path = crate::harness::find(tool).expect(tool);
        std::os::unix::fs::symlink(path, tools.join(tool)).expect("a link");
    }
    let script = installer.sandbox.path("work/dist/install.sh");
    let call = installer.sandbox.call("sh", [script.as_path(), Path::new("--prefix"), &prefix]).env("PATH", &tools);
    call.run().fails().stderr_has("neither sha256sum nor shasum is installed");
    assert!(!prefix.exists());
}

#[test]
fn a_signal_leaves_no_half_file_and_no_temporary_directory() {
    let installer = Installer::new();
    let prefix = installer.sandbox.path("work/prefix");
    // Stands in for a slow disk: a copy that ends the script before it returns.
    installer
        .sandbox
        .script("bin/cp", "#!/bin/sh\n/bin/cp \"$@\" || exit\ncase $2 in *.1.new) kill -TERM $PPID; sleep 1 ;; esac\n");
    installer.run(&prefix, &[]).exits(143);
    let left: Vec<String> = installer.tree(&prefix).into_iter().filter(|path| path.ends_with(".new")).collect();
    assert!(left.is_empty() && prefix.join("bin/ycred").exists(), "{left:?}");
    assert!(
        installer.tree(&installer.sandbox.path("tmp")).is_empty(),
        "{:?}",
        installer.tree(&installer.sandbox.path("tmp"))
    );
    installer.remove(&prefix);
    assert!(!prefix.exists());
}

/// Stands in for the installed program: prints what would be undone.
fn say(prefix: &Path, script: &str) {
    let program = prefix.join("bin/ycred");
    fs::write(&program, format!("#!/bin/sh\n[ \"$*\" = 'unsetup --all --dry-run' ] || exit 9\n{script}\n"))
        .expect("written");
}

#[test]
fn removal_goes_on_after_it_has_said_what_clients_still_run() {
    let installer = Installer::new();
    let prefix = installer.sandbox.path("work/prefix");
    let removed = format!("removed ycred from {}\n", prefix.display());
    let again = "to undo their setup, install ycred again, then run: ycred unsetup --all\n";
    let remove = |script: &str| {
        installer.install(&prefix);
        say(&prefix, script);
        let run = installer.run(&prefix, &["--remove"]).succeeds().stderr_is_empty();
        assert!(!prefix.exists(), "{run}");
        run.stdout
    };
    assert_eq!(remove("echo nothing to undo"), removed);
    assert_eq!(
        remove("echo 'config.json: cr.yandex: restored'; echo '- \"a\"'; echo 'dry run: nothing was written'"),
        format!(
            "clients are still set up; `ycred unsetup --all` would do this:\n    config.json: cr.yandex: restored\n    \
             - \"a\"\n{removed}clients that still run ycred fail now; {again}"
        )
    );
    assert_eq!(
        remove("echo 'ycred: error: no directory' >&2; exit 3"),
        format!(
            "clients may still be set up; `ycred unsetup --all --dry-run` failed:\n    ycred: error: no directory\n\
             {removed}clients that still run ycred, if any, fail now; {again}"
        )
    );
}

/// Root's own clients are others than those of the user who calls sudo.
#[test]
fn with_sudo_the_clients_of_the_user_are_looked_at() {
    if !require_root(&[]) {
        return;
    }
    let installer = Installer::new();
    let prefix = installer.sandbox.path("work/prefix");
    installer.sandbox.script(
        "bin/sudo",
        "#!/bin/sh\n[ \"$1 $2 $3 $4 $5\" = '-n -H -u you --' ] || exit 9\nshift 5\nAS=you exec \"$@\"\n",
    );
    installer.install(&prefix);
    say(&prefix, "[ \"$AS\" = you ] || { echo nothing to undo; exit; }\necho 'config.json: restored'");
    let script = installer.sandbox.path("work/dist/install.sh");
    let call = installer.sandbox.call("sh", [script.as_path(), Path::new("--remove"), Path::new("--prefix"), &prefix]);
    let run = call.env("SUDO_USER", "you").run().succeeds();
    run.stdout_has(
        "clients of you are still set up; `ycred unsetup --all` would do this:\n    config.json: restored\n",
    )
    .stdout_has("install ycred again, then run as you, without sudo: ycred unsetup --all\n");
    assert!(!prefix.exists());
}

#[test]
fn a_directory_in_the_place_of_a_link_is_neither_filled_nor_removed() {
    let installer = Installer::new();
    let prefix = installer.sandbox.path("work/prefix");
    for place in ["bin/ycred", "bin/kubectl-ycred"] {
        let directory = prefix.join(place);
        fs::create_dir_all(directory.join("own")).expect("a directory");
        let before = installer.tree(&prefix);
        for more in [&[][..], &["--force"]] {
            let run = installer.run(&prefix, more).fails().stdout_is("");
            let error = format!("install.sh: error: {} is a directory; move it away", directory.display());
            assert!(run.stderr.starts_with(&error) && run.stderr.lines().count() == 1, "{run}");
            assert_eq!(installer.tree(&prefix), before);
        }
        fs::remove_dir_all(&prefix).expect("removed");
    }
    installer.install(&prefix);
    let directory = prefix.join("bin/docker-credential-ycred");
    fs::remove_file(&directory).expect("removed");
    fs::create_dir(&directory).expect("a directory");
    let run = installer.run(&prefix, &["--remove"]).succeeds().stderr_is_empty();
    run.stdout_has(&format!("left {}: it is a directory", directory.display())).stdout_has("removed ycred from");
    assert_eq!(installer.tree(&prefix), ["bin/", "bin/docker-credential-ycred/"]);
}

#[test]
fn removal_goes_on_after_a_file_that_cannot_be_deleted_and_can_be_repeated() {
    let installer = Installer::new();
    let prefix = installer.sandbox.path("work/prefix");
    installer.install(&prefix);
    // Stands in for a file that the system protects.
    let stand_in = installer
        .sandbox
        .script("bin/rm", "#!/bin/sh\ncase $* in */bin/ycred\\ *) exit 1 ;; esac\nexec /bin/rm \"$@\"\n");
    let left = prefix.join("bin/ycred");
    let run = installer.run(&prefix, &["--remove"]).fails();
    assert_eq!(run.stderr, format!("install.sh: error: cannot delete {}\n", left.display()));
    assert_eq!(installer.tree(&prefix.join("bin")), ["ycred"]);
    fs::remove_file(stand_in).expect("removed");
    installer.remove(&prefix);
    assert!(!prefix.exists());
}

#[test]
fn two_installers_at_once_wait_for_each_other_and_for_no_killed_one() {
    let installer = Installer::new();
    let prefix = installer.sandbox.path("work/prefix");
    // Between the look for a directory and its creation, and between a copy and its new name.
    for tool in ["mkdir", "mv"] {
        installer.sandbox.script(format!("bin/{tool}"), &format!("#!/bin/sh\nsleep 0.05\nexec /bin/{tool} \"$@\"\n"));
    }
    let both = "sh dist/install.sh --prefix \"$1\" & sh dist/install.sh --prefix \"$1\" && wait $!";
    let run = installer.sandbox.call("sh", [Path::new("-c"), Path::new(both), Path::new("sh"), &prefix]).run();
    let run = run.succeeds().stderr_is_empty();
    assert_eq!(run.stdout.matches("installed ycred 1.2.3").count(), 2, "{run}");
    let lock = prefix.join("share/ycred/lock");
    assert!(!lock.is_symlink() && prefix.join("bin/ycred").exists());
    // Beyond the numbers of processes.
    std::os::unix::fs::symlink("2147483646", &lock).expect("a link");
    installer.install(&prefix);
    assert!(!lock.is_symlink());
    installer.remove(&prefix);
    assert!(!prefix.exists());
}

#[test]
fn a_missing_home_and_a_directory_in_which_no_program_runs_are_named() {
    let installer = Installer::new();
    installer.sandbox.script("bin/id", "#!/bin/sh\necho 1000\n");
    let script = installer.sandbox.path("work/dist/install.sh");
    let run = installer.sandbox.call("sh", [&script]).without("HOME").run().exits(1).stdout_is("");
    assert_eq!(run.stderr, "install.sh: error: HOME is not set; use --prefix DIRECTORY\n");
    if !require_root(&["unshare"]) {
        return;
    }
    let prefix = installer.sandbox.path("work/mounted");
    fs::create_dir(&prefix).expect("a directory");
    let mounted =
        "mount -t tmpfs -o noexec none \"$1\" && sh dist/install.sh --prefix \"$1\"; code=$?; ls \"$1\"; exit $code";
    let arguments = ["--mount", "sh", "-c", mounted, "sh"].map(Path::new);
    let run = installer.sandbox.call("unshare", arguments).and([&prefix]).run().exits(1).stdout_is("");
    let error = format!("no program may be run in {}/bin, which may be mounted with noexec", prefix.display());
    run.stderr_has(&error).stderr_has("use --prefix");
}

/// Stands in for cargo, which would build for minutes.
const CARGO: &str = r#"#!/bin/bash
case "$*" in
    build*) ;;
    metadata*) printf '{"target_directory":"%s","x":1}\n' "$HOME/target" ;;
    *"assets -- man"*) echo page >"${@: -1}/ycred.1" ;;
    *"assets -- links"*) echo docker-credential-ycred ;;
    *completions*) echo completions ;;
esac
"#;

#[test]
fn the_installer_removes_what_was_built_from_source() {
    let sandbox = Sandbox::new();
    sandbox.script("bin/cargo", CARGO);
    fs::create_dir_all(sandbox.path("home/target/release")).expect("a directory");
    sandbox.script("home/target/release/ycred", "#!/bin/sh\n");
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let prefix = sandbox.path("work/prefix");
    fs::create_dir_all(prefix.join("share")).expect("a directory");
    sandbox.call(packaging.join("install"), [&prefix]).run().succeeds();
    for file in ["bin/ycred", "bin/docker-credential-ycred", "share/man/man1/ycred.1", "share/doc/ycred/LICENSE-MIT"] {
        assert!(prefix.join(file).exists(), "{file}");
    }
    let script = packaging.join("install.sh");
    sandbox.call("sh", [script.as_path(), Path::new("--remove"), Path::new("--prefix"), &prefix]).run().succeeds();
    let left: Vec<_> =
        fs::read_dir(&prefix).expect("the prefix").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left, ["share"], "only what was there before is left");
    // A tree for a package has no list: the package has its own.
    let staged = sandbox.path("work/staged");
    sandbox.call(packaging.join("install"), ["/usr"]).env("DESTDIR", &staged).run().succeeds();
    assert!(staged.join("usr/bin/ycred").exists() && !staged.join("usr/share/ycred").exists());
}
