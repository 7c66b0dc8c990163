//! Starts this program again, as a process that outlives this one.
#![expect(unsafe_code, reason = "calls of the Windows API without a safe wrapper in std")]

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::zeroed;
use std::os::windows::io::{FromRawHandle as _, OwnedHandle};
use std::ptr::null;

use windows_sys::Win32::Foundation::ERROR_ACCESS_DENIED;
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CREATE_NEW_PROCESS_GROUP, CreateProcessW, DETACHED_PROCESS, PROCESS_INFORMATION,
    STARTUPINFOW,
};

use super::handle::{check, code, wide};

/// Starts this program again with these environment variables. They are also set in this process. It has no console and inherits no handle, so a client does not wait for it.
///
/// std would let it inherit the client's pipes, and would pass the name of a hook's link as its first argument.
///
/// # Errors
/// No process can be started.
pub fn start_again<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    variables: &[(&str, OsString)],
) -> io::Result<()> {
    let program = std::env::current_exe()?;
    let directory = program.parent().map(|parent| wide(parent.as_os_str())).transpose()?;
    let line = command_line(arguments)?;
    for (name, value) in variables {
        // SAFETY: on Windows, this is always safe.
        unsafe { std::env::set_var(name, value) };
    }
    let flags = DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP;
    let start = |flags: u32| -> io::Result<()> {
        let mut line = wide(&line)?;
        let program = wide(program.as_os_str())?;
        let directory = directory.as_ref().map_or(null(), Vec::as_ptr);
        // SAFETY: the strings are NUL-terminated, and the call may write to the line, which is a copy. Both structs are
        // plain data; the handles in the second belong to `OwnedHandle`s.
        unsafe {
            let mut startup: STARTUPINFOW = zeroed();
            startup.cb = u32::try_from(size_of::<STARTUPINFOW>()).unwrap_or(0);
            let mut process: PROCESS_INFORMATION = zeroed();
            let (no_attributes, no_environment) = (null(), null());
            check(CreateProcessW(
                program.as_ptr(),
                line.as_mut_ptr(),
                no_attributes,
                no_attributes,
                0,
                flags,
                no_environment,
                directory,
                &raw const startup,
                &raw mut process,
            ))?;
            drop((OwnedHandle::from_raw_handle(process.hProcess), OwnedHandle::from_raw_handle(process.hThread)));
            Ok(())
        }
    };
    match start(flags | CREATE_BREAKAWAY_FROM_JOB) {
        // A job that nothing may leave, such as that of a CI runner, may end the process early.
        Err(error) if error.raw_os_error() == Some(code(ERROR_ACCESS_DENIED)) => start(flags),
        result => result,
    }
}

/// Returns the command line of ycred with these arguments. The name of a hook's link would decide what ycred does.
fn command_line<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> io::Result<OsString> {
    let mut line = String::from("ycred");
    for argument in arguments {
        let argument = argument.as_ref().to_str().ok_or(io::ErrorKind::InvalidInput)?;
        line.push(' ');
        push_quoted(&mut line, argument);
    }
    Ok(line.into())
}

/// Quotes an argument as the C runtime parses it: backslashes are special only before a quote.
fn push_quoted(line: &mut String, argument: &str) {
    line.push('"');
    let mut backslashes = 0;
    for character in argument.chars() {
        match character {
            '\\' => backslashes += 1,
            '"' => {
                line.extend(std::iter::repeat_n('\\', backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        line.push(character);
    }
    line.extend(std::iter::repeat_n('\\', backslashes));
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted() {
        let line = command_line(["login", "", "a b", r"C:\x y\", r#"say "hi""#, r#"\""#]).expect("UTF-8");
        assert_eq!(line, r#"ycred "login" "" "a b" "C:\x y\\" "say \"hi\"" "\\\"""#);
    }
}
