//! The manifests of package managers, and the files of several machines in one release.

use std::fs;
use std::path::Path;

use super::{Dist, VERSION, open_to_others, text};
use crate::harness::machine::require_root;
use crate::harness::{require_client, skip};
use crate::packages;
use crate::world::World;

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
    // makepkg runs pacman, even if it installs nothing.
    if !require_root(&["makepkg", "pacman", "setpriv"]) {
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
