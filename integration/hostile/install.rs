//! `ycred install` killed at every system call, on failing, full and read-only disks: the directory has the old program
//! or the new one, complete, and no link without a program.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use crate::expect::fails_with;
use crate::harness::files::{mode, names, set_mode};
use crate::harness::machine::{require_root, require_tracer};
use crate::harness::strace::{Step, inject};
use crate::harness::{Call, Sandbox, YCRED, find, report_faults, run_all};

const PARALLEL: usize = 4;
const OLD: &str = "#!/bin/sh\necho the old version\n";
const LINK: &str = "docker-credential-ycred";

/// A sandbox and a small copy of the binary, because each test installs it a hundred times.
struct Bench {
    sandbox: Sandbox,
    program: PathBuf,
    content: Vec<u8>,
}

impl Bench {
    fn new() -> Bench {
        let sandbox = Sandbox::new();
        let program = sandbox.path("work/program");
        // The debug information is most of the binary.
        let stripped = find("strip").is_some_and(|strip| {
            let arguments = ["-o".as_ref(), program.as_os_str(), YCRED.as_ref()];
            sandbox.call(strip, arguments).run().status.success()
        });
        if !stripped {
            fs::copy(YCRED, &program).expect("a copy");
        }
        let content = fs::read(&program).expect("the program");
        Bench { sandbox, program, content }
    }

    /// Creates a directory with an older version.
    fn directory(&self, name: &str) -> PathBuf {
        let directory = self.sandbox.path(format!("caches/{name}"));
        fs::create_dir(&directory).expect("a directory");
        fs::write(directory.join("ycred"), OLD).expect("an older version");
        set_mode(&directory.join("ycred"), 0o755);
        directory
    }

    fn install(&self, directory: &Path) -> Call {
        self.sandbox.call(&self.program, ["install".as_ref(), directory.as_os_str()])
    }

    fn traced(&self, strace: &[String], directory: &Path) -> Call {
        let program = [self.program.as_os_str(), "install".as_ref(), directory.as_os_str()];
        self.sandbox.call("strace", strace.iter().map(String::as_ref).chain(program))
    }

    /// Returns the system calls of an installation from the first one that touches the directory.
    fn steps(&self) -> Vec<Step> {
        let directory = self.directory("first");
        let steps = Step::of(&self.sandbox, |strace| self.traced(strace, &directory));
        let shown = directory.display().to_string();
        let first = steps.iter().position(|step| step.line.contains(&shown) && step.name != "execve");
        let steps = steps[first.expect("a call that touches the directory")..].to_vec();
        for name in ["openat", "copy_file_range", "fchmod", "fsync", "rename", "symlink", "flock"] {
            assert!(steps.iter().any(|step| step.name == name), "no {name} in {steps:#?}");
        }
        steps
    }

    /// Checks that the directory has the old program or the new one, with its mode. Returns true if it is the new one.
    #[track_caller]
    fn is_new(&self, directory: &Path, what: &str) -> bool {
        let program = directory.join("ycred");
        let content = fs::read(&program).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(mode(&program), 0o755, "{what}");
        let is_new = content == self.content;
        assert!(is_new || content == OLD.as_bytes(), "{what}: neither the old program nor the new one");
        for name in names(directory) {
            if name != program && name.is_symlink() && !has_temporary_name(&name) {
                assert!(is_new, "{what}: {} without the new program", name.display());
                assert_eq!(fs::read_link(&name).expect("a link"), Path::new("ycred"), "{what}");
            }
        }
        is_new
    }

    #[track_caller]
    fn assert_complete(&self, directory: &Path, what: &str) {
        assert!(self.is_new(directory, what) && directory.join(LINK).is_symlink(), "{what}: not installed");
        assert_eq!(names(directory).len(), 7, "{what}: {:?}", names(directory));
    }
}

