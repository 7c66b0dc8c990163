//! Attacks of another user of the machine on the ports on which ycred listens.

use super::served::{ServedChild, WAITING};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use crate::emulator::METADATA;
use crate::harness::machine::{require_root, strace};
use crate::harness::waiting::{WAIT_LIMIT, wait_until};
use crate::harness::{Call, Running, YCRED};
use crate::sources::person::Person;
use crate::world::World;

/// The user id of `nobody`.
const NOBODY: u32 = 65534;

/// Opens 900 connections to a port, and holds them. Says when it has opened more than ycred has places for; the rest may
/// have to wait.
const IDLE: &str = r#"
import socket, sys, time
connections = []
for number in range(900):
    connections.append(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
    if number == 300:
        print("open", flush=True)
time.sleep(80)
"#;

/// The Python of the system. One in a home directory may not be accessible to another user.
const PYTHON: &str = "/usr/bin/python3";

/// Returns a call of a program as another user.
fn as_nobody(world: &World, program: &str, arguments: &[&str]) -> Call {
    let identity = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into(), program.into()];
    world.sandbox.call("setpriv", identity).and(arguments).within("/")
}

/// Opens 900 idle connections as another user.
fn open_idle_connections(world: &World, port: u16) -> Running {
    let running = as_nobody(world, PYTHON, &["-c", IDLE, &port.to_string()]).start();
    wait_until("the connections are open", || running.stdout().contains("open"));
    running
}

#[test]
fn another_users_callback_is_rejected_and_the_login_continues() {
    if !require_root(&["setpriv", "curl"]) {
        return;
    }
    let person = Person::new();
    let login = person.login(&["--no-browser"]).start();
    let callback = person.callback(&person.address(&login));
    // The attacker has read the URL, and has a code of their own.
    let arguments = ["-sS", "--noproxy", "*", "-w", " %{http_code}", &callback];
    for _ in 0..3 {
        let run = as_nobody(&person.world, "curl", &arguments).run().exits(0);
        assert!(run.stdout.ends_with(" 403"), "{run}");
    }
    assert_eq!(person.tokens(), 0, "the code was not used");
    person.curl(&[&callback]).stdout_has("You are logged in");
    login.finish().exits(0).stdout_has("logged in");
    assert_eq!(person.tokens(), 1);
}

#[test]
fn nine_hundred_idle_connections_of_another_user_delay_neither_exec_serve_nor_a_login() {
    if !require_root(&["setpriv", PYTHON]) {
        return;
    }
    let time = |call: &mut dyn FnMut()| {
        let began = Instant::now();
        call();
        began.elapsed()
    };
    let world = World::new();
    let served = ServedChild::start(&world, &[]);
    // On a busy machine, even these take their time.
    let alone = (0..3).map(|_| time(&mut || drop(served.token()))).max().expect("three calls");
    let limit = Duration::from_secs(1) + 3 * alone;
    let idle = open_idle_connections(&world, served.port());
    let beside = time(&mut || drop(served.token()));
    assert!(beside < limit, "{beside:?}, and {alone:?} alone");
    drop(idle);
    served.end().exits(0).stderr_is_empty();

    let person = Person::new();
    let login = person.login(&["--no-browser"]).start();
    let callback = person.callback(&person.address(&login));
    let port = callback.trim_start_matches("http://127.0.0.1:").split('/').next().expect("a port");
    let idle = open_idle_connections(&person.world, port.parse().expect("a port"));
    let beside = time(&mut || drop(person.curl(&[&callback]).stdout_has("You are logged in")));
    drop(idle);
    login.finish().exits(0);
    // The same without the connections: a program is started, and a login's code is exchanged.
    let login = person.login(&["--no-browser"]).start();
    let callback = person.callback(&person.address(&login));
    let alone = time(&mut || drop(person.curl(&[&callback]).stdout_has("You are logged in")));
    login.finish().exits(0);
    assert!(beside < Duration::from_secs(1) + 3 * alone, "{beside:?}, and {alone:?} alone");
}

