//! The child process: its exit status, signals and terminal.

use super::served::ServedChild;
use crate::stories::terminal::TERMINAL;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use crate::harness::machine::strace;
use crate::harness::waiting::wait_until;
use crate::harness::{YCRED, require_client};
use crate::world::World;

#[test]
fn ycred_exits_like_the_child() {
    let world = World::new();
    let exec = |arguments: &[&str]| world.sandbox.ycred([&["exec", "--serve"], arguments].concat()).run();
    exec(&["true"]).exits(0).stderr_is_empty();
    exec(&["--", "sh", "-c", "cat; echo said; exit 7"]).exits(7).stderr_is_empty().stdout_is("said\n");
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGINT, libc::SIGSEGV] {
        let run = exec(&["sh", "-c", &format!("kill -{signal} $$")]);
        assert_eq!(run.status.signal(), Some(signal), "{run}");
        assert_eq!(run.stderr, "", "{run}");
    }
    exec(&["no-such-program"]).exits(127).stderr_has("program not found");
    exec(&["/"]).exits(126);
    exec(&["-p", "none", "true"]).exits(125);
    world.sandbox.ycred(["exec", "--with-token", "true"]).run().exits(125).stderr_has("--serve");
    assert_eq!(world.requests(), 1);
    // Once the child closes its stdout the pipe ends, since ycred has closed its copies.
    let run = world.sandbox.call(
        "sh",
        [
            "-c",
            "\"$0\" exec --serve sh -c 'exec >&-; for turn in $(seq 4000); do [ -e seen ] && break; sleep 0.02; done' | { cat; touch seen; }",
            YCRED,
        ],
    );
    run.run().exits(0).stderr_is_empty();
}

#[test]
fn signals_sent_to_ycred_are_forwarded_to_the_child_once() {
    let world = World::new();
    let script =
        "for s in HUP INT QUIT TERM USR1 USR2 ALRM; do trap \"echo $s\" $s; done; trap 'echo over; exit 3' WINCH
echo ready; for turn in $(seq 4000); do sleep 0.02; done";
    let running = world.sandbox.ycred(["exec", "--serve", "sh", "-c", script]).start();
    wait_until("the child is ready", || running.stdout().contains("ready"));
    let signals = [
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("TERM", libc::SIGTERM),
        ("USR1", libc::SIGUSR1),
        ("USR2", libc::SIGUSR2),
        ("ALRM", libc::SIGALRM),
    ];
    for (name, signal) in signals {
        running.signal(signal);
        wait_until(name, || running.stdout().lines().any(|line| line == name));
    }
    running.signal(libc::SIGWINCH);
    let run = running.finish().exits(3).stderr_is_empty();
    assert_eq!(run.stdout, "ready\nHUP\nINT\nQUIT\nTERM\nUSR1\nUSR2\nALRM\nover\n", "expected each signal once");
}

#[test]
fn the_child_inherits_the_signal_state_and_no_descriptors_of_ycred() {
    let world = World::new();
    let signals = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    let output_of = |arguments: &[&str]| world.sandbox.call("sh", arguments).run().exits(0).stdout;
    // Both runs use sh, so that only inherited state can differ.
    for before in ["", "trap '' INT HUP PIPE CHLD XFSZ; "] {
        let direct = output_of(&["-c", &format!("{before}exec sh -c \"$0\""), signals]);
        let served = output_of(&["-c", &format!("{before}exec \"$1\" exec --serve sh -c \"$0\""), signals, YCRED]);
        assert_eq!(served, direct, "{before}");
    }
    let open = "ls /proc/$$/fd";
    let served = world.sandbox.ycred(["exec", "--serve", "sh", "-c", open]).run().exits(0).stdout;
    assert_eq!(served, output_of(&["-c", open]));
}