fn has_temporary_name(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

#[test]
fn an_installation_killed_at_any_call_leaves_a_complete_program_and_the_next_one_cleans_up() {
    if !require_tracer() {
        return;
    }
    let bench = Bench::new();
    // `exit_group` ends the process before the signal can.
    let steps: Vec<Step> = bench.steps().into_iter().filter(|step| step.name != "exit_group").collect();
    let (mut killed, mut with_leftovers, mut replaced) = (0, 0, 0);
    for (part, steps) in steps.chunks(PARALLEL).enumerate() {
        let directories: Vec<PathBuf> =
            (0..steps.len()).map(|at| bench.directory(&format!("kill-{part}-{at}"))).collect();
        let runs = run_all(
            steps
                .iter()
                .zip(&directories)
                .map(|(step, directory)| bench.traced(&inject(step, "signal=KILL"), directory)),
        );
        for ((step, directory), run) in steps.iter().zip(&directories).zip(runs) {
            let what = format!("killed at {step:?}");
            assert_eq!(run.status.signal(), Some(libc::SIGKILL), "{what}\n{run}");
            killed += 1;
            replaced += usize::from(bench.is_new(directory, &what));
            let leftovers = names(directory).iter().filter(|name| has_temporary_name(name)).count();
            assert!(leftovers <= 1, "{what}: {:?}", names(directory));
            with_leftovers += leftovers;
        }
        for directory in &directories {
            bench.install(directory).run().succeeds().stderr_is_empty();
            bench.assert_complete(directory, "the next installation");
            fs::remove_dir_all(directory).expect("removed");
        }
    }
    // The kills came before, during and after the replacement.
    assert!(replaced > 0 && replaced < killed && with_leftovers > 5, "{killed} {replaced} {with_leftovers}");
    report_faults("process killed at a system call of an installation", killed);
}

/// System calls of an installation, and the errors that a disk can cause in them.
const FAILURES: &[(&str, &[&str])] = &[
    ("openat", &["ENOSPC", "EACCES", "EROFS", "EIO", "ENOENT", "EMFILE"]),
    ("copy_file_range", &["ENOSPC", "EDQUOT", "EIO", "EFBIG"]),
    ("fchmod", &["EIO", "EPERM", "EROFS"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("rename", &["ENOSPC", "EACCES", "EROFS", "EIO", "EBUSY"]),
    ("symlink", &["ENOSPC", "EACCES", "EROFS", "EIO", "EPERM"]),
    ("flock", &["ENOLCK", "EOPNOTSUPP", "EIO", "EINTR"]),
    ("getdents64", &["EIO"]),
    ("statx", &["EIO", "EACCES"]),
    ("readlink", &["EIO", "EACCES"]),
    ("close", &["EIO"]),
];

#[test]
fn a_disk_error_at_any_call_of_an_installation_leaves_a_complete_program_and_no_temporary_file() {
    if !require_tracer() {
        return;
    }
    let bench = Bench::new();
    let failures: Vec<(Step, &str)> = bench
        .steps()
        .into_iter()
        .flat_map(|step| {
            let errors = FAILURES.iter().find(|(name, _)| *name == step.name).map_or(&[][..], |(_, errors)| *errors);
            errors.iter().map(move |error| (step.clone(), *error))
        })
        .collect();
    let (mut failed, mut succeeded) = (0, 0);
    for (part, failures) in failures.chunks(PARALLEL).enumerate() {
        let directories: Vec<PathBuf> =
            (0..failures.len()).map(|at| bench.directory(&format!("error-{part}-{at}"))).collect();
        let runs = run_all(
            failures
                .iter()
                .zip(&directories)
                .map(|((step, error), directory)| bench.traced(&inject(step, &format!("error={error}")), directory)),
        );
        for (((step, error), directory), run) in failures.iter().zip(&directories).zip(runs) {
            let what = format!("{error} at {step:?}\n{run}");
            if run.status.success() {
                assert_eq!(run.stderr, "", "{what}");
                bench.assert_complete(directory, &what);
                succeeded += 1;
            } else {
                let code = run.status.code().unwrap_or_else(|| panic!("{what}"));
                // 5 only where the program cannot read itself.
                assert!([2, 4].contains(&code) || code == 5 && step.line.contains("/proc/self/exe"), "{what}");
                fails_with(run, code, &[]);
                bench.is_new(directory, &what);
                assert!(!names(directory).iter().any(|name| has_temporary_name(name)), "{what}");
                failed += 1;
            }
            fs::remove_dir_all(directory).expect("removed");
        }
    }
    assert!(failed > 30 && succeeded > 5, "{failed} failed, {succeeded} succeeded");
    report_faults("disk error in a system call of an installation", failures.len());
}

#[test]
fn on_a_full_or_read_only_disk_the_old_program_stays_and_the_reason_is_printed() {
    if !require_root(&["unshare", "mount"]) {
        return;
    }
    let bench = Bench::new();
    for (name, options, code, reason) in [
        ("full", "size=64k,", 4, "the disk is full"),
        ("no-inodes", "nr_inodes=2,", 4, "the disk is full"),
        ("read-only", "", 2, "the file system is read-only"),
    ] {
        let directory = bench.directory(name);
        // The checks run in the same mount namespace.
        let script = "mount -t tmpfs -o \"$2\"mode=0755 none \"$3\"
            printf old > \"$3/ycred\"
            [ \"$1\" != read-only ] || mount -o remount,ro \"$3\"
            code=0; \"$4\" install \"$3\" || code=$?
            [ \"$(cat \"$3/ycred\")\" = old ] || echo replaced >&2
            [ \"$(ls -A \"$3\")\" = ycred ] || ls -A \"$3\" >&2
            exit $code";
        let arguments =
            ["-m", "--propagation", "private", "sh", "-euc", script, "sh", name, options].map(AsRef::as_ref);
        let arguments = arguments.into_iter().chain([directory.as_os_str(), bench.program.as_os_str()]);
        let run = bench.sandbox.call("unshare", arguments).run();
        fails_with(run, code, &[&directory.display().to_string(), reason]);
    }
}
