//! Faults on the way to the cloud: its clock, the network, refused keys, logins.

use std::net::{Ipv4Addr, TcpListener};

use time::Duration as Span;

use super::faults::{Fault, Fix, Seeded, try_all};
use super::own::settings;
use super::{doctor, healthy};
use crate::emulator::faults::Fault as CloudFault;

const NETWORK: &[Fault] = &[
    Fault {
        id: "clock",
        state: "warn",
        name: "a clock that is slow",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.emulator.set(|settings| settings.clock_shift = Span::minutes(10));
            Seeded::of(machine)
        },
        fix: Fix::Command,
    },
    Fault {
        id: "network",
        state: "fail",
        name: "a captive portal",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.emulator.fault(CloudFault::html());
            Seeded::of(machine)
        },
        fix: Fix::Text("browser"),
    },
    Fault {
        id: "network",
        state: "fail",
        name: "a firewall that blocks with a page",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.emulator.fault(CloudFault::html().with_status(403));
            Seeded::of(machine)
        },
        fix: Fix::Text("browser"),
    },
    Fault {
        id: "network",
        state: "fail",
        name: "a server that is not the cloud",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.emulator.fault(CloudFault::html().with_status(404));
            Seeded::of(machine)
        },
        fix: Fix::Text("browser"),
    },
    Fault {
        id: "network.proxy",
        state: "fail",
        name: "a proxy variable that is not a URL",
        needs: &[],
        seed: || {
            let machine = healthy();
            let text = settings(&machine, "prod.json").replace("iam-url", "# iam-url");
            machine.world.sandbox.profile("prod", &format!("{text}timeout = \"3s\"\n"));
            Seeded::of(machine).with("HTTPS_PROXY", "http://proxy.example:port")
        },
        fix: Fix::Text("HTTPS_PROXY"),
    },
    Fault {
        id: "token",
        state: "fail",
        name: "a key that the cloud refuses",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.refuse();
            Seeded::of(machine)
        },
        fix: Fix::Text("yc iam key list"),
    },
    Fault {
        id: "token",
        state: "warn",
        name: "a key that the cloud refuses while the cached token is valid",
        needs: &[],
        seed: || {
            let machine = healthy();
            machine.world.ycred(&["token"]).run().succeeds();
            machine.world.refuse();
            machine.world.ycred(&["token", "--force-refresh"]).run().exits(1);
            machine.world.ycred(&["status"]).run().exits(0).stdout_has("fix       check that the key exists");
            Seeded::of(machine)
        },
        fix: Fix::Text("yc iam key list"),
    },
    Fault {
        id: "login",
        state: "fail",
        name: "nobody is logged in",
        needs: &[],
        seed: || {
            let machine = healthy();
            let url = machine.world.emulator.url();
            machine
                .world
                .sandbox
                .profile("prod", &format!("source = \"login\"\nauth-url = \"{url}\"\niam-url = \"{url}\"\n"));
            Seeded::of(machine)
        },
        fix: Fix::Command,
    },
    Fault {
        id: "login.port",
        state: "warn",
        name: "the port of the login is taken",
        needs: &[],
        seed: || {
            let machine = healthy();
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let port = listener.local_addr().expect("its address").port();
            let url = machine.world.emulator.url();
            let text = format!("source = \"login\"\nauth-url = \"{url}\"\nredirect-port = {port}\n");
            machine.world.sandbox.profile("prod", &text);
            Seeded { listener: Some(listener), ..Seeded::of(machine) }.asking(&["--offline"])
        },
        fix: Fix::Text("redirect-port"),
    },
];

#[test]
fn each_fault_of_the_network_is_found() {
    let (found, _) = try_all(NETWORK);
    assert_eq!(found, NETWORK.len());
}

#[test]
fn a_server_that_cannot_be_reached_is_named_without_the_path_of_the_test_request() {
    let machine = healthy();
    let url = machine.world.emulator.url();
    let text = std::fs::read_to_string(machine.path("config/prod.toml")).expect("a profile");
    machine.world.sandbox.profile("prod", &text.replace(&url, "http://127.0.0.1:1"));
    let run = doctor(&machine, &["network"]).run().exits(1);
    run.stdout_has("[fail] network http://127.0.0.1:1: nothing listens there")
        .stdout_has("the URL is `iam-url` in profile");
}

#[test]
fn the_network_check_names_a_variable_that_sets_the_url() {
    let machine = healthy();
    let key = machine.path("config/key.json");
    let call =
        doctor(&machine, &["network"]).env("YC_SERVICE_ACCOUNT_KEY_FILE", &key).env("YC_ENDPOINT", "127.0.0.1:1");
    let run = call.env("YCRED_CONFIG_DIR", machine.path("work")).run();
    assert!(run.stdout.contains("YC_ENDPOINT") && !run.stdout.contains("set by in"), "{run}");
}
