//! What becomes of a renewal: callers that end in every way, by auth hosts that answer in every way.
//!
//! The expected outcome of each cell is in [`TABLE`]. An ordinary run tries the cells of [`is_ordinary`]; with
//! `YCRED_TEST_LOGIN_TABLE=all`, all of them.

use std::fs;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::emulator::auth::TOKEN;
use crate::emulator::faults::{Endpoint, Fault};
use crate::harness::machine::is_root;
use crate::harness::waiting::{HOUR, WAIT_LIMIT, is_free, wait_until};
use crate::harness::{Call, Run, Running, report_faults, run_all};
use crate::server::Stage;
use crate::sources::person::Person;

/// How a call for a token ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Caller {
    /// It has this many seconds.
    Seconds(u64),
    /// Bazel's hook, with at most eight seconds.
    Bazel,
    /// Its whole process group receives this signal while the renewal is running.
    Signal(i32),
    /// Its terminal closes while the renewal is running.
    Terminal,
    /// Its parent and itself are killed.
    Parent,
    Twenty,
    NoCache,
    ReadOnlyCache,
    /// It is the first process of a container, and has one second.
    First,
}

/// How the auth host treats a renewal. The time is in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Host {
    /// Replaces the refresh token at once, and answers after this time.
    AtOnce(u64),
    /// Replaces the refresh token after this time, and answers.
    Late(u64),
    /// Keeps the refresh token, and answers after this time.
    Never(u64),
    /// Requires a nonce in the proof.
    Nonce,
    /// Answers with this status until the caller has ended.
    Busy(u16),
    /// Closes the first connection without looking at the request.
    Drops,
    /// Replaces the refresh token, and closes the first connection without an answer.
    Loses,
    /// The same, but keeps the refresh token.
    LosesAndKeeps,
}

/// How a call and the next one must end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    /// `t`: It prints the token.
    Token,
    /// `w`: It ends at its deadline. The next call prints the token of the same renewal.
    Waits,
    /// `k`: It is killed, or has printed the token before. The next call prints the token of the same renewal.
    Killed,
    /// `?`: `t` or `w`, because the host answers near the deadline.
    Either,
    /// `f`: It reports the host's answer, or ends at its deadline. The next call prints the token.
    Fails,
    /// `d`: It reports that no answer came. The next call sends the refresh token once more, and prints the token.
    InDoubt,
    /// `D`: It is killed. The next call is as in `d`.
    KilledInDoubt,
    /// `o`: It reports that no answer came. The next call reports in one line that the login is over.
    Over,
    /// `O`: It is killed. The next call is as in `o`.
    KilledOver,
}

const CALLERS: [Caller; 13] = [
    Caller::Seconds(1),
    Caller::Seconds(3),
    Caller::Seconds(20),
    Caller::Bazel,
    Caller::Signal(libc::SIGINT),
    Caller::Signal(libc::SIGTERM),
    Caller::Signal(libc::SIGHUP),
    Caller::Terminal,
    Caller::Parent,
    Caller::Twenty,
    Caller::NoCache,
    Caller::ReadOnlyCache,
    Caller::First,
];

/// The columns are [`CALLERS`], the letters those of [`Expected`].
#[rustfmt::skip]
const TABLE: [(Host, &str); 21] = [
    //                    1s 3s 20s bazel INT TERM HUP tty kill x20 no-cache ro-cache pid1
    (Host::AtOnce(0),      "t t t t k k k k k t t t t"),
    (Host::AtOnce(2),      "w ? t t k k k k k t t t t"),
    (Host::AtOnce(6),      "w w t ? k k k k k t t t t"),
    (Host::AtOnce(9),      "w w t w k k k k k t t t t"),
    (Host::AtOnce(25),     "w w w w k k k k k w w w t"),
    (Host::Late(0),        "t t t t k k k k k t t t t"),
    (Host::Late(2),        "w ? t t k k k k k t t t t"),
    (Host::Late(6),        "w w t ? k k k k k t t t t"),
    (Host::Late(9),        "w w t w k k k k k t t t t"),
    (Host::Late(25),       "w w w w k k k k k w w w t"),
    (Host::Never(0),       "t t t t k k k k k t t t t"),
    (Host::Never(2),       "w ? t t k k k k k t t t t"),
    (Host::Never(6),       "w w t ? k k k k k t t t t"),
    (Host::Never(9),       "w w t w k k k k k t t t t"),
    (Host::Never(25),      "w w w w k k k k k w w w t"),
    (Host::Nonce,          "t t t t k k k k k t t t t"),
    (Host::Busy(429),      "f f f f k k k k k f f f f"),
    (Host::Busy(503),      "f f f f k k k k k f f f f"),
    (Host::Drops,          "d d d d D D D D D d d d d"),
    (Host::Loses,          "o o o o O O O O O o o o o"),
    (Host::LosesAndKeeps,  "d d d d D D D D D d d d d"),
];

