//! Unpacks, installs and uses each file that `packaging/release` makes: a token comes from every one of them.
//!
//! `YCRED_TEST_DIST` names the directory, as `.ci/release` sets it. Without it, these tests are skipped.

mod installer;
mod making;
mod manifests;

use std::collections::BTreeSet;
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
    /// there, after that of an emulator if one is needed. The tree must contain nothing else that ycred needs, except what this function adds to it.
    #[track_caller]
    fn gets_a_token_in(&self, root: &Path, program: &[&str]) {
        let config = root.join("config");
        fs::create_dir_all(&config).expect("a directory");
        fs::copy(self.world.sandbox.path("config/key.json"), config.join("key.json")).expect("a key");
        fs::write(config.join("default.toml"), self.world.settings()).expect("a profile");
        self.run("chmod", ["-R", "u=rwX,go=", text(&config)]);
        self.run("chown", ["-R", "65532:65532", text(&config)]);
        let call =
            self.world.sandbox.call("chroot", ["--userspec=65532:65532", text(root)]).and(program).and(["kubectl"]);
        let call = call.env("YCRED_CONFIG_DIR", "/config");
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

/// Fails unless the notices of a program have those of the crates that are linked in every program.
#[track_caller]
fn has_notices(notices: &Path, artefact: &Path) {
    let text = fs::read_to_string(notices).unwrap_or_else(|error| panic!("{}: {error}", artefact.display()));
    for part in [
        "ring 0.17",
        "option-ext 0.2",
        "rustls-webpki 0.103",
        "webpki-roots 1",
        "rust-std 1.",
        "BoringSSL",
        "Mozilla Public",
    ] {
        assert!(text.contains(part), "{}: no notice of {part}", artefact.display());
    }
    // They run during the build alone.
    assert!(
        !text.contains("\nsyn 2") && !text.contains("\ncc 1") && !text.contains("unicode-ident"),
        "{}",
        artefact.display()
    );
}

/// Fails unless a package has each page of its archive, packed and with the same content.
#[track_caller]
fn has_pages(dist: &Dist, root: &Path, package: &Path) {
    let machine =
        if text(package).contains("x86_64") || text(package).contains("amd64") { "x86_64" } else { "aarch64" };
    let archives = dist.files(|name| is_archive(name) && name.contains(&format!("{machine}-unknown-linux-musl")));
    let [archive] = &archives[..] else { panic!("{archives:?}") };
    let pages = fs::read_dir(dist.unpack(archive).join("man")).expect("the pages");
    let pages: Vec<PathBuf> = pages.map(|entry| entry.expect("a page").path()).collect();
    assert!(pages.len() > 20, "{pages:?}");
    for page in pages {
        let name = text(page.file_name().expect("a name").as_ref()).to_owned();
        let packed = root.join(format!("usr/share/man/man1/{name}.gz"));
        assert!(packed.is_file() && !packed.is_symlink(), "{}: no {name}", package.display());
        let unpacked = dist.run("gunzip", ["-c", text(&packed)]).stdout;
        assert_eq!(unpacked, fs::read_to_string(&page).expect("a page"), "{}: {name}", package.display());
    }
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
        has_notices(&root.join("THIRD-PARTY-LICENSES"), &archive);
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
        has_notices(&root.join("THIRD-PARTY-LICENSES"), &archive);
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
    dist.gets_a_token_in(&root, &["/ycred"]);
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
        let notices = root.join("usr/share/doc/ycred/THIRD-PARTY-LICENSES");
        dist.run("gunzip", ["-k", text(&notices.with_extension("gz"))]);
        has_notices(&notices, &package);
        fs::remove_file(notices).expect("the copy");
        has_pages(&dist, &root, &package);
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
        // What every system has.
        for directory in ["bin", "share/man/man1", "share/doc", "share/licenses"] {
            fs::create_dir_all(root.join("usr").join(directory)).expect("a directory");
        }
        let below_usr = || dist.run("find", [text(&root.join("usr"))]).stdout;
        let before = below_usr();
        dist.run("rpm", ["--root", text(&root), "--initdb"]);
        dist.run("rpm", ["--root", text(&root), "--ignorearch", "--install", text(&package)]);
        has_pages(&dist, &root, &package);
        has_notices(&root.join("usr/share/licenses/ycred/THIRD-PARTY-LICENSES"), &package);
        dist.gets_a_token(&root.join("usr/bin/ycred"));
        for link in ["docker-credential-ycred", "kubectl-ycred"] {
            assert_eq!(fs::read_link(root.join("usr/bin").join(link)).expect(link), Path::new("ycred"));
        }
        dist.run("rpm", ["--root", text(&root), "--erase", "ycred"]);
        let (before, after) = (before.lines(), below_usr());
        let before: BTreeSet<&str> = before.collect();
        let left: Vec<&str> =
            after.lines().filter(|path| !before.contains(path) && !path.contains("/usr/lib")).collect();
        assert!(left.is_empty(), "{left:?} is left");
    }
}

