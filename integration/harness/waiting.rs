//! Waits for what another process does, and holds the locks that it waits for.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{Call, Running};

/// Long enough for anything that is bound to happen on the busiest machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);

/// Waits until this is so.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a call and waits until it has said something at `-v`: from then on it has begun.
#[track_caller]
pub fn started(call: Call) -> Running {
    let running = call.start();
    wait_until("the process says what it does", || !running.stderr().is_empty());
    running
}

/// The lock of the product, held by the test.
pub struct HeldLock(#[expect(dead_code, reason = "closing it releases the lock")] fs::File);

impl HeldLock {
    #[track_caller]
    pub fn of(path: &Path) -> HeldLock {
        let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("the lock file");
        fs2::FileExt::try_lock_exclusive(&file).expect("nobody else holds it");
        HeldLock(file)
    }
}
