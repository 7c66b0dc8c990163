//! The scripts that make a release, with small files in place of what takes minutes to build.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::machine::require_root;
use crate::harness::{Run, Sandbox, require_client};

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

/// Stands in for zig: prints a link line, and "compiles" a file by copying it.
const ZIG: &str = r#"#!/bin/sh
case " $* " in
    *" --verbose "*)
        touch "$PWD/rcrt1.o" "$PWD/libc.a"
        echo "ld.lld -pie $PWD/rcrt1.o $PWD/empty.o $PWD/libc.a -o empty"
        ;;
    *)
        while [ $# -gt 0 ]; do
            case $1 in -c) source=$2 ;; -o) output=$2 ;; esac
            shift
        done
        cp "$source" "$output"
        ;;
esac
"#;

/// Builds the C library in a copy of the repository, again, and after each change of a tool. Prints the directory.
const CHANGED_TOOLS: &str = r#"
set -euo pipefail
git init --quiet copy
cp -r "$PACKAGING" copy/packaging
cd copy
git add .
source packaging/tools/lib
mkdir work
library() {
    local directory
    directory=$(build_directory work)
    prepare_libraries x86_64-unknown-linux-musl "$directory/libraries" 2>/dev/null
    cmp packaging/tools/start.c "$directory/libraries/start.o"
    echo "$directory"
}
library
library
for tool in start.c ld order hit-functions pins cc; do
    echo >>packaging/tools/$tool
    library
done
ls work
"#;

#[test]
fn a_changed_tool_is_not_answered_with_what_the_old_one_has_built() {
    let sandbox = Sandbox::new();
    let zig = sandbox.script("work/zig", ZIG);
    let call = sandbox.call("bash", ["-c", CHANGED_TOOLS]).env("PACKAGING", packaging()).env("YCRED_ZIG", zig);
    let run = call.env("YCRED_ZIG_TARGET", "x86_64-linux-musl").run().succeeds();
    let mut directories: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(directories.len(), 9, "{run}");
    assert_eq!(directories[0], directories[1], "an unchanged tool is not built again");
    assert_eq!(format!("work/{}", directories[8]), directories[7], "what earlier states have left is removed");
    directories.truncate(8);
    directories.dedup();
    assert_eq!(directories.len(), 7, "{run}");
}

#[test]
fn only_the_tag_of_the_version_and_a_plain_url_get_into_scripts_and_manifests() {
    let sandbox = Sandbox::new();
    let release = |name: &str, value: &str| {
        let call = sandbox.call(packaging().join("release"), ["no-such-target"]).env(name, value);
        call.env("CARGO_TARGET_DIR", sandbox.path("work/target")).run().fails()
    };
    for tag in
        ["v9.9.9", "v1;touch${IFS}here", concat!("v", env!("CARGO_PKG_VERSION"), "\n"), env!("CARGO_PKG_VERSION")]
    {
        release("YCRED_RELEASE_TAG", tag).stderr_has("the tag of the version in Cargo.toml");
    }
    for url in
        ["https://example.com/?a=1&b=2", "https://example.com/'$(id)'", "https://example.com/|e", "ftp://example.com/"]
    {
        release("YCRED_RELEASE_URL", url).stderr_has("expected a URL without a query");
    }
    release("YCRED_RELEASE_TAG", concat!("v", env!("CARGO_PKG_VERSION"))).stderr_has("no-such-target");
    let url = "https://example.com/ycred/releases/download/v1.0.0-rc.1+linux";
    release("YCRED_RELEASE_URL", url).stderr_has("no-such-target");
    assert!(!sandbox.path("work/target").exists(), "nothing is made for a wrong name");
}

