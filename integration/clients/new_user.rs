//! A user of yc moves to ycred with the commands of the README, and back: kubectl, an image pull, and every file of the
//! home directory.
//!
//! The names of the cloud lead to test servers, so nothing in the user's files, nor in ycred's profile, is about the test.
//! With `--nocapture`, it prints each command and its output.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use base64::Engine as _;

use super::docker::Daemon;
use super::kubectl::{api_server, kubectl};
use super::test_server::{Gate, TestServer, basic_value, registry_on};
use crate::authority::Authority;
use crate::emulator::{Config, Tls};
use crate::harness::machine::in_own_network;
use crate::harness::{Call, Run, YCRED, require_client, skip};
use crate::world::World;

const IAM: &str = "iam.api.cloud.yandex.net";
const HTTPS: u16 = 443;

/// The content, mode and link of each file in the home directory, without ycred's own directories.
type Home = BTreeMap<PathBuf, (Vec<u8>, u32, Option<PathBuf>)>;

/// A machine on which the names of the cloud lead to test servers, and the files of a user of yc.
struct Machine {
    // Ends before the directory of its socket is removed.
    daemon: Daemon,
    world: World,
    cluster: TestServer,
    registry: TestServer,
    account: String,
}

impl Machine {
    fn new() -> Machine {
        let address = |last: u8| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), HTTPS));
        let config = Config { address: address(1), names: vec![IAM.to_owned()], ..Config::with_tls(Tls::Good) };
        let mut world = World::without_profile(config);
        fs::remove_file(world.sandbox.path("config/key.json")).expect("the key");
        let authority = Authority::new();
        let gate = Gate::of(&world);
        let (cluster, registry) = (api_server(&authority, gate.clone()), registry_on(address(2), &authority, gate));
        let key = world.emulator.new_service_account_key();
        let account = key.service_account_id.clone();
        // One bundle for both authorities, as the system's roots would be.
        world.emulator.write_ca(world.sandbox.path("tmp/iam.pem")).expect("a certificate");
        let roots =
            format!("{}{}", fs::read_to_string(world.sandbox.path("tmp/iam.pem")).expect("PEM"), authority.pem());
        let roots = world.sandbox.file("tmp/roots.pem", roots);
        world.sandbox.file("tmp/hosts", format!("127.0.0.1 localhost {IAM}\n127.0.0.2 cr.yandex\n"));
        world
            .sandbox
            .file("home/.config/containers/policy.json", "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}");
        world.sandbox.link("ycred");
        // The only ycred variables are those that a user has: none.
        let sandbox = &mut world.sandbox;
        sandbox.unset("YCRED_CONFIG_DIR").unset("YCRED_CACHE_DIR").unset("YCRED_STATE_DIR").set("SSL_CERT_FILE", roots);
        let daemon = Daemon::start(sandbox);
        key.write(world.sandbox.path("tmp/key.json")).expect("a key file");
        Machine { daemon, world, cluster, registry, account }
    }

    /// Writes what yc has written, and returns the home directory.
    fn write_files_of_yc(&self, is_neat: bool) -> Home {
        let sandbox = &self.world.sandbox;
        let key: serde_json::Value =
            serde_json::from_slice(&fs::read(sandbox.path("tmp/key.json")).expect("the key")).expect("JSON");
        let fields = key.as_object().expect("an object").iter();
        let fields: String = fields.map(|(name, value)| format!("      {name}: {value}\n")).collect();
        let profile =
            format!("  prod:\n    service-account-key:\n{fields}    cloud-id: b1gcloud\n    folder-id: b1gfolder\n");
        sandbox.file("home/.config/yandex-cloud/config.yaml", format!("current: prod\nprofiles:\n{profile}"));
        let yc = sandbox.script("home/yandex-cloud/bin/yc", "#!/bin/sh\necho 'yc was run' >&2\nexit 1\n");
        let authority = fs::read_to_string(sandbox.path("tmp/roots.pem")).expect("PEM");
        let authority = base64::engine::general_purpose::STANDARD.encode(authority);
        let name = "yc-managed-k8s-cat1example";
        let kubeconfig = format!(
            "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {authority}\n    server: https://localhost:{}\n  \
             name: {name}\ncontexts:\n- context:\n    cluster: {name}\n    user: {name}\n  name: yc-prod\ncurrent-context: yc-prod\n\
             kind: Config\npreferences: {{}}\nusers:\n- name: {name}\n  user:\n    exec:\n      \
             apiVersion: client.authentication.k8s.io/v1beta1\n      args:\n      - k8s\n      - create-token\n      \
             - --profile=prod\n      command: {}\n      env: null\n      interactiveMode: IfAvailable\n      \
             provideClusterInfo: false\n",
            self.cluster.port(),
            yc.display()
        );
        let docker = "{\n  \"auths\": {},\n  \"credHelpers\": {\n    \"container-registry.cloud.yandex.net\": \"yc\",\n    \
                      \"cr.cloud.yandex.net\": \"yc\",\n    \"cr.yandex\": \"yc\"\n  }\n}";
        if is_neat {
            sandbox.file("home/.kube/config", kubeconfig);
            sandbox.file("home/.docker/config.json", docker);
        } else {
            // Kept by hand: comments, another line end, links to a directory of dotfiles, and modes of their own.
            let kubeconfig = kubeconfig.replace("users:\n", "users: # by hand\n").replace('\n', "\r\n");
            let docker: serde_json::Value = serde_json::from_str(docker).expect("JSON");
            let files = [("kube/config", kubeconfig), ("docker/config.json", format!("{docker}\n"))];
            for (path, text) in files {
                let real = sandbox.file(format!("home/dotfiles/{path}"), text);
                fs::set_permissions(real, fs::Permissions::from_mode(0o640)).expect("a mode");
                let link = sandbox.path(format!("home/.{path}"));
                fs::create_dir_all(link.parent().expect("a directory")).expect("created");
                symlink(format!("../dotfiles/{path}"), link).expect("a link");
            }
        }
        self.home()
    }

    fn home(&self) -> Home {
        let own =
            ["config", "cache", "local/state"].map(|place| self.world.sandbox.path(format!("home/.{place}/ycred")));
        let files = self.world.sandbox.files("home").into_iter();
        // kubectl's own cache of the cluster's API.
        let kubectls = self.world.sandbox.path("home/.kube/cache");
        let files = files.filter(|path| !own.iter().chain([&kubectls]).any(|directory| path.starts_with(directory)));
        files
            .map(|path| {
                let mode = fs::metadata(&path).expect("the file").permissions().mode();
                let content = (fs::read(&path).expect("the file"), mode, fs::read_link(&path).ok());
                (path, content)
            })
            .collect()
    }

    /// Returns a call of a program on this machine.
    fn call(&self, program: impl Into<PathBuf>, arguments: &[&str]) -> Call {
        let script = "mount --bind \"$0\" /etc/hosts || exit 99\nexec \"$@\"";
        let hosts = self.world.sandbox.path("tmp/hosts").into_os_string();
        let before = ["-m", "--propagation", "private", "sh", "-c", script].map(std::ffi::OsString::from);
        let program = [hosts, program.into().into_os_string()];
        let arguments = arguments.iter().map(std::ffi::OsString::from);
        self.world.sandbox.call("unshare", before.into_iter().chain(program).chain(arguments))
    }

    /// Runs a command of the user, and prints it with its output.
    fn run(&self, program: impl Into<PathBuf>, arguments: &[&str]) -> Run {
        let program = program.into();
        let run = self.call(&program, arguments).run();
        let name = program.file_name().expect("a name").to_string_lossy().into_owned();
        let shown = |text: &str| text.replace(&self.world.sandbox.path("").display().to_string(), "/");
        println!("$ {name} {}", shown(&arguments.join(" ")));
        print!("{}{}", shown(&run.stdout), shown(&run.stderr));
        if !run.status.success() {
            println!("[exit {}]", run.status.code().unwrap_or_default());
        }
        run
    }

    fn ycred(&self, arguments: &[&str]) -> Run {
        self.run(YCRED, arguments)
    }
}

