//! Gathers the process's state, calls [`ycred::run`], writes the outcome, exits. Nothing else touches stdio, the exit
//! or the clock's source.
#![expect(clippy::disallowed_methods, reason = "the one place that touches stdio, environment, clock and exit")]

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::panic;
use std::process::{ExitCode, ExitStatus};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ycred::base::clock::Clock;
use ycred::base::clock::{Timestamp, millis};
use ycred::base::environment::Environment;
use ycred::base::error;
use ycred::base::error::{Error, Kind};
use ycred::base::secret::Secret;
use ycred::commands::exec::{Launch, not_run};
use ycred::system::Readable;
use ycred::{Input, Outcome, Process, system};

fn main() -> ExitCode {
    let clock = CLOCK.get_or_init(|| SystemClock { started: Instant::now() });
    let began = clock.now();
    system::forbid_dumps();
    // A panic is one line and exit 5, with nothing on stdout; what it says may hold anything, so it goes through the
    // renderer.
    panic::set_hook(Box::new(|_| ()));
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        ycred::run(Process {
            arguments: std::env::args_os().collect(),
            environment: Environment::new(std::env::vars_os()),
            stdin: Box::new(Stdin(false)),
            clock,
            began,
            tell: &tell,
            say: &say,
        })
    }));
    let code = match outcome {
        Ok((Outcome::Done(done), warning)) => {
            finish(&done.reply.stdout, &format!("{warning}{}", done.stderr), done.reply.code)
        }
        Ok((Outcome::Become(launch), warning)) => {
            tell(&warning);
            turn_into(launch)
        }
        Ok((Outcome::EndAs(status), warning)) => {
            tell(&warning);
            end_as(status)
        }
        Err(panic) => {
            let why =
                panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            tell(&error::line("error", &format!("a defect of ycred: {}", why.unwrap_or("panic"))));
            Kind::Internal.exit_code()
        }
    };
    Secret::forget_known();
    ExitCode::from(code)
}

/// Writes the reply in one piece, after everything that can fail.
fn finish(stdout: &[u8], stderr: &str, code: u8) -> u8 {
    tell(stderr);
    if stdout.is_empty() {
        return code;
    }
    match say(stdout) {
        Ok(()) => code,
        Err(failure) => {
            tell(&Error::internal("the reply could not be written").because(failure).render());
            Kind::Internal.exit_code()
        }
    }
}

/// Writes a piece of a conversation.
fn say(piece: &[u8]) -> io::Result<()> {
    let mut channel = io::stdout().lock();
    channel.write_all(piece).and_then(|()| channel.flush())
}

/// A stderr that cannot be written to is no reason to fail.
fn tell(text: &str) {
    if !text.is_empty() {
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

fn turn_into(launch: Launch) -> u8 {
    let failure = launch.command().exec();
    let (error, code) = not_run(&launch.program, &failure);
    tell(&error.render());
    code
}

/// Ends as a child of ours did: by the same signal where it was one, as if it had taken our place. What is left of us then
/// (the first process of a container survives its own signals) says it as shells do.
fn end_as(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            Secret::forget_known();
            system::end_by(signal);
            u8::try_from(128 + signal).unwrap_or(u8::MAX)
        }
    }
}

/// Standard input; `true` once its writers are gone, so that no wait is needed any more.
struct Stdin(bool);

impl Input for Stdin {
    fn wait(&mut self, patience: Duration) -> bool {
        let found = if self.0 { Readable::ToTheEnd } else { system::wait_readable(io::stdin().as_raw_fd(), patience) };
        self.0 = found == Readable::ToTheEnd;
        found != Readable::NotYet
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        io::stdin().lock().read(buffer)
    }

    fn is_terminal(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }
}

struct SystemClock {
    started: Instant,
}

/// As long-lived as any thread.
static CLOCK: OnceLock<SystemClock> = OnceLock::new();

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp(millis(since)),
            Err(before) => Timestamp(-millis(before.duration())),
        }
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, length: Duration) {
        std::thread::sleep(length);
    }
}