/// Makes an archive and packages of a version before a release, as `packaging/release` does, from small files.
const PACKAGES: &str = r#"
set -euo pipefail
cd "$PACKAGING/.."
source packaging/tools/lib
export SOURCE_DATE_EPOCH=1700000000 LC_ALL=C
umask 022
cd "$WORK"
name=ycred-v$VERSION-x86_64-unknown-linux-musl
mkdir -p "stage/$name/man" "stage/$name/completions" dist
for file in ycred man/ycred{,-pnpm,-token}.1 completions/{ycred.bash,_ycred,ycred.fish} README.md CHANGELOG.md LICENSE-{APACHE,MIT} THIRD-PARTY-LICENSES; do
    echo "$file" >"stage/$name/$file"
done
chmod 755 "stage/$name/ycred"
printf '%s\n' docker-credential-ycred ycred-pnpm >"stage/$name/links"
echo 'licenses MIT AND ISC' >"stage/$name/BUILD"
pack stage "$name" "dist/$name.tar.gz"
"$tools/deb" x86_64-unknown-linux-musl "$VERSION" "stage/$name" dist
"$tools/rpm" x86_64-unknown-linux-musl "$VERSION" "stage/$name" dist
"$tools/digests" dist
"$PACKAGING/manifests" dist https://example.com
"#;

/// Runs the script above in a directory.
#[track_caller]
fn make_packages(sandbox: &Sandbox, work: &Path) -> Run {
    make_packages_with(sandbox, work, work, "exec bash -c")
}

/// Runs the script above with another directory for temporary files, as the last argument of a command.
#[track_caller]
fn make_packages_with(sandbox: &Sandbox, work: &Path, temporary: &Path, command: &str) -> Run {
    let command = format!("{command} \"$SCRIPT\"");
    let call = sandbox.call("sh", ["-c", &command]).env("PACKAGING", packaging()).env("WORK", work);
    call.env("SCRIPT", PACKAGES).env("VERSION", "0.2.0-rc.1").env("TMPDIR", temporary).run().succeeds()
}

#[test]
fn a_version_before_a_release_is_older_in_each_package_format() {
    if require_client("rpmbuild").is_none() || require_client("dpkg-deb").is_none() {
        return;
    }
    let sandbox = Sandbox::new();
    let work = sandbox.path("work");
    make_packages(&sandbox, &work);
    let dist = work.join("dist");
    // The names keep the version, because hosts of releases change a tilde in the name of a file.
    let [deb, rpm] = ["ycred_0.2.0-rc.1-1_amd64.deb", "ycred-0.2.0-rc.1-1.x86_64.rpm"].map(|name| dist.join(name));
    let run = sandbox.call("dpkg-deb", [Path::new("--field"), &deb, Path::new("Version")]).run().succeeds();
    assert_eq!(run.stdout, "0.2.0~rc.1-1\n");
    let query = ["-qp", "--queryformat", "%{VERSION} %{LICENSE}"].map(Path::new);
    let run = sandbox.call("rpm", query).and([&rpm]).run().succeeds();
    assert_eq!(run.stdout, "0.2.0~rc.1 MIT AND ISC");
    let manifest = fs::read_to_string(dist.join("manifests/PKGBUILD")).expect("a manifest");
    assert!(
        manifest.contains("\npkgver=0.2.0rc.1\n") && manifest.contains("cd \"ycred-v0.2.0-rc.1-$CARCH-"),
        "{manifest}"
    );
}

#[test]
fn a_shared_directory_and_the_users_own_macros_change_no_package() {
    if require_client("rpmbuild").is_none() || require_client("dpkg-deb").is_none() {
        return;
    }
    let [ordinary, shared] = [Sandbox::new(), Sandbox::new()];
    make_packages(&ordinary, &ordinary.path("work"));
    shared.file("home/.rpmmacros", "%vendor Somebody\n%packager Somebody\n");
    let work = shared.path("work/shared");
    fs::create_dir(&work).expect("a directory");
    shared.call("chmod", [Path::new("2770"), &work]).run().succeeds();
    make_packages(&shared, &work);
    let sums = |dist: PathBuf| fs::read_to_string(dist.join("SHA256SUMS")).expect("the digests");
    let expected = sums(ordinary.path("work/dist"));
    assert_eq!(expected.lines().count(), 3, "{expected}");
    assert_eq!(sums(work.join("dist")), expected);
}

