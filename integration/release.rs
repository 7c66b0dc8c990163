//! Unpacks, installs and uses each file that `packaging/release` makes: a token comes from every one of them.
//!
//! `YCRED_TEST_DIST` names the directory, as `.ci/release` sets it. Without it, these tests are skipped.

mod installer;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::machine::require_root;
use crate::harness::{Run, find, require_client, skip};
use crate::packages;
use crate::world::World;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The files that were built, and the fixture that gets tokens from them.
struct Dist {
    directory: PathBuf,
    world: World,
}

impl Dist {
    #[track_caller]
    fn find() -> Option<Dist> {
        let Some(directory) = std::env::var_os("YCRED_TEST_DIST").map(PathBuf::from) else {
            skip("YCRED_TEST_DIST is not set: nothing was built to be installed");
            return None;
        };
        assert!(directory.join("SHA256SUMS").is_file(), "{} has no SHA256SUMS", directory.display());
        Some(Dist { directory, world: World::new() })
    }

    /// Returns the files whose names match, in order.
    fn files(&self, matches: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let entries =
            fs::read_dir(&self.directory).expect("the directory").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<PathBuf> =
            entries.filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&matches)).collect();
        files.sort();
        files
    }

    /// Unpacks an archive and returns its directory.
    fn unpack(&self, archive: &Path) -> PathBuf {
        let place = self.world.sandbox.path("work");
        self.run("tar", ["-xzf", text(archive), "-C", text(&place)]);
        place.join(text(archive.file_name().expect("a name").as_ref()).trim_end_matches(".tar.gz"))
    }

    #[track_caller]
    fn run<const N: usize>(&self, program: &str, arguments: [&str; N]) -> Run {
        self.world.sandbox.call(program, arguments).run().succeeds()
    }

    /// Gets a token with this program, as kubectl would: one that the emulator has issued.
    #[track_caller]
    fn gets_a_token(&self, program: &Path) {
        let call = match emulator_for(program) {
            Some(emulator) => self.world.sandbox.call(emulator, [text(program), "kubectl"]),
            None => self.world.sandbox.call(program, ["kubectl"]),
        };
        self.is_token(&call.run().succeeds().stderr_is_empty());
    }

    #[track_caller]
    fn is_token(&self, run: &Run) {
        let reply: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
        let token = reply["status"]["token"].as_str().unwrap_or_default();
        assert!(self.world.emulator.tokens().iter().any(|issued| issued == token), "not a token\n{run}");
    }

    /// Gets a token with a program that has a directory tree of its own, as an ordinary user: `program` is its path
    /// there. The tree must contain nothing else that ycred needs, except what this function adds to it.
    #[track_caller]
    fn gets_a_token_in(&self, root: &Path, program: &str) {
        let config = root.join("config");
        fs::create_dir_all(&config).expect("a directory");
        fs::copy(self.world.sandbox.path("config/key.json"), config.join("key.json")).expect("a key");
        fs::write(config.join("default.toml"), self.world.settings()).expect("a profile");
        self.run("chmod", ["-R", "u=rwX,go=", text(&config)]);
        self.run("chown", ["-R", "65532:65532", text(&config)]);
        let user = ["--userspec=65532:65532", text(root), program, "kubectl"];
        let call = self.world.sandbox.call("chroot", user).env("YCRED_CONFIG_DIR", "/config");
        // No home and no temporary directory either: the token is not cached.
        let call = ["HOME", "TMPDIR", "YCRED_CACHE_DIR", "YCRED_STATE_DIR"]
            .into_iter()
            .fold(call, |call, name| call.without(name));
        self.is_token(&call.env("YCRED_CACHE_DIR", "/tmp/ycred").run().succeeds());
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Returns the emulator for a binary of another architecture.
fn emulator_for(program: &Path) -> Option<PathBuf> {
    let binary = fs::read(program).expect("the binary");
    // e_machine of aarch64 (elf.h).
    let is_foreign = binary.get(18..20) == Some(&[183, 0]) && cfg!(not(target_arch = "aarch64"));
    is_foreign.then(|| find("qemu-aarch64-static").expect("qemu-user-static is installed"))
}

fn is_archive(name: &str) -> bool {
    name.starts_with("ycred-v") && name.ends_with(".tar.gz")
}

#[test]
fn every_file_has_the_digest_in_the_list() {
    let Some(dist) = Dist::find() else { return };
    let listed = dist.world.sandbox.call("sha256sum", ["-c", "SHA256SUMS"]).within(&dist.directory).run().succeeds();
    let files = dist.files(|name| !matches!(name, "SHA256SUMS" | "manifests"));
    assert_eq!(listed.stdout.lines().count(), files.len(), "every file is listed\n{listed}");
    assert!(files.iter().any(|file| is_archive(text(file.file_name().expect("a name").as_ref()))), "{files:?}");
}

#[test]
fn every_archive_contains_what_it_says_and_gets_a_token() {
    let Some(dist) = Dist::find() else { return };
    for archive in dist.files(is_archive) {
        let root = dist.unpack(&archive);
        for file in
            ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "man/ycred.1", "completions/_ycred", "BUILD"]
        {
            assert!(root.join(file).is_file(), "{}: no {file}", archive.display());
        }
        for link in fs::read_to_string(root.join("links")).expect("the links").lines() {
            assert_eq!(fs::read_link(root.join(link)).expect(link), Path::new("ycred"), "{link}");
        }
        let dynamic = dist.run("readelf", ["--dynamic", "--program-headers", text(&root.join("ycred"))]);
        let is_static = !dynamic.stdout.contains("INTERP") && !dynamic.stdout.contains("NEEDED");
        assert_eq!(is_static, text(&archive).contains("-musl"), "{dynamic}");
        assert!(dynamic.stdout.contains("PIE"), "{dynamic}");
        dist.gets_a_token(&root.join("ycred"));
        fs::remove_dir_all(dist.world.sandbox.path("cache")).expect("a cache");
    }
}