#[test]
fn the_user_of_a_connection_is_known_without_proc() {
    if !require_root(&["setpriv", "curl", "unshare"]) {
        return;
    }
    let world = World::new();
    let script = "mount -t tmpfs tmpfs /proc || exit 99; exec \"$@\"";
    let arguments = ["-m", "sh", "-c", script, "sh", YCRED, "exec", "--serve", "sh", "-c", WAITING];
    let served = ServedChild::start_call(&world, world.sandbox.call("unshare", arguments));
    let token = served.token();
    let url = format!("http://127.0.0.1:{}{METADATA}", served.port());
    let request = ["-s", "-w", " %{http_code}", "-H", "Metadata-Flavor: Google", url.as_str()];
    let run = as_nobody(&world, "curl", &request).run().exits(0).never_prints(&token);
    assert!(run.stdout.ends_with(" 403"), "{run}");
    served.end().exits(0).stderr_is_empty();
}

/// Returns true if the process has ended, perhaps without anybody collecting its status.
fn is_over(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn if_exec_serve_is_killed_its_child_ends_before_another_user_takes_the_port() {
    if !require_root(&["setpriv", PYTHON, "curl"]) {
        return;
    }
    let world = World::new();
    // The child uses whatever token the endpoint returns.
    let script = format!(
        "echo $$ > pid; echo ${{YC_METADATA_ADDR#*:}} > port; for turn in $(seq 4000); do \
         curl -s -H 'Metadata-Flavor: Google' http://$YC_METADATA_ADDR{METADATA} >> tokens; sleep 0.02; done"
    );
    let running = world.sandbox.ycred(["exec", "--serve", "sh", "-c", &script]).start();
    let file = |name: &str| fs::read_to_string(world.sandbox.path("work").join(name)).unwrap_or_default();
    wait_until("the child has a token", || file("tokens").contains("access_token"));
    let child: u32 = file("pid").trim().parse().expect("a process id");
    let port: u16 = file("port").trim().parse().expect("a port");
    running.signal(libc::SIGKILL);
    assert!(!running.finish().status.success());
    wait_until("the child has ended", || is_over(child));
    let attacker = "import http.server, sys\nclass H(http.server.BaseHTTPRequestHandler):\n  def do_GET(self):\n    \
                    self.send_response(200); self.end_headers(); self.wfile.write(b'foreign')\n\
                    s = http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H); print('open', flush=True); s.serve_forever()";
    let attacker = as_nobody(&world, PYTHON, &["-c", attacker, &port.to_string()]).start();
    wait_until("the port is taken", || attacker.stdout().contains("open"));
    let before = file("tokens").len();
    std::thread::sleep(Duration::from_millis(300));
    assert!(file("tokens").len() == before && !file("tokens").contains("foreign"));
}

#[test]
fn a_child_whose_parent_is_killed_before_exec_does_not_start() {
    let Some(strace) = strace() else { return };
    if !require_root(&["sh"]) {
        return;
    }
    let world = World::new();
    world.get();
    let trace = world.sandbox.path("tmp/trace");
    // Delays the moment at which the child asks for the signal.
    let head = ["-f", "-qq", "-e", "trace=prctl", "-e", "inject=prctl:delay_enter=1500000", "-o"];
    let call = world.sandbox.call(&strace, head).and([trace.as_os_str(), YCRED.as_ref()]);
    let running = call.and(["exec", "--serve", "sh", "-c", "echo started > started"]).start();
    let children = |process: u32| -> Vec<u32> {
        let path = format!("/proc/{process}/task/{process}/children");
        let ids = fs::read_to_string(path).unwrap_or_default();
        ids.split_whitespace().map(|id| id.parse().expect("a process id")).collect()
    };
    // strace, ycred, and the child before exec.
    let end = Instant::now() + WAIT_LIMIT;
    let (ycred, child) = loop {
        let found = children(running.id()).into_iter().find_map(|ycred| Some((ycred, *children(ycred).first()?)));
        if let Some(found) = found {
            break found;
        }
        assert!(Instant::now() < end, "the child was not started");
        std::thread::sleep(Duration::from_millis(2));
    };
    // SAFETY: `kill` touches no memory, and strace has not collected the process yet.
    unsafe { libc::kill(i32::try_from(ycred).expect("a process id"), libc::SIGKILL) };
    wait_until("the child has ended", || is_over(child));
    running.finish();
    assert!(!world.sandbox.path("work/started").exists());
    // The port is free for anybody.
    drop(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
}
