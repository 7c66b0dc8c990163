//! A pseudo-terminal with scripted input.

/// A Python program that runs a command in a new terminal.
///
/// The last argument is a list of `OUTPUT=>INPUT` steps, separated by `|`. Each input is typed once its output has
/// appeared.
pub const TERMINAL: &str = r#"
import ctypes, os, pty, select, sys, time
pid, master = pty.fork()
if pid == 0:
    # The terminal is a session of its own, which a killed test does not end: PR_SET_PDEATHSIG, SIGKILL.
    ctypes.CDLL(None).prctl(1, 9)
    os.execvp(sys.argv[1], sys.argv[1:-1])
steps = sys.argv[-1].encode().decode("unicode_escape")
seen, steps, end = b"", [step.split("=>") for step in steps.split("|")], time.monotonic() + 60
while time.monotonic() < end:
    if select.select([master], [], [], 0.05)[0]:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    if steps and steps[0][0].encode() in seen:
        os.write(master, steps.pop(0)[1].encode())
sys.stdout.write(seen.decode())
if time.monotonic() >= end:
    os.kill(pid, 9)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