/// The rest runs Wine, in the same way as all stories: `.ci/platforms`.
#[test]
fn the_zip_for_windows_contains_what_it_says_and_gets_a_token_under_wine() {
    let Some(dist) = Dist::find() else { return };
    for archive in dist.files(|name| name.starts_with("ycred-v") && name.ends_with("-windows-gnu.zip")) {
        let place = dist.world.sandbox.path("work");
        dist.run("python3", ["-m", "zipfile", "-e", text(&archive), text(&place)]);
        let root = place.join(text(archive.file_name().expect("a name").as_ref()).trim_end_matches(".zip"));
        for file in
            ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "man/ycred.1", "completions/_ycred.ps1"]
        {
            assert!(root.join(file).is_file(), "{}: no {file}", archive.display());
        }
        let build = fs::read_to_string(root.join("BUILD")).expect("BUILD");
        assert!(build.contains("target x86_64-pc-windows-gnu\n") && build.contains("\nmingw "), "{build}");
        let program = root.join("ycred.exe");
        let content = fs::read(&program).expect("the program");
        let links = fs::read_to_string(root.join("links")).expect("the links");
        assert!(links.lines().any(|link| link == "docker-credential-ycred"), "{links}");
        for link in links.lines() {
            assert!(fs::read(root.join(format!("{link}.exe"))).expect(link) == content, "{link} is not the program");
        }
        // MinGW's own libraries would be missing on a user's machine.
        if let Some(objdump) = require_client("x86_64-w64-mingw32-objdump") {
            let headers = dist.world.sandbox.call(objdump, ["-p", text(&program)]).run().succeeds();
            assert!(headers.stdout.contains("DLL Name: KERNEL32.dll"), "{headers}");
            for library in ["libgcc", "libwinpthread", "libstdc++"] {
                assert!(!headers.stdout.contains(&format!("DLL Name: {library}")), "{headers}");
            }
        }
        if require_client("wine").is_none() {
            continue;
        }
        let stories = ["token::a_token_is_fetched_once_and_then_cached", "hooks::docker_finds_the_helper_by_its_name"];
        let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/platforms"))
            .args(["windows", text(&program)])
            .args(stories)
            .output()
            .expect("it starts");
        let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && printed.contains("2 passed"), "{printed}");
    }
}