#[test]
fn a_user_of_yc_moves_with_three_commands_and_back_with_one() {
    let (Some(kubectl), Some(skopeo), Some(docker)) = (kubectl(), require_client("skopeo"), require_client("docker"))
    else {
        return;
    };
    in_own_network(&[], || {
        for is_neat in [true, false] {
            let machine = Machine::new();
            let before = machine.write_files_of_yc(is_neat);
            if machine.call("true", &[]).run().status.code() == Some(99) {
                return skip("this user may not mount");
            }
            println!("# {}", if is_neat { "files as yc writes them" } else { "files kept by hand" });
            let get = || machine.run(&kubectl, &["get", "namespaces"]);
            let to = format!("dir:{}", machine.world.sandbox.path("tmp/image").display());
            let pull = || {
                let _ = fs::remove_dir_all(machine.world.sandbox.path("tmp/image"));
                machine.run(&skopeo, &["copy", "docker://cr.yandex/crp0/app:1", &to])
            };
            get().fails().stderr_has("yc was run");
            pull().fails();

            machine.ycred(&["import", "--write"]).succeeds().stderr_is_empty();
            let account = format!("profile prod (service account {})", machine.account);
            let run = machine.ycred(&["setup", "kubectl", "--all"]).succeeds().stderr_is_empty();
            run.stdout_has(&format!("yc profile prod → ycred {account}"));
            let run = machine.ycred(&["setup", "docker"]).succeeds().stderr_is_empty();
            run.stdout_has("cr.yandex: yc → ycred");

            get().succeeds().stderr_is_empty().stdout_has("the-only-namespace");
            pull().succeeds().stderr_is_empty();
            machine.run(&docker, &["pull", "cr.yandex/crp0/app:1"]).succeeds().stderr_is_empty();
            let token = machine.world.last_token();
            let (to_cluster, to_registry) = (machine.cluster.authorizations(), machine.registry.authorizations());
            assert!(!to_cluster.is_empty() && to_cluster.iter().all(|header| *header == format!("Bearer {token}")));
            assert!(!to_registry.is_empty() && to_registry.iter().all(|header| *header == basic_value("iam", &token)));
            assert_eq!(machine.daemon.requests("/images/create").len(), 1);
            assert_eq!(machine.world.requests(), 1, "IAM requests");

            machine.ycred(&["unsetup", "--all"]).succeeds().stderr_is_empty();
            assert!(machine.home() == before, "the home directory is not as before: {is_neat}");
            get().fails().stderr_has("yc was run");
            pull().fails();
            machine.ycred(&["unsetup", "--all"]).succeeds().stdout_is("nothing to undo\n");
        }
    });
}
