//! `exec`: how a program is found, what it gets, and how it ends.

use crate::harness::Machine;

const PRINT: &str = "@echo off\r\necho token=%YC_TOKEN%\r\necho argument=%1\r\nexit /b 7\r\n";

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_script_is_found_by_its_extension_and_its_exit_code_is_returned() {
    let machine = Machine::new();
    machine.file("bin/print it.cmd", PRINT);
    let token = machine.assert_token(&machine.ycred(&["token"]).run());
    for name in ["print it", "print it.cmd", "PRINT IT.CMD", &machine.shown(machine.path("bin/print it"))] {
        let run = machine.ycred(&["exec", "--", name, "a b & c"]).run();
        run.assert(7).is_silent();
        assert_eq!(run.stdout, format!("token={token}\r\nargument=\"a b & c\"\r\n"), "{name}");
    }
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn an_argument_that_cmd_would_interpret_is_refused() {
    let machine = Machine::new();
    machine.file("bin/print.cmd", PRINT);
    let run = machine.ycred(&["exec", "--", "print", "a\nwhoami"]).run();
    run.assert(126).says("ycred: error: cannot run print: ");
    assert_eq!(run.stdout, "");
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn the_current_directory_is_not_searched() {
    let machine = Machine::new();
    machine.file("work/planted.cmd", PRINT);
    let run = machine.ycred(&["exec", "--", "planted"]).run();
    run.assert(127).says("program not found");
    let run = machine.ycred(&["exec", "--", r".\planted", "x"]).run();
    run.assert(7);
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_command_of_a_profile_gets_its_directory_and_ends_at_the_deadline() {
    let machine = Machine::new();
    machine.file("config/scripts/print.cmd", "@echo off\r\ntype token.txt\r\n");
    machine.file("config/token.txt", "t1.command.x");
    machine.file("config/own.toml", "source = \"command\"\r\ncommand = ['scripts\\print']\r\n");
    let run = machine.ycred(&["token", "-p", "own"]).run();
    run.assert(0);
    assert_eq!(run.stdout.trim_end(), "t1.command.x", "{run:?}");
    machine.file("config/scripts/hang.cmd", "@echo off\r\nping -n 100 127.0.0.1 >nul\r\necho t1.late.x\r\n");
    machine.file("config/slow.toml", "source = \"command\"\r\ncommand = ['scripts\\hang']\r\ntimeout = \"3s\"\r\n");
    let run = machine.ycred(&["token", "-p", "slow"]).run();
    run.assert(4).says("did not exit within");
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_program_under_serve_gets_the_token() {
    let machine = Machine::new();
    let token = machine.assert_token(&machine.ycred(&["token"]).run());
    machine.file("config/meta.toml", "source = \"metadata\"\r\n");
    let lines = [
        "@echo off",
        "if not defined YC_METADATA_ADDR goto none",
        "set YCRED_METADATA_ADDR=%YC_METADATA_ADDR%",
        "ycred token -p meta --no-cache",
        "exit /b",
        ":none",
        "echo %YC_TOKEN%",
    ];
    machine.file("bin/nested.cmd", lines.join("\r\n"));
    let run = machine.ycred(&["exec", "--serve", "--", "nested"]).run();
    run.assert(0);
    // Wine does not know the processes of sockets, so there is no metadata endpoint.
    if cfg!(windows) {
        run.is_silent()
    } else {
        run.says("no metadata endpoint")
    };
    assert_eq!(run.stdout.trim_end(), token);
    assert_eq!(machine.requests(), 1);
}

/// Only Wine's console can be driven from here.
#[cfg(unix)]
#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn ctrl_c_reaches_the_program_and_ycred_waits_for_it() {
    use std::process::Command;

    /// Runs a program in a terminal, presses Ctrl-C when it is ready, and prints its exit code.
    const TERMINAL: &str = r#"
import os, pty, re, select, sys, time
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
seen, pressed, end = b"", False, time.monotonic() + 60
while time.monotonic() < end:
    if select.select([master], [], [], 0.05)[0]:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    # The console writes each character by itself, with escape sequences around it.
    if b"ready" in re.sub(rb"\x1b\[[?0-9;]*[a-zA-Z]", b"", seen) and not pressed:
        os.write(master, b"\x03")
        pressed = True
if time.monotonic() >= end:
    os.kill(pid, 9)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
    /// Prints a line, waits for Ctrl-C, and exits with 42 a little later.
    const CHILD: &str = r#"
#include <windows.h>
#include <stdio.h>
static HANDLE event;
static BOOL WINAPI on_event(DWORD kind) { SetEvent(event); return kind == CTRL_C_EVENT; }
int main(void) {
    event = CreateEventA(NULL, TRUE, FALSE, NULL);
    SetConsoleCtrlHandler(on_event, TRUE);
    puts("ready");
    fflush(stdout);
    if (WaitForSingleObject(event, 30000) != WAIT_OBJECT_0) return 1;
    Sleep(300);
    return 42;
}
"#;
    let machine = Machine::new();
    machine.assert_token(&machine.ycred(&["token"]).run());
    let source = machine.file("work/child.c", CHILD);
    let built =
        Command::new("x86_64-w64-mingw32-gcc").arg(source).arg("-o").arg(machine.path("bin/child.exe")).status();
    assert!(built.expect("a compiler").success());
    for arguments in [&["exec", "--", "child"][..], &["exec", "--serve", "--", "child"]] {
        let run = machine.ycred(arguments).run_by(&["python3", "-c", TERMINAL]).run();
        assert_eq!(run.stdout.trim(), "42", "{arguments:?} {run:?}");
    }
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_record_belongs_to_the_file_of_the_command() {
    let machine = Machine::new();
    for name in ["first", "second"] {
        machine.file(format!("{name}/mytok.cmd"), format!("@echo t1.{name}.x\r\n"));
    }
    machine.file("config/own.toml", "source = \"command\"\r\ncommand = ['mytok.cmd']\r\n");
    for name in ["first", "second", "first"] {
        let path = if cfg!(windows) { "PATH" } else { "WINEPATH" };
        let run = machine.ycred(&["token", "-p", "own"]).env(path, machine.shown(machine.path(name))).run();
        run.assert(0);
        assert_eq!(run.stdout.trim_end(), format!("t1.{name}.x"), "{run:?}");
    }
}

#[test]
#[cfg_attr(not(windows), ignore = "needs the Windows program: .ci/platforms windows")]
fn a_script_of_another_kind_is_there_but_is_no_program() {
    let machine = Machine::new();
    machine.file("work/deploy.ps1", "exit 0\r\n");
    machine.ycred(&["exec", "--", r".\deploy.ps1"]).run().assert(126).says("powershell -File");
    machine.ycred(&["exec", "--", r".\missing.ps1"]).run().assert(127).says("program not found");
}
