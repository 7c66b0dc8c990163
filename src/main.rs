//! The process: gathers its state, calls [`ycred::run`], writes the outcome and exits.

use std::panic;
use std::process::ExitCode;

use ycred::base::environment::Environment;
use ycred::base::error::{self, Kind};
use ycred::base::secret::Secret;
use ycred::process::stdio::{Stdin, deliver, is_terminal, print_stderr, print_stdout};
use ycred::process::{Outcome, Process};
use ycred::system::memory::Arena;
use ycred::system::{self, process};

#[global_allocator]
static ALLOCATOR: Arena = Arena::new();

fn main() -> ExitCode {
    let clock = system::clock::clock();
    let began = clock.now();
    process::disable_core_dumps();
    // A panic message may contain a secret. Only `report_panic` prints it, masked and on one line.
    panic::set_hook(Box::new(|_| ()));
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let (arguments, environment) = (std::env::args_os().collect(), Environment::of(process::environment()));
        let (print_stderr, print_stdout) = (&print_stderr, &print_stdout);
        let stdin = Box::new(Stdin::default());
        ycred::run(Process { arguments, environment, stdin, clock, began, print_stderr, is_terminal, print_stdout })
    }));
    let code = outcome.map_or_else(|panic| report_panic(&*panic), |(outcome, warning)| finish(outcome, &warning));
    Secret::clear_known();
    ExitCode::from(code)
}

/// Carries out the outcome and returns the exit code. Writes stdout in one piece, after everything that can fail.
fn finish(outcome: Outcome, warning: &str) -> u8 {
    let (message, code) = match outcome {
        Outcome::Done(done) => return deliver(&done, warning),
        Outcome::Become(launch) => {
            print_stderr(warning);
            let (error, code) = launch.replace_process();
            (error.render(), code)
        }
        Outcome::EndAs(status) => {
            print_stderr(warning);
            Secret::clear_known(); // A signal may end this process before `main` does it.
            return process::end_as(status);
        }
    };
    print_stderr(&message);
    code
}

fn report_panic(panic: &(dyn std::any::Any + Send)) -> u8 {
    let why = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    print_stderr(&error::line("error", &format!("internal error: {}", why.unwrap_or("panic"))));
    Kind::Internal.exit_code()
}
