//! Waits for other processes, and holds locks that they wait for.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{Call, Running};

/// How long a test waits for something that must happen. Generous enough for a busy machine.
pub const WAIT_LIMIT: Duration = Duration::from_secs(60);

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);

/// Waits until the condition is true. Fails the test after [`WAIT_LIMIT`].
#[track_caller]
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + WAIT_LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "timed out: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a call and waits for its first line on stderr. The call needs `-v`.
#[track_caller]
pub fn started(call: Call) -> Running {
    let running = call.start();
    wait_until("the process prints to stderr", || !running.stderr().is_empty());
    running
}

/// Returns true if no process holds this lock of ycred.
pub fn is_free(path: &Path) -> bool {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("the lock file");
    fs2::FileExt::try_lock_exclusive(&file).is_ok()
}

/// A lock of ycred that the test holds.
pub struct HeldLock(#[expect(dead_code, reason = "closing it releases the lock")] fs::File);

impl HeldLock {
    #[track_caller]
    pub fn of(path: &Path) -> HeldLock {
        let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("the lock file");
        fs2::FileExt::try_lock_exclusive(&file).expect("the lock, which no process holds");
        HeldLock(file)
    }
}
