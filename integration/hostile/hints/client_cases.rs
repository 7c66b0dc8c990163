//! The scenes of hooks, `setup` and `import`.

use std::fs;

use crate::emulator::Config;
use crate::hostile::hints::cases::empty;
use crate::hostile::hints::scene::{Scene, Then};
use crate::stories::setup::{Machine, kubeconfig_with, yc_with};
use crate::world::World;

// ------------------------------------------------------------------------------------------------------------- hooks

pub fn kubectl_run_by_a_person() -> Scene {
    Scene::new(World::new(), &["kubectl"], "ycred token").then(Then::Done).env("KUBERNETES_EXEC_INFO", "x")
}

pub fn kubelet_run_by_a_person() -> Scene {
    Scene::new(World::new(), &["kubelet"], "ycred token").then(Then::Done)
}

pub fn kubectl_as_a_wrapper() -> Scene {
    let machine = Machine::new();
    machine.write_kubeconfig(&yc_with("prod"));
    Scene::new(machine, &["kubectl", "get", "pods", "-l", "a in (b, c)"], "ycred setup").then(Then::Done)
}

pub fn aws_as_a_wrapper() -> Scene {
    let world = World::new();
    world.sandbox.script(
        "bin/aws",
        "#!/bin/sh\ntest \"$2\" = 'a b' && test -n \"$YC_TOKEN$AWS_CONTAINER_CREDENTIALS_FULL_URI\"\n",
    );
    Scene::new(world, &["aws", "s3", "a b"], "ycred exec").then(Then::Done)
}

pub fn docker_without_a_host() -> Scene {
    let world = World::new();
    world.sandbox.link("docker-credential-ycred");
    Scene::new(world, &["docker"], "echo").then(Then::Done)
}

// ------------------------------------------------------------------------------------------------------------- setup

pub fn setup_without_a_profile() -> Scene {
    let (world, key, _) = empty();
    world.sandbox.file("home/.kube/config", yc_with("default"));
    Scene::new(world, &["setup", "kubectl"], "ycred init").fill("FILE", key)
}

pub fn a_profile_with_a_name_that_is_taken() -> Scene {
    let machine = Machine::new();
    machine.world.profile("other", "");
    fs::create_dir_all(machine.path("home/.config/ycred")).expect("a directory");
    for (from, to) in [("other.json", "other.json"), ("other.toml", "prod.toml")] {
        let to = machine.path("home/.config/ycred").join(to);
        fs::rename(machine.path("config").join(from), to).expect("moved");
    }
    Scene::new(machine, &["setup", "docker"], "unset")
}

pub fn a_user_without_credentials() -> Scene {
    let machine = Machine::new();
    machine.write_kubeconfig(
        &kubeconfig_with("{}").replace("user: u}", "user: a user}").replace("name: u\n", "name: a user\n"),
    );
    Scene::new(machine, &["setup", "kubectl"], "ycred setup kubectl").fill("NAME", "prod").then(Then::Done)
}

pub fn a_user_that_runs_another_program() -> Scene {
    let machine = Machine::new();
    machine.write_kubeconfig(&kubeconfig_with("{exec: {command: aws, args: [x]}}"));
    Scene::new(machine, &["setup", "kubectl"], "ycred setup kubectl").fill("NAME", "prod").then(Then::Done)
}

pub fn a_static_credential() -> Scene {
    let machine = Machine::new();
    machine.write_kubeconfig(&kubeconfig_with(
        "{token: abc, exec: {command: yc, args: [k8s, create-token, --profile=prod]}}",
    ));
    Scene::new(machine, &["setup", "kubectl"], "kubectl config unset").then(Then::Done)
}

pub fn git_without_a_host() -> Scene {
    let machine = Machine::new();
    machine.world.profile_for("prod", &["git.example.com".to_owned()]);
    Scene::new(machine, &["setup", "git"], "ycred setup git").then(Then::Done)
}

pub fn unsetup_without_a_client() -> Scene {
    Scene::new(Machine::new(), &["unsetup"], "ycred unsetup").then(Then::Done)
}