#[test]
fn ycred_stops_with_the_child_and_continues_it() {
    let world = World::new();
    let running = world.sandbox.ycred(["exec", "--serve", "sh", "-c", "kill -STOP $$; echo on"]).start();
    let state = || fs::read_to_string(format!("/proc/{}/stat", running.id())).unwrap_or_default();
    wait_until("ycred stops too", || state().contains(") T "));
    running.signal(libc::SIGCONT);
    running.finish().exits(0).stdout_is("on\n").stderr_is_empty();
}

#[test]
fn sigtstp_and_sigcont_sent_to_ycred_also_stop_and_continue_the_child() {
    let world = World::new();
    let script =
        "echo $$ > child.new; mv child.new child; for turn in $(seq 4000); do [ -e over ] && break; sleep 0.02; done";
    let running = world.sandbox.ycred(["exec", "--serve", "sh", "-c", script]).start();
    let file = world.sandbox.path("work/child");
    wait_until("the child has started", || file.exists());
    let child = fs::read_to_string(file).expect("its id").trim().to_owned();
    let is_stopped = |id: &str| fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default().contains(") T ");
    let both_are = |stopped: bool| [child.clone(), running.id().to_string()].iter().all(|id| is_stopped(id) == stopped);
    for _ in 0..3 {
        running.signal(libc::SIGTSTP);
        wait_until("both have stopped", || both_are(true));
        running.signal(libc::SIGCONT);
        wait_until("both continue", || both_are(false));
    }
    world.sandbox.file("work/over", "");
    running.finish().exits(0).stderr_is_empty();
}

/// A Python program that changes its signal state and then executes another program.
const STARTER: &str = "
import os, signal, sys
if sys.argv[1] == 'held back':
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1])
elif sys.argv[1] == 'ignored':
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
elif sys.argv[1] == 'alarm':
    signal.setitimer(signal.ITIMER_REAL, 0.5)
os.execvp(sys.argv[2], sys.argv[2:])
";

