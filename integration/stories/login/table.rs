//! What becomes of a renewal: callers that end in every way, by auth hosts that answer in every way.
//!
//! The expected outcome of each cell is in [`TABLE`]. Each call must also end in time, and leave its pipes to nobody.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::emulator::auth::TOKEN;
use crate::emulator::faults::{Endpoint, Fault};
use crate::harness::control::{Timed, TimedRun};
use crate::harness::machine::is_root;
use crate::harness::waiting::{HOUR, WAIT_LIMIT, is_free, wait_until};
use crate::harness::{Call, Run, report_faults};
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
    /// `?`: `t` or `w`, because the host answers when the caller's request ends, after three quarters of its time.
    Either,
    /// `k`: It is killed, or has printed the token before. The next call prints the token of the same renewal.
    Killed,
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

fn expected(letter: &str) -> Expected {
    match letter {
        "t" => Expected::Token,
        "w" => Expected::Waits,
        "?" => Expected::Either,
        "k" => Expected::Killed,
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

/// Why a busy machine may have kept a cell from having its outcome. It is then tried again, at last alone.
struct Spoilt(String);

impl Spoilt {
    fn by(what: &str, run: &Run) -> Spoilt {
        Spoilt(format!("{what}\n{run}"))
    }
}

/// One cell: a person whose token has expired, and an auth host.
struct Cell {
    person: Person,
    caller: Caller,
    host: Host,
}

impl Cell {
    fn new(caller: Caller, host: Host) -> Result<Cell, Spoilt> {
        let person = Person::new();
        let emulator = &person.world.emulator;
        emulator.set(|settings| {
            settings.login.one_time = !matches!(host, Host::Never(_) | Host::LosesAndKeeps);
            settings.login.nonce = (host == Host::Nonce).then_some(401);
        });
        person.profile("hosts = [\"cr.example\"]");
        let login = person.login(&[]).run();
        if login.status.code() != Some(0) {
            return Err(Spoilt::by("the login before", &login));
        }
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
        Ok(Cell { person, caller, host })
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
                let shell = format!("'{}' token; :", crate::harness::YCRED);
                self.person.world.sandbox.call("sh", ["-c", &shell])
            }
            Caller::Signal(_) | Caller::Twenty => token(&[]),
        }
    }

    /// Returns the time after which the caller must end. `None` if it is killed before.
    ///
    /// A request under the lock of a record gets three quarters of the caller's time, so that those that wait for it get
    /// its reason.
    fn limit(&self) -> Option<Duration> {
        let seconds = |seconds: u64| Duration::from_secs(seconds);
        Some(match self.caller {
            Caller::Seconds(limit) => seconds(limit) * 3 / 4,
            Caller::Bazel => seconds(8) * 3 / 4,
            // The default limit.
            Caller::Twenty => seconds(20) * 3 / 4,
            Caller::NoCache | Caller::ReadOnlyCache => seconds(20),
            // It renews in line, because no other process would outlive it.
            Caller::First => match self.host {
                Host::AtOnce(after) | Host::Late(after) | Host::Never(after) => seconds(after.max(1)),
                _ => seconds(1),
            },
            Caller::Signal(_) | Caller::Terminal | Caller::Parent => return None,
        })
    }

    /// Runs the caller to its end, beside a control process that ends when the caller should.
    fn run(&self) -> Result<Vec<TimedRun>, Spoilt> {
        let sandbox = &self.person.world.sandbox;
        let count = if self.caller == Caller::Twenty { 20 } else { 1 };
        let timed = Timed::start(sandbox, (0..count).map(|_| self.call()), self.limit().unwrap_or(WAIT_LIMIT));
        let emulator = &self.person.world.emulator;
        if self.limit().is_none() && !emulator.wait_for_requests(TOKEN, self.requests_of_one() + 1, WAIT_LIMIT) {
            timed.kill(libc::SIGKILL);
            // A renewal process that begins late sends nothing, because it may have no time left for the answer.
            return Err(Spoilt::by("no request before the signal", &timed.finish().remove(0).run));
        }
        match self.caller {
            Caller::Signal(signal) => timed.kill(signal),
            Caller::Parent => timed.kill(libc::SIGKILL),
            Caller::Terminal => {
                fs::write(sandbox.path("tmp/close"), "").expect("a file");
                timed.end_control();
            }
            _ => {}
        }
        Ok(timed.finish())
    }

    /// # Errors
    /// What a busy machine may have caused. It makes the time of a process pass while others do not advance.
    fn try_it(&self, expected: Expected) -> Result<(), Spoilt> {
        let runs = self.run()?;
        let lock = self.person.file(".lock");
        let wait_for_end = || wait_until("the renewal has ended", || is_free(&lock));
        if expected == Expected::Fails || matches!(self.host, Host::Busy(_)) {
            self.person.world.emulator.clear_faults();
        }
        wait_for_end();
        for timed in &runs {
            if timed.is_late() {
                return Err(Spoilt::by(&format!("{:?} after the control process", timed.lateness), &timed.run));
            }
            self.check_call(&timed.run, expected)?;
        }
        if self.has_missed_its_answer() {
            return Err(Spoilt("the host's answer came after the time of the renewal".into()));
        }
        // A failure is remembered for a few seconds.
        if matches!(expected, Expected::Fails | Expected::InDoubt | Expected::Over) {
            self.person.age(Duration::from_secs(10));
        }
        let next = self.person.token(&[]).run();
        if is_out_of_time(&next) {
            return Err(Spoilt::by("the time of the next call was over", &next));
        }
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
                return Ok(());
            }
            Expected::InDoubt | Expected::KilledInDoubt => assert_eq!(sent, one + 2, "{next}"),
            Expected::Token | Expected::Waits | Expected::Either => assert_eq!(sent, 2 * one, "{next}"),
            Expected::Killed | Expected::Fails => {
                assert!(matches!(self.host, Host::Busy(_)) || sent == 2 * one, "{sent} requests\n{next}");
            }
        }
        assert!(is_token(&next), "the next call\n{next}");
        assert_eq!((reused, self.person.asked()), (0, 1), "{next}");
        Ok(())
    }

    /// Checks how a call has ended.
    fn check_call(&self, run: &Run, expected: Expected) -> Result<(), Spoilt> {
        let (has_waited, is_over) = (is_failure(run, "has been renewing this login"), is_out_of_time(run));
        let spoilt = match expected {
            Expected::Token | Expected::InDoubt | Expected::Over if is_over => "its time was over before the answer",
            // The renewal process had not yet written its number into the lock file.
            Expected::Waits | Expected::Either if is_over && !has_waited => "its time was over before the renewal",
            // It did not look at its clock before.
            Expected::Waits if is_token(run) => "it ended after the answer",
            // One of many that began later. For the others, it is the next call.
            Expected::InDoubt | Expected::Over
                if self.caller == Caller::Twenty
                    && (is_token(run) || is_failure(run, "default: the login is over")) =>
            {
                "it began after the renewal"
            }
            _ => "",
        };
        if !spoilt.is_empty() {
            return Err(Spoilt::by(spoilt, run));
        }
        let is_expected = match expected {
            Expected::Token => is_token(run),
            Expected::Either => is_token(run) || has_waited,
            Expected::Waits => has_waited,
            Expected::Fails => is_failure(run, ""),
            Expected::InDoubt | Expected::Over => is_failure(run, "got no answer"),
            Expected::Killed | Expected::KilledInDoubt | Expected::KilledOver => true,
        };
        assert!(is_expected, "{run}");
        Ok(())
    }

    /// Returns true if the host waits so long before it answers that the renewal may have ended first.
    fn has_missed_its_answer(&self) -> bool {
        let is_slow = matches!(self.host, Host::AtOnce(after) | Host::Late(after) | Host::Never(after) if after > 20);
        is_slow && self.person.state()["renewal"]["failure"]["timed_out"] == true
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

/// Returns true if a call's time was over before another process had a result.
fn is_out_of_time(run: &Run) -> bool {
    ["renewing this login", "asking for this token"].iter().any(|message| is_failure(run, message))
}

/// A cell that is still to be tried.
struct Pending {
    caller: Caller,
    host: Host,
    expected: Expected,
    /// How often a busy machine may have spoilt it.
    spoilt: usize,
}

impl Pending {
    fn name(&self) -> String {
        let Pending { caller, host, expected, .. } = self;
        format!("{caller:?} by {host:?}: {expected:?}")
    }

    /// # Errors
    /// `Err` if an assertion has failed, and `Ok(Err(_))` if the machine may be the reason.
    fn try_once(&self, setup: &Mutex<()>) -> thread::Result<Result<(), Spoilt>> {
        let attempt = || {
            // One at a time: all logins at once would make the first callers late.
            let turn = setup.lock().unwrap_or_else(PoisonError::into_inner);
            let cell = Cell::new(self.caller, self.host)?;
            drop(turn);
            cell.try_it(self.expected)
        };
        thread::scope(|scope| {
            // Its name is in the message of a panic.
            let thread = thread::Builder::new().name(self.name());
            thread.spawn_scoped(scope, attempt).expect("a thread").join()
        })
    }
}

/// How often a cell is tried beside others, if a busy machine may be the reason of its failure.
const TRIES: usize = 2;
/// How often it is tried alone after that.
const TRIES_ALONE: usize = 4;
/// No machine is so busy that more cells must be tried alone.
const ALONE_MAX: usize = 60;
/// Most cells wait for a host, so many of them run at the same time.
const AT_ONCE: usize = 32;

#[test]
fn no_ending_of_a_call_costs_a_login_whose_host_has_answered() {
    let has_python = crate::harness::require_client("python3").is_some();
    let can_be_first = is_root() && crate::harness::require_client("unshare").is_some();
    let mut cells: Vec<Pending> = Vec::new();
    for (host, row) in TABLE {
        let letters: Vec<&str> = row.split(' ').collect();
        assert_eq!(letters.len(), CALLERS.len(), "{host:?}");
        for (caller, letter) in CALLERS.into_iter().zip(letters) {
            let is_possible = match caller {
                Caller::First => can_be_first,
                Caller::Terminal => has_python,
                _ => true,
            };
            if is_possible {
                cells.push(Pending { caller, host, expected: expected(letter), spoilt: 0 });
            }
        }
    }
    // The slowest first, so that they do not wait for the others.
    cells.sort_by_key(|cell| match cell.host {
        Host::AtOnce(after) | Host::Late(after) | Host::Never(after) => after,
        _ => 1,
    });
    let tried = cells.len();
    let (queue, setup) = (Mutex::new(cells), Mutex::new(()));
    let (failures, spoilt, left) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let work = || {
                while let Some(cell) = { queue.lock().expect("no panic").pop() } {
                    match cell.try_once(&setup) {
                        Ok(Ok(())) => {}
                        Ok(Err(Spoilt(reason))) => {
                            spoilt.lock().expect("no panic").push(format!("{}: {reason}", cell.name()));
                            let cell = Pending { spoilt: cell.spoilt + 1, ..cell };
                            let is_last = cell.spoilt == TRIES;
                            // Later, because the machine may have less to do then.
                            let next = if is_last { &left } else { &queue };
                            next.lock().expect("no panic").insert(0, cell);
                        }
                        Err(_) => failures.lock().expect("no panic").push(format!("not {}", cell.name())),
                    }
                }
            };
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().expect("no panic");
    let mut spoilt = spoilt.into_inner().expect("no panic");
    let left = left.into_inner().expect("no panic");
    let alone = left.len();
    assert!(alone <= ALONE_MAX, "{alone} of {tried} cells failed {TRIES} times:\n{}", spoilt.join("\n"));
    for cell in left {
        let mut reasons = Vec::new();
        let is_decided = (0..TRIES_ALONE).any(|_| match cell.try_once(&setup) {
            Ok(Ok(())) => true,
            Ok(Err(Spoilt(reason))) => {
                reasons.push(reason);
                false
            }
            Err(_) => {
                failures.push(format!("not {}", cell.name()));
                true
            }
        });
        if !is_decided {
            failures.push(format!("{}: alone, {TRIES_ALONE} times: {}", cell.name(), reasons.join("\n")));
        }
        spoilt.extend(reasons);
    }
    assert!(failures.is_empty(), "{} of {tried} cells failed:\n{}", failures.len(), failures.join("\n"));
    println!("{tried} cells, {} tries spoilt, {alone} cells tried alone", spoilt.len());
    report_faults("call ended, or its auth host misbehaving, during the renewal of a login", tried);
}

#[test]
fn a_renewal_does_not_hold_the_pipes_of_its_caller() {
    let Ok(cell) = Cell::new(Caller::Seconds(1), Host::AtOnce(9)) else { panic!("the login has failed") };
    let sandbox = &cell.person.world.sandbox;
    // `cat` ends once no process has its pipe open, whatever the number of the descriptor.
    let script = format!("'{}' token --timeout 1s 3>&1 4>&1 2>&1 | cat", crate::harness::YCRED);
    let timed = Timed::start(sandbox, [sandbox.call("sh", ["-c", &script])], Duration::from_secs(1));
    let TimedRun { run, .. } = timed.finish().remove(0);
    run.exits(0).stdout_has("renewing this login");
    assert!(!is_free(&cell.person.file(".lock")), "the renewal is still running");
    wait_until("the renewal has ended", || is_free(&cell.person.file(".lock")));
    assert!(is_token(&cell.person.token(&[]).run()));
}
