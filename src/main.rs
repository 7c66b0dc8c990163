//! The process: gathers its state, calls [`ycred::run`], writes the outcome, exits.
#![expect(clippy::disallowed_methods, reason = "the one place that takes the environment")]

use std::panic;
use std::process::ExitCode;

use ycred::base::environment::Environment;
use ycred::base::error::{self, Error, Kind};
use ycred::base::secret::Secret;
use ycred::process::stdio::{Stdin, print_stderr, print_stdout};
use ycred::process::{Outcome, Process};
use ycred::system;

fn main() -> ExitCode {
    let clock = system::clock::clock();
    let began = clock.now();
    system::process::disable_core_dumps();
    // A panic is one line and exit 5, with nothing on stdout; what it says may hold anything, so it goes through the
    // renderer.
    panic::set_hook(Box::new(|_| ()));
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        ycred::run(Process {
            arguments: std::env::args_os().collect(),
            environment: Environment::new(std::env::vars_os()),
            stdin: Box::new(Stdin::default()),
            clock,
            began,
            print_stderr: &print_stderr,
            print_stdout: &print_stdout,
        })
    }));
    let code = outcome.map_or_else(|panic| defect(panic.as_ref()), |(outcome, warning)| carry_out(outcome, &warning));
    Secret::clear_known();
    ExitCode::from(code)
}

fn carry_out(outcome: Outcome, warning: &str) -> u8 {
    print_stderr(warning);
    match outcome {
        Outcome::Done(done) => {
            print_stderr(&done.stderr);
            // In one piece, after everything that can fail.
            let written = if done.reply.stdout.is_empty() { Ok(()) } else { print_stdout(&done.reply.stdout) };
            written.map(|()| done.reply.code).unwrap_or_else(|failure| {
                print_stderr(&Error::internal("the reply could not be written").because(failure).render());
                Kind::Internal.exit_code()
            })
        }
        Outcome::Become(launch) => {
            let (error, code) = launch.become_it();
            print_stderr(&error.render());
            code
        }
        Outcome::EndAs(status) => {
            // A signal may end us, so there is no later moment.
            Secret::clear_known();
            system::process::end_as(status)
        }
    }
}

fn defect(panic: &(dyn std::any::Any + Send)) -> u8 {
    let why = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    print_stderr(&error::line("error", &format!("a defect of ycred: {}", why.unwrap_or("panic"))));
    Kind::Internal.exit_code()
}