#[test]
fn the_static_binary_gets_a_token_in_an_empty_root() {
    if !require_root(&["chroot"]) {
        return;
    }
    let Some(dist) = Dist::find() else { return };
    let archives = dist.files(|name| is_archive(name) && name.contains("x86_64-unknown-linux-musl"));
    let [archive] = &archives[..] else { return skip("no static x86_64 build") };
    let root = dist.world.sandbox.path("work/root");
    fs::create_dir_all(root.join("tmp")).expect("a directory");
    dist.run("chmod", ["1777", text(&root.join("tmp"))]);
    fs::copy(dist.unpack(archive).join("ycred"), root.join("ycred")).expect("a copy");
    open_to_others(&dist);
    dist.gets_a_token_in(&root, "/ycred");
}

/// Lets other users enter the sandbox, where the roots are.
fn open_to_others(dist: &Dist) {
    dist.run("chmod", ["o+x", text(&dist.world.sandbox.path("")), text(&dist.world.sandbox.path("work"))]);
}

#[test]
fn the_debian_package_installs_works_and_is_removed() {
    if !require_root(&["dpkg", "lintian"]) {
        return;
    }
    let Some(dist) = Dist::find() else { return };
    for package in dist.files(|name| name.ends_with(".deb")) {
        dist.run(
            "lintian",
            [
                "--allow-root",
                "--fail-on",
                "error,warning,info",
                "--suppress-tags",
                "bad-distribution-in-changes-file",
                text(&package),
            ],
        );
        let root = dist.world.sandbox.path(format!("work/{}", text(package.file_stem().expect("a name").as_ref())));
        fs::create_dir_all(root.join("var/lib/dpkg/updates")).expect("a directory");
        fs::create_dir_all(root.join("var/lib/dpkg/info")).expect("a directory");
        for file in ["status", "available"] {
            fs::write(root.join("var/lib/dpkg").join(file), "").expect("a file");
        }
        let root_option = format!("--root={}", text(&root));
        let force = "--force-architecture,bad-path";
        dist.run("dpkg", [&root_option, force, "--install", text(&package)]);
        dist.gets_a_token(&root.join("usr/bin/ycred"));
        for link in ["docker-credential-ycred", "kubectl-ycred"] {
            assert_eq!(fs::read_link(root.join("usr/bin").join(link)).expect(link), Path::new("ycred"));
        }
        let name = if text(&package).ends_with("_arm64.deb") { "ycred:arm64" } else { "ycred" };
        dist.run("dpkg", [&root_option, force, "--purge", name]);
        assert!(!root.join("usr").exists(), "something is left in {}", root.join("usr").display());
    }
}

#[test]
fn the_rpm_package_installs_works_and_is_removed() {
    if !require_root(&["rpm"]) {
        return;
    }
    let Some(dist) = Dist::find() else { return };
    for package in dist.files(|name| name.ends_with(".rpm")) {
        dist.run("rpm", ["-K", text(&package)]).stdout_has("digests OK");
        let root = dist.world.sandbox.path(format!("work/{}", text(package.file_stem().expect("a name").as_ref())));
        fs::create_dir_all(&root).expect("a directory");
        dist.run("rpm", ["--root", text(&root), "--initdb"]);
        dist.run("rpm", ["--root", text(&root), "--ignorearch", "--install", text(&package)]);
        dist.gets_a_token(&root.join("usr/bin/ycred"));
        for link in ["docker-credential-ycred", "kubectl-ycred"] {
            assert_eq!(fs::read_link(root.join("usr/bin").join(link)).expect(link), Path::new("ycred"));
        }
        dist.run("rpm", ["--root", text(&root), "--erase", "ycred"]);
        assert!(
            !root.join("usr/bin/ycred").exists() && !root.join("usr/share/doc/ycred").exists(),
            "something is left"
        );
    }
}