#[test]
fn each_page_of_the_archive_is_in_the_packages() {
    if ["rpmbuild", "dpkg-deb", "bsdtar"].into_iter().any(|tool| require_client(tool).is_none()) {
        return;
    }
    let sandbox = Sandbox::new();
    let work = sandbox.path("work");
    make_packages(&sandbox, &work);
    let unpack = "mkdir deb rpm && dpkg-deb -x dist/*.deb deb && bsdtar -xf dist/*.rpm -C rpm && \
                  find deb rpm -type f -name '*.1.gz' -exec gunzip -k {} + && ls -l deb/usr/share/man/man1";
    let listed = sandbox.call("sh", ["-c", unpack]).run().succeeds();
    for page in ["ycred", "ycred-pnpm", "ycred-token"] {
        for package in ["deb", "rpm"] {
            let path = work.join(package).join(format!("usr/share/man/man1/{page}.1"));
            let content =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}\n{listed}", path.display()));
            assert_eq!(content, format!("man/{page}.1\n"), "{package}\n{listed}");
        }
    }
    // The other names have that of the program.
    let link = fs::read_link(work.join("deb/usr/share/man/man1/docker-credential-ycred.1.gz")).expect("a link");
    assert_eq!(link, Path::new("ycred.1.gz"));
}

#[test]
fn the_file_system_of_temporary_files_changes_no_package() {
    if require_client("rpmbuild").is_none() || require_client("dpkg-deb").is_none() || !require_root(&["unshare"]) {
        return;
    }
    let [here, memory] = [Sandbox::new(), Sandbox::new()];
    make_packages(&here, &here.path("work"));
    let temporary = memory.path("work/memory");
    fs::create_dir(&temporary).expect("a directory");
    // A directory has another size there.
    let mounted = "exec unshare --mount sh -c 'mount -t tmpfs none \"$TMPDIR\" && exec bash -c \"$1\"' sh";
    make_packages_with(&memory, &memory.path("work"), &temporary, mounted);
    let sums = |sandbox: &Sandbox| fs::read_to_string(sandbox.path("work/dist/SHA256SUMS")).expect("the digests");
    assert_eq!(sums(&memory), sums(&here));
    assert_eq!(sums(&here).lines().count(), 3);
}

/// The crates of the standard library in the bill of materials are those of the pinned version.
#[test]
fn the_bill_of_materials_has_the_crates_of_the_standard_library_that_is_installed() {
    let lock = Path::new("/usr/lib/rustlib/src/rust/library/Cargo.lock");
    let Ok(lock) = fs::read_to_string(lock) else {
        return crate::harness::skip("the source of the standard library is not installed");
    };
    let sandbox = Sandbox::new();
    let script = "import linked; [print(*crate) for crate in linked.STANDARD_LIBRARY.items()]";
    let call = sandbox.call("python3", ["-B", "-c", script]).env("PYTHONPATH", packaging().join("tools"));
    let listed = call.run().succeeds().stdout;
    assert!(listed.lines().count() >= 10, "{listed}");
    for line in listed.lines() {
        let (name, version) = line.split_once(' ').expect("a name and a version");
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&entry), "{line} is not in the lock file");
    }
}

