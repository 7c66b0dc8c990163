//! Functions, containers and virtual machines with the metadata service at its default address.
//!
//! A separate network namespace makes that address available. No setting names it.

use std::fs;
use std::time::Duration;

use crate::emulator::faults::Fault;
use crate::emulator::{Config, METADATA};
use crate::expect::{fails_with_hint, prints_token, prints_token_with_warning};
use crate::harness::machine::{IN_USER_NAMESPACE, in_own_network};
use crate::server::{Response, Server};
use crate::world::World;

const ADDRESS: &str = "169.254.169.254/32";
const ACCOUNT: &str = "ajeofthefunction0000";

/// A cloud function with an account attached. Its profile sets only the source.
fn cloud_function() -> World {
    let metadata_address = "169.254.169.254:80".parse().expect("an address");
    let world = World::without_profile(Config { metadata_address, ..Config::default() });
    world.emulator.attach(Some(ACCOUNT));
    world.sandbox.profile("default", "source = \"metadata\"\n");
    world
}

fn requests(world: &World) -> usize {
    world.emulator.requests(METADATA)
}

#[test]
fn a_function_gets_its_accounts_token_at_the_real_address_without_a_proxy() {
    in_own_network(&[ADDRESS], || {
        let world = cloud_function();
        let proxy = Server::start(None, |_| Response::text(200, "a proxy must not see this"));
        let mut call = world.token(&[]);
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            call = call.env(name, proxy.url());
        }
        let token = prints_token(call.run());
        assert_eq!(world.emulator.subject_of(&token).as_deref(), Some(ACCOUNT));
        assert_eq!((requests(&world), proxy.connections()), (1, 0));
        // Other programs that start within this minute read the token from the cache.
        let exec = world.sandbox.ycred(["exec", "--", "sh", "-c", "echo $YC_TOKEN"]).run();
        assert_eq!(prints_token(exec), token);
        assert_eq!(requests(&world), 1);
    });
}

#[test]
fn a_warm_function_uses_a_newly_attached_account_after_a_minute() {
    in_own_network(&[ADDRESS], || {
        let world = cloud_function();
        let old = world.get();
        world.emulator.attach(Some("ajeswapped0000000000"));
        world.age(Duration::from_secs(50));
        assert_eq!((world.get(), requests(&world)), (old.clone(), 1));
        world.age(Duration::from_secs(11));
        let new = world.get();
        assert_eq!(world.emulator.subject_of(&new).as_deref(), Some("ajeswapped0000000000"));
        assert_eq!(requests(&world), 2);
        // The service is down: the cached token is used, and not every call makes a request.
        world.emulator.fault(Fault::refuse(503));
        world.age(Duration::from_secs(61));
        assert_eq!(prints_token_with_warning(world.token(&[]).run(), &["503"]), new);
        assert_eq!((world.get(), requests(&world)), (new, 3));
    });
}

#[test]
fn a_function_without_an_account_gets_a_hint_to_attach_one() {
    in_own_network(&[ADDRESS], || {
        let world = cloud_function();
        world.emulator.attach(None);
        fails_with_hint(world.token(&[]).run(), 1, &["metadata", "404"], "attach a service account: yc compute");
        assert_eq!(requests(&world), 1);
    });
}

#[test]
fn a_disabled_or_unreachable_metadata_service_is_explained_in_the_hint() {
    in_own_network(&[ADDRESS], || {
        let world = cloud_function();
        world.emulator.fault(Fault::refuse(403).message("disabled"));
        fails_with_hint(world.token(&[]).run(), 1, &["metadata", "403"], "metadata options");
    });
    // Nothing listens at the address.
    in_own_network(&[ADDRESS], || {
        let world = World::without_profile(Config::default());
        world.sandbox.profile("default", "source = \"metadata\"\n");
        fails_with_hint(world.token(&[]).run(), 4, &["metadata", "169.254.169.254"], "outside a Yandex Cloud VM");
    });
    // There is no route to the address.
    in_own_network(&[], || {
        let world = World::without_profile(Config::default());
        world.sandbox.profile("default", "source = \"metadata\"\n");
        fails_with_hint(world.token(&[]).run(), 4, &["metadata", "169.254.169.254"], "outside a Yandex Cloud VM");
    });
}

#[test]
fn a_container_with_a_read_only_disk_gets_its_token_with_one_warning() {
    in_own_network(&[ADDRESS], || {
        let world = cloud_function();
        let call = || world.token(&[]).without("HOME").env("YCRED_CACHE_DIR", "/proc/nowhere");
        prints_token_with_warning(call().run(), &["/proc/nowhere"]);
        // A writable directory in the variable restores the cache.
        let call = || call().env("YCRED_CACHE_DIR", world.sandbox.path("tmp/ycred"));
        let token = prints_token(call().run());
        assert_eq!((prints_token(call().run()), requests(&world)), (token, 2));
    });
}

#[test]
fn without_a_profile_the_variable_selects_the_metadata_service() {
    in_own_network(&[ADDRESS], || {
        let world = cloud_function();
        fs::remove_file(world.sandbox.path("config/default.toml")).expect("the profile");
        let token = prints_token(world.token(&[]).env("YC_METADATA_ADDR", "169.254.169.254").run());
        assert_eq!(world.emulator.subject_of(&token).as_deref(), Some(ACCOUNT));
        // The profile has the same identity.
        world.sandbox.profile("default", "source = \"metadata\"\n");
        assert_eq!((world.get(), requests(&world)), (token, 1));
    });
}

/// Tests in a network namespace must not pass without running.
#[test]
fn an_ordinary_user_runs_these_tests_as_root_of_a_user_namespace() {
    let Some(setpriv) = crate::harness::require_client("setpriv") else { return };
    if std::env::var_os(IN_USER_NAMESPACE).is_some() {
        return crate::harness::skip("a user namespace has no other users");
    }
    let this = std::env::current_exe().expect("a program");
    let test = "stories::serverless::without_a_profile_the_variable_selects_the_metadata_service";
    let as_nobody = |arguments: &[&std::ffi::OsStr]| {
        let mut command = std::process::Command::new(&setpriv);
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(arguments).current_dir("/");
        command.env("TMPDIR", "/tmp").output().expect("setpriv")
    };
    let probe = as_nobody(&["test".as_ref(), "-x".as_ref(), this.as_ref()]);
    let namespaces = as_nobody(&["unshare".as_ref(), "-rn".as_ref(), "true".as_ref()]);
    if !probe.status.success() || !namespaces.status.success() {
        return crate::harness::skip("an ordinary user may not run this test's program, or make namespaces");
    }
    let output = as_nobody(&[this.as_ref(), "--exact".as_ref(), test.as_ref()]);
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && printed.contains("1 passed") && !printed.contains("SKIPPED"), "{printed}");
}