#[test]
fn the_images_run_without_anything_else() {
    if !require_root(&["umoci", "chroot"]) {
        return;
    }
    let Some(dist) = Dist::find() else { return };
    for (name, program, user, files) in
        [("oci", "/ycred", "65532:65532", None), ("ci-oci", "/usr/local/bin/ycred", "", Some("/bin/sh"))]
    {
        let image = dist.directory.join(format!("ycred-v{VERSION}-{name}.tar"));
        let layout = dist.world.sandbox.path(format!("work/{name}"));
        fs::create_dir_all(&layout).expect("a directory");
        dist.run("tar", ["-xf", text(&image), "-C", text(&layout)]);
        let bundle = dist.world.sandbox.path(format!("work/{name}-bundle"));
        let reference = format!("{}:{VERSION}-amd64", text(&layout));
        dist.run("umoci", ["unpack", "--image", &reference, text(&bundle)]);
        let config: Value =
            serde_json::from_slice(&fs::read(bundle.join("config.json")).expect("a config")).expect("JSON");
        let (uid, gid) = (&config["process"]["user"]["uid"], &config["process"]["user"]["gid"]);
        if !user.is_empty() {
            assert_eq!(format!("{uid}:{gid}"), user);
        }
        let root = bundle.join("rootfs");
        if let Some(shell) = files {
            // As a CI system runs a job: a script in the image's shell, in namespaces of its own.
            let script = "set -e; ycred --version; test \"$(id -u)\" = 0; ls -l /usr/local/bin/docker-credential-ycred | grep -q ycred";
            dist.run(
                "unshare",
                [
                    "--mount",
                    "--pid",
                    "--fork",
                    "chroot",
                    text(&root),
                    shell,
                    "-c",
                    &format!("PATH=/usr/local/bin:/usr/bin:/bin; {script}"),
                ],
            )
            .stdout_has(VERSION);
        } else {
            let link = fs::read_link(root.join("docker-credential-ycred")).expect("a link");
            assert_eq!(link, Path::new("ycred"));
            // What a kubelet node or a sidecar does with it: the program copies itself and its links.
            let target = root.join("target");
            fs::create_dir(&target).expect("a directory");
            dist.run("chroot", [text(&root), "/ycred", "install", "/target"]);
            assert!(target.join("git-credential-ycred").exists());
        }
        open_to_others(&dist);
        dist.run("chmod", ["o+x", text(&bundle), text(&root)]);
        dist.gets_a_token_in(&root, program);
    }
}

#[test]
fn the_installer_checks_the_digest_and_removes_what_it_installed() {
    let Some(dist) = Dist::find() else { return };
    let script = dist.directory.join("install.sh");
    let prefix = dist.world.sandbox.path("work/prefix");
    let install = |more: &[&str]| {
        let arguments = [text(&script), "--prefix", text(&prefix)].into_iter().chain(more.iter().copied());
        dist.world.sandbox.call("sh", arguments).run()
    };
    install(&[]).succeeds().stdout_has(&format!("installed ycred {VERSION}"));
    dist.gets_a_token(&prefix.join("bin/ycred"));
    // Again, over a running version, and with another file of the user's beside it.
    install(&[]).succeeds();
    let other = prefix.join("bin/other");
    fs::write(&other, "").expect("a file");
    install(&["--remove"]).succeeds().stdout_has("removed ycred");
    let left = dist.run("find", [text(&prefix), "-mindepth", "1"]).stdout;
    assert_eq!(left, format!("{}\n{}\n", text(&prefix.join("bin")), text(&other)), "only the user's own file is left");
    fs::remove_file(other).expect("the file");
    install(&[]).succeeds();
    install(&["--remove"]).succeeds();
    assert!(!prefix.exists(), "the empty prefix is left");

    // A release in which the archive was replaced.
    let forged = dist.world.sandbox.path("work/forged");
    dist.run("cp", ["-r", text(&dist.directory), text(&forged)]);
    for archive in dist.files(is_archive) {
        fs::write(forged.join(archive.file_name().expect("a name")), "not the archive").expect("a file");
    }
    install(&["--from", text(&forged)]).fails().stderr_has("does not have the digest");
    assert!(!prefix.exists(), "something was installed");
}