/// A repository whose release is one small archive, and archives of three commits: of `main`, of a later one on it, and of a
/// branch that was only fetched. The fourth has the standard library of rustup.
const REPOSITORY: &str = r#"
set -eu
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.com GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.com
git init --quiet --initial-branch main repository
cd repository
mkdir -p packaging/tools
cp "$PACKAGING/verify" packaging/
cp "$PACKAGING/tools/lib" "$PACKAGING/tools/pins" packaging/tools/
cat >packaging/release <<'END'
#!/bin/sh
set -eu
commit=$(git rev-parse HEAD)
for target in "$@"; do
    name=ycred-v1.0.0-$target
    mkdir -p "$CARGO_TARGET_DIR/dist" "$CARGO_TARGET_DIR/stage/$name"
    cd "$CARGO_TARGET_DIR/stage/$name"
    echo program >ycred
    chmod 755 ycred
    ln -sf ycred docker-credential-ycred
    printf 'version 1.0.0\ntarget %s\ncommit %s\nstandard-library %s\npackages llvm=1:1 rustc=%s\n' \
        "$target" "$commit" "${YCRED_BUILD_STD:+source}${YCRED_RUSTUP:+rustup}" "$(cat "$HOME/rustc" 2>/dev/null || echo 1)" >BUILD
    cd ..
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - "$name" | gzip -n >"../dist/$name.tar.gz"
    cd ../dist
    echo "$target" >"$name.cdx.json"
    case $target in
        x86_64-*) echo deb >ycred_1.0.0-1_amd64.deb; echo rpm >ycred-1.0.0-1.x86_64.rpm ;;
        aarch64-*) echo deb >ycred_1.0.0-1_arm64.deb ;;
    esac
done
tar --mtime=@0 --owner=0 --group=0 -cf ycred-v1.0.0-oci.tar ../stage
printf "url='%s'\n" "${YCRED_RELEASE_URL-}" >install.sh
END
chmod 755 packaging/release
git add .
build() {
    CARGO_TARGET_DIR=$PWD/../$1 YCRED_RELEASE_URL=https://example.com/v1 packaging/release x86_64-unknown-linux-musl aarch64-unknown-linux-musl
}
git commit --quiet -m first
YCRED_BUILD_STD=1 build first
YCRED_RUSTUP=1 build rustup
git checkout --quiet -b fetched
git commit --quiet --allow-empty -m fetched
YCRED_BUILD_STD=1 build fetched
git checkout --quiet main
git commit --quiet --allow-empty -m later
YCRED_BUILD_STD=1 build later
"#;

const ARCHIVE: &str = "ycred-v1.0.0-x86_64-unknown-linux-musl.tar.gz";

struct Releases {
    sandbox: Sandbox,
}

impl Releases {
    fn new() -> Releases {
        let sandbox = Sandbox::new();
        sandbox.call("bash", ["-c", REPOSITORY]).env("PACKAGING", packaging()).run().succeeds();
        Releases { sandbox }
    }

    fn git(&self, arguments: &[&str]) {
        self.sandbox.call("git", arguments).within(self.sandbox.path("work/repository")).run().succeeds();
    }

    fn verify(&self, of: &str) -> Run {
        self.verify_files(of, &[ARCHIVE])
    }

    fn verify_files(&self, of: &str, names: &[&str]) -> Run {
        let files = names.iter().map(|name| self.sandbox.path(format!("work/{of}/dist/{name}")));
        // What a machine has installed does not decide which standard library is used.
        let call = self.sandbox.call(self.sandbox.path("work/repository/packaging/verify"), files);
        call.env("YCRED_RUSTUP", if of == "rustup" { "" } else { "1" }).run()
    }

    /// Changes an archive.
    #[track_caller]
    fn change(&self, script: &str) {
        let name = ARCHIVE.trim_end_matches(".tar.gz");
        let script = format!(
            "set -eu; rm -rf changed; mkdir -p changed/dist; tar -xzf first/dist/{ARCHIVE} -C changed; cd changed; \
             (cd {name}; {script}); tar --owner=0 --group=0 --mtime=@0 -czf dist/{ARCHIVE} --exclude=./dist --transform='s|^./||' ."
        );
        self.sandbox.call("bash", ["-c", &script]).run().succeeds();
    }
}

