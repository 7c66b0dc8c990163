//! Files that cannot be replaced, or not be written at all: each client's file is whole, and comes back.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use super::edited::Edited;
use crate::harness::files::set_mode;
use crate::harness::machine::require_root;
use crate::harness::{Call, YCRED};
use crate::hostile::other_user::{NOBODY, OtherUser};
use crate::stories::setup::{Machine, yc_with};

/// Runs a script in its own mount namespace. `$1` is the directory of the file, `$2` its path. The functions `setup` and
/// `unsetup` run ycred for the client.
fn in_mount_namespace(edited: &Edited, machine: &Machine, script: &str) -> Call {
    let line = |verb| edited.arguments(verb).join(" ");
    let script = format!(
        "set -e; ycred=$3; setup() {{ \"$ycred\" {}; }}; unsetup() {{ \"$ycred\" {}; }}; {script}",
        line("setup"),
        line("unsetup")
    );
    let arguments = ["-m", "--propagation", "private", "sh", "-c", &script, "sh"].map(std::ffi::OsString::from);
    let paths = [machine.path(edited.directory).into(), machine.path(&edited.file()).into(), YCRED.into()];
    machine.world.sandbox.call("unshare", arguments.into_iter().chain(paths))
}

#[test]
fn a_bind_mounted_file_is_written_in_place_and_restored() {
    if !require_root(&["unshare"]) {
        return;
    }
    for edited in Edited::existing() {
        let machine = edited.machine();
        let before = fs::metadata(machine.path(&edited.file())).expect("the file").ino();
        let mount = "cp \"$2\" \"$1/real\"; mount --bind \"$1/real\" \"$2\"";
        let script = format!("{mount}; setup; cat \"$2\"; unsetup; cat \"$2\"");
        let run = in_mount_namespace(&edited, &machine, &script).run().succeeds().stderr_is_empty();
        assert!(run.stdout.ends_with(edited.text()) && run.stdout.matches(edited.text()).count() == 1, "{run}");
        assert_eq!(fs::metadata(machine.path(&edited.file())).expect("the file").ino(), before);
        let left = machine.world.sandbox.files("state/setup");
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn on_a_full_or_read_only_disk_the_file_stays_and_the_error_says_why() {
    if !require_root(&["unshare"]) {
        return;
    }
    let full = "cp \"$2\" ../tmp/copy; mount -t tmpfs -o size=4k none \"$1\"; cp ../tmp/copy \"$2\"";
    let read_only = "mount --bind \"$1\" \"$1\"; mount -o remount,ro,bind \"$1\"";
    for edited in Edited::existing() {
        for (mount, code, why) in [(full, 4, "the disk is full"), (read_only, 3, "the file system is read-only")] {
            let machine = edited.machine();
            let names = edited.names(&machine);
            let script = format!("{mount}; setup && exit 9; echo \"exit $?\"; cat \"$2\"; ls -A \"$1\"");
            let run = in_mount_namespace(&edited, &machine, &script).run().succeeds();
            let (stdout, listed) = run.stdout.split_at(run.stdout.len() - edited.name.len() - 1);
            assert_eq!(stdout, format!("exit {code}\n{}", edited.text()), "{run}");
            assert_eq!(listed, format!("{}\n", edited.name), "{run}");
            assert!(run.stderr.contains(why), "{run}");
            assert!(machine.journal().is_empty(), "{}: {:?}", edited.client, machine.journal());
            assert_eq!(edited.names(&machine), names);
        }
    }
}

#[test]
fn a_hard_link_and_a_file_of_another_user_keep_their_inode_or_owner() {
    if !require_root(&[]) {
        return;
    }
    for edited in Edited::existing() {
        let machine = edited.machine();
        let path = machine.path(&edited.file());
        let other_name = machine.path("work/other-name");
        fs::hard_link(&path, &other_name).expect("a link");
        edited.call(&machine, "setup").run().succeeds();
        let text = machine.read(&edited.file());
        assert!(text.contains("ycred") && machine.read("work/other-name") == text, "{text}");
        edited.call(&machine, "unsetup").run().succeeds();
        assert_eq!(machine.read("work/other-name"), edited.text());
        fs::remove_file(&other_name).expect("removed");
        chown(&path, Some(1234), Some(4321)).expect("root may");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
        for verb in ["setup", "unsetup"] {
            edited.call(&machine, verb).run().succeeds();
            let after = fs::metadata(&path).expect("the file");
            let owner = (after.uid(), after.gid(), after.mode() & 0o777);
            assert_eq!(owner, (1234, 4321, 0o640), "{} {verb}", edited.client);
            assert_eq!(machine.read(&edited.file()).contains("ycred"), verb == "setup");
        }
        assert_eq!(machine.read(&edited.file()), edited.text());
    }
}

#[test]
fn access_control_lists_and_attributes_stay() {
    if !require_root(&["setfacl", "getfacl"]) {
        return;
    }
    for edited in Edited::existing() {
        let machine = edited.machine();
        let path = machine.path(&edited.file()).display().to_string();
        let acl = || machine.world.sandbox.call("getfacl", ["-cp", &path]).run().succeeds().stdout;
        if !machine.world.sandbox.call("setfacl", ["-m", "u:1234:r", &path]).run().status.success() {
            return crate::harness::skip("the file system has no access control lists");
        }
        let before = acl();
        assert!(before.contains("user:1234:r"), "{before}");
        for verb in ["setup", "unsetup"] {
            edited.call(&machine, verb).run().succeeds();
            assert_eq!(acl(), before, "{} {verb}", edited.client);
        }
    }
}

/// A user with a profile for git's server and a private directory in PATH for links.
fn other_user(machine: &Machine) -> (OtherUser, std::ffi::OsString) {
    let other = OtherUser::new(&machine.world, NOBODY);
    let settings = format!("hosts = [\"git.example.com\"]\n{}", machine.world.settings());
    fs::write(other.path("config/default.toml"), settings).expect("a profile");
    fs::create_dir_all(other.path("home/.local/bin")).expect("directories");
    for directory in ["home/.local", "home/.local/bin"] {
        other.chown(directory, NOBODY);
    }
    let usual = ["/usr/local/bin", "/usr/bin", "/bin"].map(Into::into);
    let path = std::env::join_paths([other.path("home/.local/bin")].into_iter().chain(usual)).expect("a PATH");
    (other, path)
}

#[test]
fn a_file_in_a_read_only_directory_is_written_in_place() {
    if !require_root(&["setpriv"]) {
        return;
    }
    for edited in Edited::existing() {
        let machine = Machine::new();
        let (other, programs) = other_user(&machine);
        // git's other place, because its usual one is the home directory itself, which ycred needs.
        let (directory, name) = match edited.client {
            "git" => ("home/.config/git", "config"),
            _ => (edited.directory, edited.name),
        };
        let file = format!("{directory}/{name}");
        let before = edited.text().replace("--profile=prod", "--profile=default");
        fs::create_dir_all(other.path(directory)).expect("a directory");
        fs::write(other.path(&file), &before).expect("written");
        for path in [directory, &file] {
            other.chown(path, NOBODY);
        }
        set_mode(&other.path(directory), 0o500);
        let names = || fs::read_dir(other.path(directory)).expect("readable").count();
        let text = || fs::read_to_string(other.path(&file)).expect("text");
        let call = |verb| {
            let arguments: Vec<&str> =
                edited.arguments(verb).into_iter().filter(|it| !["-p", "prod"].contains(it)).collect();
            other.call(&machine.world, &arguments).env("PATH", &programs).run()
        };
        let run = call("setup").succeeds().stderr_is_empty();
        assert!(text().contains("ycred") && names() == 1, "{}\n{run}{}", edited.client, text());
        call("unsetup").succeeds().stderr_is_empty();
        assert!(text() == before && names() == 1, "{}: {}", edited.client, text());
        // Without permission to write the file, nothing happens.
        set_mode(&other.path(&file), 0o400);
        call("setup").exits(3).stderr_has("permission denied");
        assert!(text() == before && names() == 1, "{}: {}", edited.client, text());
    }
}

#[test]
fn a_read_only_file_in_a_list_of_kubeconfigs_does_not_keep_setup_from_another_one() {
    if !require_root(&["setpriv"]) {
        return;
    }
    let machine = Machine::new();
    let (other, programs) = other_user(&machine);
    let shared = "clusters: [{name: x, cluster: {server: https://a}}]\nusers:\n- name: theirs\n  user: {token: abc}\n";
    fs::create_dir_all(other.path("shared")).expect("a directory");
    fs::write(other.path("shared/config"), shared).expect("written");
    set_mode(&other.path("shared"), 0o555);
    set_mode(&other.path("shared/config"), 0o444);
    let before = yc_with("default");
    fs::write(other.path("work/own"), &before).expect("written");
    other.chown("work/own", NOBODY);
    let list = std::env::join_paths([other.path("shared/config"), other.path("work/own")]).expect("paths");
    let call = |arguments: &[&str]| {
        other.call(&machine.world, arguments).env("KUBECONFIG", &list).env("PATH", &programs).run()
    };
    let text = |file: &str| fs::read_to_string(other.path(file)).expect("text");
    for arguments in [&["setup", "kubectl"][..], &["setup", "kubectl", "--all"]] {
        call(arguments).succeeds().stderr_is_empty();
        assert!(text("work/own").contains("ycred"), "{}", text("work/own"));
        call(&["unsetup", "kubectl"]).succeeds();
        assert_eq!((text("work/own"), text("shared/config")), (before.clone(), shared.to_owned()));
    }
}