/// Cells with long delays and equal paths through the code are left to a full run.
fn is_ordinary(caller: Caller, host: Host) -> bool {
    let is_basic = matches!(caller, Caller::Seconds(1 | 20) | Caller::Signal(libc::SIGINT) | Caller::Twenty);
    match host {
        Host::AtOnce(2) | Host::Drops | Host::Loses => true,
        Host::AtOnce(0) => matches!(caller, Caller::First | Caller::Bazel | Caller::ReadOnlyCache) || is_basic,
        Host::AtOnce(6) => matches!(caller, Caller::Seconds(3) | Caller::Bazel | Caller::Terminal) || is_basic,
        Host::AtOnce(9) => matches!(caller, Caller::Seconds(20) | Caller::Bazel),
        Host::AtOnce(25) => matches!(caller, Caller::Seconds(20) | Caller::NoCache | Caller::First),
        Host::Late(2) | Host::Never(2) | Host::Nonce | Host::Busy(503) | Host::LosesAndKeeps => is_basic,
        Host::Busy(_) => caller == Caller::Seconds(20),
        _ => false,
    }
}

fn expected(letter: &str) -> Expected {
    match letter {
        "t" => Expected::Token,
        "w" => Expected::Waits,
        "k" => Expected::Killed,
        "?" => Expected::Either,
        "f" => Expected::Fails,
        "d" => Expected::InDoubt,
        "D" => Expected::KilledInDoubt,
        "o" => Expected::Over,
        "O" => Expected::KilledOver,
        other => panic!("{other}: not a letter of the table"),
    }
}

/// Opens a terminal, runs a program in it, and closes the terminal once a file exists.
const CLOSED_TERMINAL: &str = r#"
import ctypes, os, pty, sys, time
pid, master = pty.fork()
if pid == 0:
    ctypes.CDLL(None).prctl(1, 9) # PR_SET_PDEATHSIG, SIGKILL
    os.execvp(sys.argv[2], sys.argv[2:])
end = time.monotonic() + 60
while not os.path.exists(sys.argv[1]) and time.monotonic() < end:
    time.sleep(0.02)
os.close(master)
os.waitpid(pid, 0)
"#;

/// One cell: a person whose token has expired, and an auth host.
struct Cell {
    person: Person,
    caller: Caller,
    host: Host,
}

impl Cell {
    fn new(caller: Caller, host: Host) -> Cell {
        let person = Person::new();
        let emulator = &person.world.emulator;
        emulator.set(|settings| {
            settings.login.one_time = !matches!(host, Host::Never(_) | Host::LosesAndKeeps);
            settings.login.nonce = (host == Host::Nonce).then_some(401);
        });
        person.profile("hosts = [\"cr.example\"]");
        person.log_in();
        person.age(13 * HOUR);
        let seconds = Duration::from_secs;
        let fault = match host {
            Host::AtOnce(delay) | Host::Never(delay) => Fault::late(seconds(delay)),
            Host::Late(delay) => Fault::slow(seconds(delay)),
            Host::Nonce => Fault::default(),
            Host::Busy(status) => Fault::refuse(status),
            Host::Drops => Fault { status: Some(503), ..Fault::broken(Stage::Reset) }.times(1),
            Host::Loses | Host::LosesAndKeeps => Fault::broken(Stage::BeforeAnswer).times(1),
        };
        // Time for a signal to arrive before the connection breaks.
        let fault = match host {
            Host::Drops | Host::Loses | Host::LosesAndKeeps => fault.delayed(seconds(1) / 4),
            _ => fault,
        };
        emulator.fault(fault.on(Endpoint::OauthToken));
        Cell { person, caller, host }
    }

    /// Returns the number of requests of a login or a renewal without an error.
    fn requests_of_one(&self) -> usize {
        if self.host == Host::Nonce { 2 } else { 1 }
    }