#[test]
fn an_archive_is_checked_against_the_commit_of_its_tag_alone() {
    let releases = Releases::new();
    // Before there is a tag.
    releases.verify("first").succeeds().stdout_has("the same bytes").stdout_has("no tag v1.0.0");
    releases.verify("fetched").fails().stderr_has("is not in the history of HEAD").stdout_is("");
    releases.git(&["tag", "v1.0.0", "main^"]);
    releases.verify("first").succeeds().stdout_has("the same bytes").stdout_has("(tag v1.0.0)");
    for other in ["later", "fetched"] {
        releases.verify(other).fails().stderr_has("but the tag v1.0.0 is").stdout_is("");
    }
    // An archive of a fetched commit that was given the right commit in BUILD.
    releases.change("echo another >ycred");
    releases.verify("changed").exits(1).stdout_has("ycred differ");
}

#[test]
fn an_archive_is_built_again_with_the_standard_library_that_it_has() {
    let releases = Releases::new();
    releases.verify("rustup").succeeds().stdout_has("the same bytes");
    releases.change("sed -i /standard-library/d BUILD");
    releases.verify("changed").fails().stderr_has("does not say where the standard library is from");
}

#[test]
fn every_file_of_a_release_is_checked_with_the_archive_beside_it() {
    let releases = Releases::new();
    let names = [
        "ycred-v1.0.0-aarch64-unknown-linux-musl.cdx.json",
        "ycred_1.0.0-1_arm64.deb",
        "ycred-1.0.0-1.x86_64.rpm",
        "ycred-v1.0.0-oci.tar",
        "install.sh",
    ];
    let run = releases.verify_files("first", &names).succeeds();
    for name in names {
        assert!(run.stdout.contains(&format!("{name}: the same bytes")), "{run}");
        assert!(releases.verify_files("first", &[name]).succeeds().stdout.lines().count() == 1);
    }
    let file = |name: &str| releases.sandbox.path(format!("work/first/dist/{name}"));
    for name in ["ycred_1.0.0-1_arm64.deb", "install.sh"] {
        let content = fs::read_to_string(file(name)).expect("a file");
        fs::write(file(name), format!("{content}more\n")).expect("written");
        let run = releases.verify_files("first", &[ARCHIVE, name]).exits(1);
        run.stdout_has(&format!("{ARCHIVE}: the same bytes")).stdout_has(&format!("{name}: different\n"));
    }
    fs::rename(file("ycred-v1.0.0-aarch64-unknown-linux-musl.tar.gz"), file("moved")).expect("renamed");
    releases.verify_files("first", &["ycred_1.0.0-1_arm64.deb"]).fails().stderr_has("its target is not beside it");
    releases.verify_files("first", &["moved"]).fails().stderr_has("moved: packaging/release makes no such file");
}

#[test]
fn another_package_of_the_compiler_is_named_with_both_versions() {
    let releases = Releases::new();
    releases.sandbox.file("home/rustc", "2\n");
    let run = releases.verify("first").exits(1).stdout_has(": different");
    let named: Vec<&str> = run.stdout.lines().filter(|line| line.contains("this machine has")).collect();
    assert_eq!(named, ["rustc: built with 1, this machine has 2"], "{run}");
}

#[test]
fn modes_links_and_further_files_are_listed_as_differences() {
    let releases = Releases::new();
    for (change, difference) in [
        ("chmod 4755 ycred", "+-rwxr-xr-x"),
        ("chmod 4755 ycred", "--rwsr-xr-x"),
        (
            "rm docker-credential-ycred; cp -p ycred docker-credential-ycred",
            "docker-credential-ycred is a regular file",
        ),
        ("touch ../beside", "Only in given: beside"),
        ("touch within", "within"),
    ] {
        releases.change(change);
        releases.verify("changed").exits(1).stdout_has(": different").stdout_has(difference);
    }
}

/// Stands in for cosign and gh: writes what it was called with.
const PUBLISHER: &str = "#!/bin/sh\nprintf '%s %s\\n' \"${0##*/}\" \"$*\" >>\"$HOME/published\"\n\
                         case $* in *--bundle*) touch SHA256SUMS.sigstore.json ;; esac\n";