#[test]
fn the_bill_of_materials_is_valid_and_names_the_crates() {
    let Some(dist) = Dist::find() else { return };
    let Some(bin) = packages::python(&["cyclonedx-python-lib[json-validation]==11.12.0"]) else { return };
    let check = dist.world.sandbox.script(
        "work/check.py",
        "#!/usr/bin/env python3\n\
         import sys\n\
         from cyclonedx.schema import SchemaVersion\n\
         from cyclonedx.validation.json import JsonStrictValidator\n\
         for path in sys.argv[1:]:\n\
         \x20   error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(path).read())\n\
         \x20   if error: sys.exit(f'{path}: {error}')\n",
    );
    let documents = dist.files(|name| name.ends_with(".cdx.json"));
    assert!(!documents.is_empty());
    for document in documents {
        dist.world.sandbox.call(bin.join("python"), [text(&check), text(&document)]).run().succeeds();
        let bom: Value = serde_json::from_slice(&fs::read(&document).expect("a document")).expect("JSON");
        let names: Vec<&str> =
            bom["components"].as_array().expect("components").iter().filter_map(|part| part["name"].as_str()).collect();
        for name in ["ring", "rustls", "ureq", "serde_json", "rust-std"] {
            assert!(names.contains(&name), "{}: no {name}", document.display());
        }
        assert!(!names.contains(&"ycred-emulator") && !names.contains(&"rsa"), "a dependency of the tests");
    }
}

#[test]
fn package_managers_accept_their_manifests() {
    let Some(dist) = Dist::find() else { return };
    let manifests = dist.directory.join("manifests");
    let manifest = |name: &str| manifests.join(name);
    if let Some(nix) = require_client("nix-instantiate") {
        let run = dist.world.sandbox.call(nix, ["--parse", text(&manifest("ycred.nix"))]).run().succeeds();
        assert!(run.stdout.contains("installPhase") && run.stdout.contains("kubectl-ycred"), "{run}");
    }
    // Homebrew itself is not available here: its formula is Ruby, run with stand-ins for the methods that it calls.
    if let Some(ruby) = require_client("ruby") {
        let stand_in = dist.world.sandbox.file("work/formula.rb", FORMULA);
        let run = dist.world.sandbox.call(ruby, [text(&stand_in), text(&manifest("ycred.rb"))]).run().succeeds();
        for line in ["install ycred", "link docker-credential-ycred", "link kubectl-ycred"] {
            assert!(run.stdout.lines().any(|printed| printed == line), "{run}");
        }
    }
    // The members that these two read; see their documentation of manifests.
    if let Some(bin) = packages::python(&["check-jsonschema==0.39.0"]) {
        for (name, schema) in [("ycred.yaml", KREW), ("ycred.json", SCOOP)] {
            let file = manifest(name);
            if name == "ycred.json" && dist.files(|name| name.contains("-windows-")).is_empty() {
                continue;
            }
            let schema = dist.world.sandbox.file(format!("work/{name}.schema"), schema);
            let arguments = ["--schemafile", text(&schema), text(&file)];
            dist.world.sandbox.call(bin.join("check-jsonschema"), arguments).run().succeeds();
        }
    }
}