    fn call(&self) -> Call {
        let token = |arguments: &[&str]| self.person.token(arguments);
        match self.caller {
            Caller::Seconds(seconds) => token(&["--timeout", &format!("{seconds}s")]),
            Caller::Bazel => {
                self.person.world.sandbox.ycred(["bazel", "get"]).stdin("{\"uri\":\"https://cr.example/x\"}")
            }
            Caller::NoCache => token(&["--no-cache"]),
            Caller::ReadOnlyCache => token(&[]).env("YCRED_CACHE_DIR", "/proc/ycred"),
            Caller::First => {
                let program = ["-p", "-f", crate::harness::YCRED, "token", "--timeout", "1s"];
                self.person.world.sandbox.call("unshare", program)
            }
            Caller::Terminal => {
                let script = self.person.world.sandbox.script("terminal.py", CLOSED_TERMINAL);
                let close = self.person.world.sandbox.path("tmp/close");
                let arguments = [script.as_os_str(), close.as_os_str(), crate::harness::YCRED.as_ref()];
                self.person.world.sandbox.call("python3", arguments).and(["token"])
            }
            Caller::Parent => {
                let shell = format!("{} token; :", crate::harness::YCRED);
                self.person.world.sandbox.call("sh", ["-c", &shell])
            }
            Caller::Signal(_) | Caller::Twenty => token(&[]),
        }
    }

    /// Runs the caller to its end.
    fn run(&self) -> Vec<Run> {
        let wait_for_renewal = || {
            assert!(self.person.world.emulator.wait_for_requests(TOKEN, self.requests_of_one() + 1, WAIT_LIMIT));
        };
        let end = |running: Running, signal: i32| {
            wait_for_renewal();
            let group = i32::try_from(running.id()).expect("a process id");
            // SAFETY: `kill` touches no memory. The caller leads its own group, and has not been waited for.
            unsafe { libc::kill(-group, signal) };
            vec![running.finish()]
        };
        match self.caller {
            Caller::Twenty => run_all((0..20).map(|_| self.call())),
            Caller::Signal(signal) => end(self.call().start(), signal),
            Caller::Parent => end(self.call().start(), libc::SIGKILL),
            Caller::Terminal => {
                let running = self.call().start();
                wait_for_renewal();
                fs::write(self.person.world.sandbox.path("tmp/close"), "").expect("a file");
                vec![running.finish()]
            }
            _ => vec![self.call().run()],
        }
    }

    fn try_it(&self, expected: Expected) {
        let runs = self.run();
        let lock = self.person.file(".lock");
        let wait_for_end = || wait_until("the renewal has ended", || is_free(&lock));
        if expected == Expected::Fails || matches!(self.host, Host::Busy(_)) {
            self.person.world.emulator.clear_faults();
        }
        wait_for_end();
        for run in &runs {
            let limit = match (self.caller, self.host) {
                // The measure is the host here, because a busy machine may take seconds to start a process.
                (Caller::Seconds(limit @ (1 | 3)), Host::AtOnce(after) | Host::Late(after) | Host::Never(after)) => {
                    Some(limit.max(after) + 3)
                }
                (Caller::Seconds(limit), _) => Some(limit + 3),
                _ => None,
            };
            assert!(limit.is_none_or(|limit| run.took < Duration::from_secs(limit)), "{run}");
            // On a busy machine, a second may pass before anything else happens.
            let is_short = self.caller == Caller::Seconds(1) && is_failure(run, "renewing this login");
            match expected {
                _ if is_short => {}
                Expected::Token => assert!(is_token(run), "{run}"),
                Expected::Either => assert!(is_token(run) || is_failure(run, "has been renewing this login"), "{run}"),
                Expected::Waits => assert!(is_failure(run, "has been renewing this login"), "{run}"),
                Expected::Fails => assert!(is_failure(run, ""), "{run}"),
                Expected::InDoubt | Expected::Over => assert!(is_failure(run, "got no answer"), "{run}"),
                Expected::Killed | Expected::KilledInDoubt | Expected::KilledOver => {}
            }
        }
        // A failure is remembered for a few seconds.
        if matches!(expected, Expected::Fails | Expected::InDoubt | Expected::Over) {
            self.person.age(Duration::from_secs(10));
        }
        let next = self.person.token(&[]).run();
        let (one, sent) = (self.requests_of_one(), self.person.tokens());
        let reused = self.person.world.emulator.logins(|logins| logins.reused);
        match expected {
            Expected::Over | Expected::KilledOver => {
                assert_eq!(next.status.code(), Some(1), "{next}");
                assert!(next.stderr.contains("the login is over: the answer to the last renewal ("), "{next}");
                assert!(next.stderr.contains("Z) was lost\nycred: hint: ycred login"), "{next}");
                // Once more in all, however many calls follow.
                assert_eq!(self.person.token(&["--no-cache"]).run().status.code(), Some(1));
                assert_eq!((self.person.tokens(), reused), (one + 2, 1));
                return;
            }
            Expected::InDoubt | Expected::KilledInDoubt => assert_eq!(sent, one + 2, "{next}"),
            Expected::Token | Expected::Waits | Expected::Either => assert_eq!(sent, 2 * one, "{next}"),
            Expected::Killed | Expected::Fails => {
                assert!(matches!(self.host, Host::Busy(_)) || sent == 2 * one, "{sent} requests\n{next}");
            }
        }
        assert!(is_token(&next), "the next call\n{next}");
        assert_eq!((reused, self.person.asked()), (0, 1), "{next}");
    }
}

