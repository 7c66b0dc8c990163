//! The sidecar that serves tokens to a program that reads the metadata service.

use std::net::{Ipv4Addr, TcpStream};

use serde_json::{Value, json};

use super::manifests::{of_kind, pod_of, rendered};
use super::pod::Pod;
use crate::emulator::auth::TOKEN;
use crate::emulator::exchange::Algorithm;
use crate::emulator::{Config, METADATA};
use crate::harness::machine::in_own_network;
use crate::harness::waiting::wait_until;
use crate::world::World;

#[test]
fn the_program_gets_its_token_from_the_sidecar_and_other_users_of_the_pod_do_not() {
    let Some((manifests, _)) = rendered("sidecar") else { return };
    // In a network of its own, because the manifest has a fixed port, like the containers of one pod.
    in_own_network(&[], || {
        let spec = pod_of(of_kind(&manifests, "Deployment"));
        let world = World::without_profile(Config::default());
        let issuer = world.emulator.new_federation(Algorithm::Rs256);
        let account = world.emulator.new_service_account();
        let name = of_kind(&manifests, "ServiceAccount")["metadata"]["name"].as_str().expect("a name");
        assert_eq!(spec["serviceAccountName"], name);
        let subject = format!("system:serviceaccount:team:{name}");
        world.emulator.new_federated_credential(&issuer, &account, &subject);
        let Some(pod) = start(&world, spec, &account, &issuer.token(&subject)) else { return };

        let address = spec["containers"][0]["env"][0]["value"].as_str().expect("an address").to_owned();
        let port: u16 = address.strip_prefix("127.0.0.1:").expect("on loopback").parse().expect("a port");
        let sidecar = pod.container("ycred").start();
        wait_until("the sidecar listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        // Kubernetes waits for this container before it starts the program.
        let run = pod.container("wait-for-token").run().succeeds().stderr_is_empty();
        run.stdout_is(&format!("ycred {}\n", env!("CARGO_PKG_VERSION")));
        let run = pod.container("app").run().succeeds().stderr_is_empty();
        let token = world.last_token();
        assert!(run.stdout.contains(&token), "{run}");
        assert_eq!(world.emulator.subject_of(&token).as_ref(), Some(&account));
        assert_eq!(world.emulator.requests(TOKEN), 1);

        // A container with a user that the manifest does not list.
        let mut other = spec.clone();
        for (list, at) in [("initContainers", 1), ("containers", 0)] {
            other[list][at]["securityContext"]["runAsUser"] = json!(1001);
        }
        std::fs::remove_dir_all(world.sandbox.path("caches/volumes")).expect("removed");
        let pod = start(&world, &other, &account, "").expect("as before");
        let run = pod.container("app").run().fails();
        assert!(!run.stdout.contains(&token) && run.stderr.contains("403"), "{run}");
        pod.container("wait-for-token").run().exits(125).stderr_has("403");

        sidecar.signal(libc::SIGTERM);
        sidecar.finish().exits(0).stderr_is_empty();
    });
}

/// Creates the pod, with a program that prints what the metadata service returns.
fn start<'a>(world: &'a World, spec: &Value, account: &str, token: &str) -> Option<Pod<'a>> {
    let mut spec = spec.clone();
    let program = format!(
        "exec curl --silent --show-error --fail --noproxy '*' --header 'Metadata-Flavor: Google' \
         \"http://$YC_METADATA_ADDR{METADATA}\""
    );
    spec["containers"][0]["command"] = json!(["/bin/sh", "-euc", program]);
    // In place of the manifest's placeholder.
    let variables = spec["initContainers"][0]["env"].as_array_mut().expect("variables");
    for variable in variables.iter_mut().filter(|variable| variable["name"] == "YCRED_SERVICE_ACCOUNT_ID") {
        variable["value"] = account.into();
    }
    variables.push(json!({"name": "YCRED_AUTH_URL", "value": world.emulator.auth_url()}));
    Pod::new(&world.sandbox, &spec, &[], token)
}
