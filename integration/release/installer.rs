//! The installer, with a small archive in place of a release: what it leaves when it removes ycred.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::files::{mode, set_mode};
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
for file in completions/ycred.bash completions/_ycred completions/ycred.fish README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT THIRD-PARTY-LICENSES; do
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