#[test]
fn only_files_that_the_signature_covers_are_published() {
    let sandbox = Sandbox::new();
    for program in ["cosign", "gh"] {
        sandbox.script(format!("bin/{program}"), PUBLISHER);
    }
    let publish = |tag: &str| {
        let call = sandbox.call(packaging().join("publish"), [sandbox.path("work/all")]);
        call.env("YCRED_RELEASE_TAG", tag).run()
    };
    fs::create_dir(sandbox.path("work/all")).expect("a directory");
    sandbox.file("work/all/ycred.rb", "formula\n");
    sandbox.file("work/all/install.sh", "installer\n");
    sandbox.call(packaging().join("tools/digests"), ["all"]).run().succeeds();
    let tag = concat!("v", env!("CARGO_PKG_VERSION"));
    publish("v9.9.9").fails().stderr_has("the tag of the version in Cargo.toml");
    sandbox.file("work/all/forgotten", "");
    publish(tag).fails().stderr_has("has files that SHA256SUMS does not list");
    fs::remove_file(sandbox.path("work/all/forgotten")).expect("removed");
    sandbox.file("work/all/ycred.rb", "another formula\n");
    publish(tag).fails().stdout_has("ycred.rb: FAILED");
    assert!(!sandbox.path("home/published").exists(), "nothing is signed or published before everything fits");

    sandbox.file("work/all/ycred.rb", "formula\n");
    publish(tag).succeeds();
    let published = fs::read_to_string(sandbox.path("home/published")).expect("the calls");
    let expected = format!(
        "cosign sign-blob --yes --bundle SHA256SUMS.sigstore.json SHA256SUMS\n\
         gh release create {tag} --verify-tag --draft --title {tag} SHA256SUMS SHA256SUMS.sigstore.json install.sh ycred.rb\n"
    );
    assert_eq!(published, expected);
}

/// Stands in for docker: runs the command here, and writes how it was called.
const ENGINE: &str = r#"#!/bin/bash
printf '%s\n' "$*" >>"$HOME/calls"
case $1 in
    create) echo c1 ;;
    cp) echo terraform >"${@: -1}"; chmod 755 "${@: -1}" ;;
    run)
        while [ "$1" != bash ]; do shift; done
        chown() { echo "chown $*" >>"$HOME/calls"; }
        export -f chown
        OWNER=1000:1000 "$@"
        ;;
esac
"#;

#[test]
fn the_container_runs_a_command_as_root_and_gives_the_files_back() {
    let sandbox = Sandbox::new();
    let engine = sandbox.script("bin/engine", ENGINE);
    sandbox.file("work/copy/Cargo.toml", "rust-version = \"1.95\"\n");
    let source = packaging().parent().expect("the repository").join(".ci/container");
    fs::create_dir(sandbox.path("work/copy/.ci")).expect("a directory");
    fs::copy(source, sandbox.path("work/copy/.ci/container")).expect("a copy");
    let run = |arguments: &[&str]| {
        let call = sandbox.call(sandbox.path("work/copy/.ci/container"), arguments.iter().copied());
        call.env("YCRED_ENGINE", &engine).run()
    };
    run(&["sh", "-c", "echo \"$1\" \"${OWNER-unset}\"; exit 3", "sh", "a b"]).exits(3).stdout_is("a b unset\n");
    run(&[]).exits(2);
    run(&["true"]).succeeds();
    let calls = fs::read_to_string(sandbox.path("home/calls")).expect("the calls");
    let lines: Vec<&str> = calls.lines().filter(|line| !line.starts_with(' ') && !line.is_empty()).collect();
    assert_eq!(
        lines.iter().filter(|line| line.starts_with("create ")).count(),
        1,
        "Terraform is fetched once: {calls}"
    );
    assert!(calls.contains("--privileged") && calls.contains(" rust:1.95.0-bookworm "), "{calls}");
    assert_eq!(lines.iter().filter(|line| **line == "chown -R 0:0 .").count(), 2, "{calls}");
    assert_eq!(lines.iter().filter(|line| **line == "chown -R 1000:1000 .").count(), 2, "{calls}");
}