#[test]
fn with_any_inherited_signal_state_the_childs_exit_is_seen_and_its_signals_are_unchanged() {
    let Some(python) = require_client("python3") else { return };
    let world = World::new();
    world.get();
    // The blocked and ignored signals among the 31 standard ones; the C library reserves some real-time signals.
    let signal_sets = |state: &str, arguments: &[&str]| -> Vec<u64> {
        let arguments =
            [&["-c", STARTER, state], arguments, &["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]].concat();
        let run = world.sandbox.call(&python, arguments).run().exits(0);
        let sets = run.stdout.split_whitespace().filter_map(|field| u64::from_str_radix(field, 16).ok());
        sets.map(|set| set & 0x7fff_ffff).collect()
    };
    for state in ["held back", "ignored", "plain"] {
        let direct = signal_sets(state, &[]);
        assert_eq!(direct.len(), 2, "{state}");
        assert_eq!(signal_sets(state, &[YCRED, "exec", "--serve"]), direct, "{state}");
    }
    // A timer inherited by ycred (`perl -e 'alarm 5; exec @ARGV'`) signals the child.
    let arguments = ["-c", STARTER, "alarm", YCRED, "exec", "--serve", "sh", "-c"];
    let arguments = [&arguments[..], &["trap 'exit 6' ALRM; for turn in $(seq 4000); do sleep 0.02; done"]].concat();
    world.sandbox.call(&python, arguments).run().exits(6).stderr_is_empty();
}

#[test]
fn a_source_that_runs_commands_does_not_disturb_the_child() {
    let world = World::new();
    world.sandbox.script("config/count", "#!/bin/sh\necho x >> counted\necho t1.$(wc -l < counted).x\n");
    world.sandbox.profile("counting", "source = \"command\"\ncommand = [\"./count\"]\nmax-age = \"1s\"\n");
    let served = ServedChild::start(&world, &["-p", "counting"]);
    let first = served.token();
    wait_until("the command has been run again", || served.token() != first);
    served.end().exits(0).stderr_is_empty();
}

#[test]
fn the_child_owns_the_terminal() {
    let Some(python) = require_client("python3") else { return };
    let world = World::new();
    let terminal = world.sandbox.script("terminal.py", TERMINAL).into_os_string().into_string().expect("UTF-8");
    // Ctrl-C would end a `seq` that runs after the first output, and with it the loop.
    let child = "turns=$(seq 2000); trap 'echo int' INT; test -t 0 && test -t 1 && test -t 2 && echo a terminal
for turn in $turns; do [ -z \"$line\" ] || break; read line || sleep 0.01; done; echo got $line; exit 9";
    let arguments = [&terminal, YCRED, "exec", "--serve", "sh", "-c", child, "a terminal=>\\x03|int=>words\\n"];
    let run = world.sandbox.call(&python, arguments).run().exits(9);
    assert_eq!(run.stdout.matches("int").count(), 1, "Ctrl-C reaches the child once\n{run}");
    assert!(run.stdout.contains("got words"), "{run}");
    // The child may see two pending signals as one, so the trace must show that ycred sends none.
    let Some(strace) = strace() else { return };
    let calls = world.sandbox.path("work/calls");
    let [strace, calls] = [strace, calls].map(|path| path.into_os_string().into_string().expect("UTF-8"));
    let traced = ["-f", "-qq", "-o", &calls, "-e", "trace=kill,tkill,tgkill", YCRED, "exec", "--serve", "sh", "-c"];
    let typed = [child, "a terminal=>\\x03|int=>words\\n"];
    let arguments = [&[terminal.as_str(), strace.as_str()], &traced[..], &typed].concat();
    world.sandbox.call(&python, arguments).run().exits(9);
    let sent = fs::read_to_string(calls).expect("the calls");
    assert!(!sent.contains("kill("), "{sent}");
    // In a shell with job control, Ctrl-Z stops both processes and `fg` continues both.
    let Some(bash) = require_client("bash") else { return };
    // The terminal echoes its input, so the typed command must not contain the expected output.
    let job = format!("'{YCRED}' exec --serve sh -c 'echo sta\"\"rted; read line; echo go\"\"t $line'");
    let steps = format!("bash=>{job}\\n|started=>\\x1a|line'\\r\\nbash=>fg\\n|fg\\r\\n=>words\\n|got words=>exit 4\\n");
    let arguments = [&terminal, bash.to_str().expect("UTF-8"), "--norc", "--noediting", "-i", &steps];
    let run = world.sandbox.call(&python, arguments).run().exits(4);
    assert!(run.stdout.contains("got words"), "{run}");
    // A suspended inner shell must get the terminal back when it continues. Otherwise it exits.
    let job = format!("'{YCRED}' exec --serve bash --norc --noediting -i\\necho in$((40+2))ner");
    let typed = "in42ner=>suspend\\n|Stopped=>fg\\n|fg\\r\\n=>echo ba$((40+3))ck; exit 4\\n|ba43ck=>exit $?\\n";
    let steps = format!("bash=>{job}\\n|{typed}");
    let arguments = [&terminal, bash.to_str().expect("UTF-8"), "--norc", "--noediting", "-i", &steps];
    let run = world.sandbox.call(&python, arguments).run().exits(4);
    assert!(run.stdout.contains("ba43ck"), "{run}");
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_closed_terminal_ends_the_child_too() {
    let Some(python) = require_client("python3") else { return };
    let world = World::new();
    // Only the session leader gets SIGHUP when the terminal closes. Here that is ycred.
    let script = "import ctypes, os, pty, sys
pid, master = pty.fork()
if pid == 0:
    ctypes.CDLL(None).prctl(1, 9) # PR_SET_PDEATHSIG, SIGKILL
    os.execvp(sys.argv[1], sys.argv[1:])
os.read(master, 1)
os.close(master)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";
    let child = "trap 'exit 8' HUP; echo ready; for turn in $(seq 4000); do sleep 0.02; done";
    let arguments = ["-c", script, YCRED, "exec", "--serve", "sh", "-c", child];
    world.sandbox.call(&python, arguments).run().exits(8);
}