fn is_token(run: &Run) -> bool {
    run.status.code() == Some(0) && run.stdout.contains("t1.")
}

/// Returns true if a call has failed in a way that may be temporary.
fn is_failure(run: &Run, message: &str) -> bool {
    // Bazel's hook has its own exit code.
    run.status.code().is_some_and(|code| code != 0) && run.stdout.is_empty() && run.stderr.contains(message)
}

#[test]
fn no_ending_of_a_call_costs_a_login_whose_host_has_answered() {
    let is_full = std::env::var_os("YCRED_TEST_LOGIN_TABLE").is_some_and(|value| value == "all");
    let has_python = crate::harness::require_client("python3").is_some();
    let can_be_first = is_root() && crate::harness::require_client("unshare").is_some();
    let mut cells: Vec<(Caller, Host, Expected)> = Vec::new();
    for (host, row) in TABLE {
        let letters: Vec<&str> = row.split(' ').collect();
        assert_eq!(letters.len(), CALLERS.len(), "{host:?}");
        for (caller, letter) in CALLERS.into_iter().zip(letters) {
            let is_possible = match caller {
                Caller::First => can_be_first,
                Caller::Terminal => has_python,
                _ => true,
            };
            if is_possible && (is_full || is_ordinary(caller, host)) {
                cells.push((caller, host, expected(letter)));
            }
        }
    }
    // The slowest first, so that they do not wait for the others.
    cells.sort_by_key(|(_, host, _)| match host {
        Host::AtOnce(after) | Host::Late(after) | Host::Never(after) => *after,
        _ => 1,
    });
    let tried = cells.len();
    let (queue, failures) = (Mutex::new(cells), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..12 {
            let work = || {
                while let Some((caller, host, expected)) = { queue.lock().expect("no panic").pop() } {
                    let cell = thread::Builder::new().name(format!("{caller:?} by {host:?}: {expected:?}"));
                    let outcome =
                        cell.spawn(move || Cell::new(caller, host).try_it(expected)).expect("a thread").join();
                    if outcome.is_err() {
                        failures.lock().expect("no panic").push(format!("{caller:?} by {host:?}: not {expected:?}"));
                    }
                }
            };
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{} of {tried} cells failed:\n{}", failures.len(), failures.join("\n"));
    report_faults("call ended, or its auth host misbehaving, during the renewal of a login", tried);
}

#[test]
fn a_renewal_does_not_hold_the_pipes_of_its_caller() {
    let cell = Cell::new(Caller::Seconds(1), Host::AtOnce(9));
    let shell = format!("{} token --timeout 1s 3>&1 4>&1 2>&1 | cat", crate::harness::YCRED);
    // `cat` ends once nobody has the pipe open.
    let run = cell.person.world.sandbox.call("sh", ["-c", &shell]).run().exits(0).stdout_has("renewing this login");
    assert!(run.took < Duration::from_secs(7), "{run}");
    assert!(!is_free(&cell.person.file(".lock")), "the renewal is still running");
    wait_until("the renewal has ended", || is_free(&cell.person.file(".lock")));
    assert!(is_token(&cell.person.token(&[]).run()));
}