#[test]
fn the_images_run_without_anything_else() {
    if !require_root(&["umoci", "chroot"]) {
        return;
    }
    let Some(dist) = Dist::find() else { return };
    let kinds = [("oci", "/ycred", "65532:65532", None), ("ci-oci", "/usr/local/bin/ycred", "", Some("/bin/sh"))];
    for ((name, program, user, files), architecture) in
        kinds.into_iter().flat_map(|kind| [(kind, "amd64"), (kind, "arm64")])
    {
        let image = dist.directory.join(format!("ycred-v{VERSION}-{name}.tar"));
        let layout = dist.world.sandbox.path(format!("work/{name}-{architecture}"));
        fs::create_dir_all(&layout).expect("a directory");
        dist.run("tar", ["-xf", text(&image), "-C", text(&layout)]);
        let bundle = dist.world.sandbox.path(format!("work/{name}-{architecture}-bundle"));
        let index = fs::read_to_string(layout.join("index.json")).expect("an index");
        if !index.contains(&format!("\"{VERSION}-{architecture}\"")) {
            // Not each architecture was built.
            continue;
        }
        let reference = format!("{}:{VERSION}-{architecture}", text(&layout));
        dist.run("umoci", ["unpack", "--image", &reference, text(&bundle)]);
        let config: Value =
            serde_json::from_slice(&fs::read(bundle.join("config.json")).expect("a config")).expect("JSON");
        let (uid, gid) = (&config["process"]["user"]["uid"], &config["process"]["user"]["gid"]);
        if !user.is_empty() {
            assert_eq!(format!("{uid}:{gid}"), user);
        }
        let root = bundle.join("rootfs");
        has_notices(&root.join("usr/share/doc/ycred/THIRD-PARTY-LICENSES"), &image);
        assert!(root.join("usr/share/doc/ycred/LICENSE-MIT").is_file(), "{}", image.display());
        if architecture == "arm64" {
            // Nothing of another architecture can be run in the root but by the emulator.
            let emulator = find("qemu-aarch64-static").expect("qemu-user-static is installed");
            fs::copy(emulator, root.join("emulator")).expect("a copy");
            open_to_others(&dist);
            dist.run("chmod", ["o+x", text(&bundle), text(&root)]);
            dist.gets_a_token_in(&root, &["/emulator", program]);
            continue;
        }
        if let Some(shell) = files {
            // The license of busybox asks for its text and for a way to its source.
            let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
            assert!(read("usr/share/common-licenses/GPL-2").contains("Version 2, June 1991"));
            assert!(read("usr/share/doc/busybox-static/SOURCE").contains("apt-get source busybox="));
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
        dist.gets_a_token_in(&root, &[program]);
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
    // Where nothing was before, nothing is left.
    fs::remove_dir_all(&prefix).expect("the directory");
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
        let components = bom["components"].as_array().expect("components");
        let target = bom["metadata"]["component"]["properties"][0]["value"].as_str().expect("a target");
        // Exactly the crates that cargo links, with the features of the shipped program.
        let named = |excluded: bool| -> BTreeSet<String> {
            let crates =
                components.iter().filter(|part| part["purl"].is_string() && (part["scope"] == "excluded") == excluded);
            crates.map(|part| format!("{} v{}", part["name"], part["version"]).replace('"', "")).collect()
        };
        let linked = tree(&dist, target, "normal,no-proc-macro");
        assert_eq!(named(false), linked, "{}", document.display());
        assert_eq!(named(true), &tree(&dist, target, "normal,build") - &linked, "{}", document.display());
        let names: Vec<&str> = components.iter().filter_map(|part| part["name"].as_str()).collect();
        let runtimes: &[&str] = match target {
            _ if target.ends_with("-musl") => &["rust-std", "musl", "libzigc", "compiler_rt", "llvm-libunwind"],
            "x86_64-unknown-linux-gnu" => &["rust-std", "libc_nonshared", "compiler_rt", "llvm-libunwind"],
            "x86_64-pc-windows-gnu" => &["rust-std", "libgcc", "mingw-w64-runtime", "winpthreads"],
            _ => &["rust-std"],
        };
        for name in runtimes {
            assert!(names.contains(name), "{}: no {name}", document.display());
        }
    }
}

/// Returns the crates that make ycred, as `cargo tree` prints them, without ycred itself.
fn tree(dist: &Dist, target: &str, edges: &str) -> BTreeSet<String> {
    let arguments = [
        "tree",
        "--offline",
        "--locked",
        "-p",
        "ycred",
        "-e",
        edges,
        "--target",
        target,
        "--prefix",
        "none",
        "-f",
        "{p}",
    ];
    // The crates are those of the build, in the user's own directory.
    let home = std::env::var("HOME").expect("HOME");
    let call = dist.world.sandbox.call("cargo", arguments).within(env!("CARGO_MANIFEST_DIR")).env("HOME", home);
    let lines = call.run().succeeds().stdout;
    let crates = lines.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    crates.filter(|name| !name.starts_with("ycred ")).collect()
}