pub fn tofu_in_place_of_terraform() -> Scene {
    let machine = Machine::new();
    let xdg = machine.path("home/xdg");
    fs::create_dir_all(xdg.join("opentofu")).expect("created");
    Scene::new(machine, &["setup", "terraform"], "ycred setup terraform")
        .env("XDG_CONFIG_HOME", xdg.display().to_string())
        .then(Then::Done)
}

pub fn goenv_off() -> Scene {
    let machine = Machine::new();
    let go = "#!/bin/sh\ncase \"$2\" in GOENV) echo \"${GOENV-$HOME/.config/go/env}\" ;; esac\n";
    machine.world.sandbox.script("bin/go", go);
    Scene::new(machine, &["setup", "go"], "unset").env("GOENV", "off")
}

// ------------------------------------------------------------------------------------------------------------- import

const YC: &str = "home/.config/yandex-cloud/config.yaml";

fn user_of_yc(profiles: &str) -> World {
    let world = World::without_profile(Config::default());
    let (oauth, _) = world.emulator.new_oauth();
    world.sandbox.file(YC, format!("current: prod\nprofiles:\n{}", profiles.replace("OAUTH", &oauth)));
    world
}

pub fn import_of_a_profile_by_flag() -> Scene {
    let world = user_of_yc("  prod:\n    token: OAUTH\n");
    Scene::new(world, &["import", "-p", "prod"], "ycred import").fill("PROFILE", "prod").then(Then::Done)
}

pub fn import_of_the_environment_with_two_names() -> Scene {
    let world = World::without_profile(Config::default());
    let key = world.sandbox.path("config/key.json").display().to_string();
    Scene::new(world, &["import", "--environment", "a", "b"], "ycred import --environment")
        .env("YC_SERVICE_ACCOUNT_KEY_FILE", key)
        .fill("NAME", "ci")
        .then(Then::Done)
}

pub fn import_over_a_profile() -> Scene {
    let world = user_of_yc("  prod:\n    token: OAUTH\n");
    world.profile("prod", "");
    Scene::new(world, &["import", "prod"], "ycred import").fill("PROFILE=NAME", "prod=other").then(Then::Done)
}

pub fn import_of_names_that_collide() -> Scene {
    let world = user_of_yc("  A b:\n    token: OAUTH\n  a-b:\n    token: OAUTH\n");
    Scene::new(world, &["import"], "ycred import").then(Then::Done)
}

pub fn import_of_a_name_without_letters() -> Scene {
    let world = user_of_yc("  \"$(id)\":\n    token: OAUTH\n  \"…\":\n    token: OAUTH\n");
    Scene::new(world, &["import", "…"], "ycred import").fill("NAME", "x").then(Then::Done)
}

pub fn import_with_one_broken_profile() -> Scene {
    let world = user_of_yc("  it's:\n    token: OAUTH\n  bad:\n    token: t1.not.oauth\n");
    Scene::new(world, &["import"], "ycred import").then(Then::Done)
}

pub fn import_without_yc() -> Scene {
    let world = World::without_profile(Config::default());
    let key = world.sandbox.path("config/key.json").display().to_string();
    Scene::new(world, &["import"], "ycred import --environment")
        .env("YC_SERVICE_ACCOUNT_KEY_FILE", key)
        .then(Then::Done)
}

pub fn a_kubeconfig_for_a_profile_of_yc() -> Scene {
    let world = user_of_yc("  prod:\n    token: OAUTH\n");
    world.sandbox.file("home/.kube/config", yc_with("prod"));
    Scene::new(world, &["setup", "kubectl"], "ycred import")
}

// ------------------------------------------------------------------------------------------------------- the others

pub fn an_unknown_check() -> Scene {
    Scene::new(Machine::new(), &["doctor", "nonsense"], "ycred doctor --list").then(Then::Done)
}

pub fn pip_with_a_profile() -> Scene {
    let machine = Machine::new();
    machine.world.profile("staging", "");
    machine.world.sandbox.profile("default", "use = \"prod\"\n");
    Scene::new(machine, &["setup", "pip", "-p", "staging"], "ycred use").then(Then::Done)
}

pub fn pip_without_configuration() -> Scene {
    let machine = Machine::new();
    Scene::new(machine, &["setup", "pip"], "unset").env("PIP_CONFIG_FILE", "/dev/null")
}
