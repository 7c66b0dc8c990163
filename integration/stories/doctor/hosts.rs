//! Hosts that a profile lists and no client asks about, and hosts that a client asks about and no profile lists.

use std::fs;

use crate::expect::fails_with_hint;
use crate::stories::doctor::{doctor, healthy};
use crate::world::World;

#[test]
fn a_listed_host_without_a_client_is_named_with_the_commands_that_set_one_up() {
    let machine = healthy();
    machine.world.profile("prod", "hosts = [\"localhost:5000\", \"*.corp.example\"]");
    let setup = || machine.setup(&["docker", "-p", "prod"]).run().succeeds();
    setup().stdout_has("if a pull says only `unauthorized`: ycred doctor docker; for another registry: ycred setup docker --host HOST\n");
    setup().never_prints("unauthorized");
    let profile = |arguments: &[&str]| doctor(&machine, &["profile", "--strict"]).and(arguments).run().exits(0);
    let run = profile(&["-p", "prod"]).stdout_has("[skip] profile.hosts `hosts` has localhost:5000; docker");
    run.stdout_has("to use it: ycred setup docker --host localhost:5000 --profile prod (a registry)");
    machine.setup(&["docker", "--host", "localhost:5000", "--profile", "prod"]).run().succeeds();
    profile(&[]).never_prints("profile.hosts");
    let serves = "[ok]   docker ycred serves cr.yandex, registry.yandexcloud.net, localhost:5000 (in programs started from a terminal)\n";
    doctor(&machine, &["docker", "--offline"]).run().exits(0).stdout_has(serves);
    // Without a host of its own, a profile has nothing to report. Without docker and git, nothing can be set up.
    machine.world.profile("prod", "hosts = [\"a.example\", \"b.example\"]");
    profile(&[]).stdout_has("`hosts` has a.example, b.example; docker").stdout_has("--host HOST (a registry)");
    // podman has files of its own, which setup does not edit.
    let auth = "{\"credHelpers\": {\"a.example\": \"ycred-prod\"}}";
    machine.world.sandbox.file("home/.config/containers/auth.json", auth);
    profile(&[]).stdout_has("`hosts` has b.example; docker");
    let all = "credential-helpers = [\"containers-auth.json\", \"ycred\"]\n";
    machine.world.sandbox.file("home/.config/containers/registries.conf", all);
    profile(&[]).never_prints("profile.hosts");
    fs::remove_dir_all(machine.path("home/.config/containers")).expect("removed");
    profile(&[]).stdout_has("`hosts` has a.example, b.example; docker");
    fs::remove_dir_all(machine.path("home/.docker")).expect("removed");
    let nothing = doctor(&machine, &["profile"]).env("PATH", machine.path("work")).run().exits(0);
    nothing.never_prints("profile.hosts");
}

#[test]
fn a_host_that_the_profile_does_not_list_is_marked_among_the_clients() {
    let world = World::new();
    world.profile("default", "hosts = [\"localhost:5000\"]");
    let entries = "\"cr.yandex\": \"ycred\", \"localhost:5000\": \"ycred\", \"locahost:5000\": \"ycred\"";
    world.sandbox.file("home/.docker/config.json", format!("{{\"credHelpers\": {{{entries}}}}}"));
    let run = world.ycred(&["status"]).run().exits(0);
    run.stdout_has("docker: cr.yandex, localhost:5000, locahost:5000 (gets no token: not in `hosts`)\n");
}

#[test]
fn a_misspelt_host_on_the_command_line_gets_the_listed_one() {
    let machine = healthy();
    machine.world.profile("prod", "hosts = [\"localhost:5000\"]");
    let hint = "did you mean localhost:5000? If not, in ";
    fails_with_hint(machine.setup(&["docker", "--host", "locahost:5000"]).run(), 2, &["locahost:5000"], hint);
    fails_with_hint(machine.world.ycred(&["token", "--host", "localhots:5000"]).run(), 2, &["localhots:5000"], hint);
    let near = "did you mean cr.yandex? If not, in ";
    fails_with_hint(machine.world.ycred(&["token", "--host", "cr.yandx"]).run(), 2, &["cr.yandx"], near);
    // Which of the two is misspelt, only the user knows.
    let entries = "\"localhost:5001\": \"ycred-prod\", \"cr.yandx\": \"ycred-prod\"";
    machine.world.sandbox.file("home/.docker/config.json", format!("{{\"credHelpers\": {{{entries}}}}}"));
    machine.world.sandbox.link("docker-credential-ycred-prod");
    let run = doctor(&machine, &["docker"]).run().exits(1);
    run.stdout_has("it lists localhost:5000 (if that is misspelt, or both are right, edit `hosts` in profile ")
        .stdout_has("it lists cr.yandex (if both are right, add this one to `hosts`)");
    let run = machine.world.ycred(&["explain", "--host", "locahost:5000"]).run().exits(1);
    run.stdout_has("no: not a host of the profile; did you mean localhost:5000? If");
    let run = machine.world.ycred(&["token", "--host", "other.example"]).run().exits(2);
    assert!(!run.stderr.contains("did you mean"), "{run}");
}
