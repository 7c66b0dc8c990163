//! A console, as Wine makes one of a terminal.

#[cfg(unix)]
mod wine {
    use std::fs;
    use std::io::Write as _;

    use crate::harness::{Machine, wait_until};

    /// A key without Enter makes a console ready, but a read of it blocks.
    #[test]
    #[ignore = "needs the Windows program: .ci/platforms windows"]
    fn a_key_without_enter_does_not_hold_up_the_time_limit() {
        let machine = Machine::new();
        let (iam, auth) = (machine.emulator.url(), machine.emulator.auth_url());
        let profile = format!("source = \"login\"\r\niam-url = \"{iam}\"\r\nauth-url = \"{auth}\"\r\n");
        machine.file("config/person.toml", profile);
        let keys = machine.path("work/keys");
        let login = machine.ycred(&["login", "-p", "person", "--no-browser", "--timeout", "15s"]);
        // script(1) makes a terminal, and passes on what it reads.
        let script = "mkfifo keys; words=; for word; do words=\"$words '$word'\"; done; \
                      exec script -qec \"exec $words\" /dev/null <keys";
        let login = login.run_by(&["sh", "-c", script, "sh"]).start();
        wait_until(|| keys.exists());
        let mut keys = fs::OpenOptions::new().write(true).open(keys).expect("script reads them");
        wait_until(|| login.stdout().contains("http"));
        keys.write_all(b"x").expect("written");
        let run = login.finish();
        drop(keys);
        run.assert(4);
        assert!(run.stdout.contains("15s"), "{run:?}");
    }
}