#[test]
fn the_manifest_for_arch_linux_builds_a_package() {
    if !require_root(&["makepkg", "setpriv"]) {
        return;
    }
    let Some(dist) = Dist::find() else { return };
    let work = dist.world.sandbox.path("work/aur");
    fs::create_dir_all(&work).expect("a directory");
    let archive = dist.directory.join(format!("ycred-v{VERSION}-x86_64-unknown-linux-musl.tar.gz"));
    if !archive.exists() {
        return skip("no static x86_64 build");
    }
    fs::copy(&archive, work.join(archive.file_name().expect("a name"))).expect("a copy");
    // The archive lies beside the manifest, where makepkg looks before it downloads.
    fs::copy(dist.directory.join("manifests/PKGBUILD"), work.join("PKGBUILD")).expect("a copy");
    open_to_others(&dist);
    dist.run("chown", ["-R", "65534:65534", text(&work)]);
    // makepkg refuses to run as root.
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups", "makepkg"];
    let makepkg = |more: &[&str]| {
        let call = dist.world.sandbox.call("setpriv", user.iter().chain(more)).within(&work).env("HOME", &work);
        call.env("PKGEXT", ".pkg.tar").env("CARCH", "x86_64").env("TMPDIR", &work).run().succeeds()
    };
    makepkg(&["--printsrcinfo"]).stdout_has(&format!("pkgver = {VERSION}"));
    makepkg(&["--nodeps", "--force", "--noconfirm"]);
    let root = work.join("root");
    fs::create_dir(&root).expect("a directory");
    let package = work.join(format!("ycred-bin-{VERSION}-1-x86_64.pkg.tar"));
    dist.run("tar", ["-xf", text(&package), "-C", text(&root)]);
    dist.gets_a_token(&root.join("usr/bin/ycred"));
    assert_eq!(fs::read_link(root.join("usr/bin/kubectl-ycred")).expect("a link"), Path::new("ycred"));
}

/// Makes three directories as `packaging/release` does, each with one archive, and the installer that they share.
const THREE_MACHINES: &str = r#"
set -eu
export SOURCE_DATE_EPOCH=1700000000
for file in linux/x86_64-unknown-linux-musl.tar.gz mac/aarch64-apple-darwin.tar.gz windows/x86_64-pc-windows-msvc.zip; do
    machine=${file%/*} archive=ycred-v1.2.3-${file#*/}
    name=${archive%.tar.gz} name=${name%.zip}
    mkdir -p "$machine" "stage/$name"
    printf 'docker-credential-ycred\n' >"stage/$name/links"
    echo "$machine" >"stage/$name/ycred"
    "$TOOLS/archive" stage "$name" "$machine/$archive"
    echo installer >"$machine/install.sh"
    "$TOOLS/digests" "$machine"
done
"#;

#[test]
fn the_files_of_several_machines_are_put_together_unless_one_was_changed() {
    let world = World::new();
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let work = world.sandbox.path("work");
    let script = world.sandbox.call("bash", ["-c", THREE_MACHINES]).within(&work).env("TOOLS", packaging.join("tools"));
    script.run().succeeds();
    let collect = |output: &str| {
        let arguments = [output, "linux", "mac", "windows"];
        let call = world.sandbox.call(packaging.join("collect"), arguments).within(&work);
        call.env("YCRED_RELEASE_URL", "https://example.com/download").run()
    };
    let listed = collect("all").succeeds().stdout;
    // Three archives, one installer and five manifests: every file that is published.
    let published = fs::read_dir(work.join("all")).expect("a directory").count() - 1;
    assert_eq!((listed.lines().count(), published), (9, 9), "{listed}");
    world.sandbox.call("sha256sum", ["-c", "--strict", "SHA256SUMS"]).within(work.join("all")).run().succeeds();
    let read = |path: &str| fs::read_to_string(work.join(path)).expect(path);
    for archive in ["linux-musl.tar.gz", "apple-darwin.tar.gz", "windows-msvc.zip"] {
        assert!(read("all/ycred.yaml").contains(archive), "{archive}");
    }
    assert!(read("all/ycred.rb").contains("aarch64-apple-darwin"));
    assert!(read("all/ycred.json").contains("https://example.com/download/ycred-v1.2.3-x86_64-pc-windows-msvc.zip"));

    // A file that was changed after it was built.
    fs::write(work.join("mac/install.sh"), "another installer\n").expect("written");
    collect("changed").fails().stdout_has("install.sh: FAILED");
    // With the digest changed too, it is still another one than that of the other machines.
    world.sandbox.call(packaging.join("tools/digests"), ["mac"]).within(&work).run().succeeds();
    collect("other").fails().stdout_has("differ");
    assert!(!work.join("other/SHA256SUMS").exists() && !work.join("changed/SHA256SUMS").exists());
}

/// Runs a Homebrew formula: prints what it would install, and fails for a method that Homebrew's formulae do not have.
const FORMULA: &str = r#"
class Formula
  class << self
    %i[desc homepage version license url].each { |name| define_method(name) { |value| raise name.to_s if value.to_s.empty? } }
    def sha256(value) = value.match?(/\A[0-9a-f]{64}\z/) || raise("sha256")
    %i[on_linux on_macos on_intel on_arm].each { |name| define_method(name) { |&block| block.call } }
    def test(&block) = @test = block
  end
  class Place
    def install(*files) = files.each { |file| puts "install #{file}" }
    def install_symlink(links) = links.each { |from, to| puts "link #{to}" }
  end
  %i[bin doc man1 bash_completion zsh_completion fish_completion].each { |name| define_method(name) { Place.new } }
end
load ARGV[0]
Ycred.new.install
"#;

/// What scoop requires of a manifest (its documentation, "App Manifests").
const SCOOP: &str = r#"{
  "type": "object", "required": ["version", "homepage", "license", "architecture", "bin"], "additionalProperties": false,
  "properties": {
    "version": {"pattern": "^[\\w\\-.+_]+$"}, "description": {"type": "string"}, "homepage": {"type": "string", "format": "uri"},
    "license": {"const": "MIT|Apache-2.0"},
    "architecture": {"type": "object", "required": ["64bit"], "additionalProperties": false, "properties": {"64bit": {
      "type": "object", "required": ["url", "hash", "extract_dir"], "additionalProperties": false,
      "properties": {
        "url": {"pattern": "\\.zip$"}, "hash": {"pattern": "^[0-9a-f]{64}$"}, "extract_dir": {"pattern": "^ycred-v[^/]+$"}
      }}}},
    "bin": {"type": "array", "minItems": 2, "uniqueItems": true, "items": {"pattern": "^[a-z-]+\\.exe$"},
      "contains": {"const": "docker-credential-ycred.exe"}}
  }}"#;

/// What krew requires of a manifest (its documentation, "Writing Krew plugin manifests").
const KREW: &str = r#"{
  "type": "object", "required": ["apiVersion", "kind", "metadata", "spec"], "additionalProperties": false,
  "properties": {
    "apiVersion": {"const": "krew.googlecontainertools.github.com/v1alpha2"}, "kind": {"const": "Plugin"},
    "metadata": {"type": "object", "required": ["name"], "properties": {"name": {"pattern": "^[a-z0-9-]+$"}}},
    "spec": {
      "type": "object", "required": ["version", "homepage", "shortDescription", "platforms"], "additionalProperties": false,
      "properties": {
        "version": {"pattern": "^v[0-9]+\\.[0-9]+\\.[0-9]+"}, "homepage": {"type": "string", "minLength": 1},
        "shortDescription": {"type": "string", "minLength": 1, "maxLength": 50}, "description": {"type": "string"},
        "caveats": {"type": "string"},
        "platforms": {"type": "array", "minItems": 1, "items": {
          "type": "object", "required": ["selector", "uri", "sha256", "bin"], "additionalProperties": false,
          "properties": {
            "uri": {"pattern": "\\.(tar\\.gz|zip)$"}, "sha256": {"pattern": "^[0-9a-f]{64}$"}, "bin": {"enum": ["ycred", "ycred.exe"]},
            "files": {"type": "array", "items": {"type": "object", "required": ["from", "to"]}},
            "selector": {"type": "object", "required": ["matchLabels"], "properties": {"matchLabels": {
              "type": "object", "required": ["os", "arch"],
              "properties": {"os": {"enum": ["linux", "darwin", "windows"]}, "arch": {"enum": ["amd64", "arm64"]}}}}}
          }}}
      }}
  }}"#;
