//! Explains why a program could not be started. One error of the system has several causes, so ycred looks at the file.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Kind, describe};
use crate::system::process::StartFailure;
use crate::system::{access, files, fixes};

/// Returns the error for a program that could not be started. `search` is the value of `PATH`, and `directory` the one
/// that the program should have started in.
///
/// Its kind is Unavailable if a limit of the system is the cause, and Profile otherwise.
pub fn not_started(program: &OsStr, search: Option<&OsStr>, directory: Option<&Path>, error: &io::Error) -> Error {
    let found = find(program, search, directory.unwrap_or(Path::new("")));
    let fault = |kind, why: String| Error::new(kind, why);
    let profile = |why: String| fault(Kind::Profile, why);
    match StartFailure::of(error) {
        StartFailure::Missing | StartFailure::NotExecutable if directory.is_some_and(|it| !it.is_dir()) => {
            profile(format!("the directory {} does not exist", directory.unwrap_or(Path::new(".")).display()))
        }
        StartFailure::Missing => match found {
            None if is_path(program) => profile("program not found".to_owned()).hint("check the path"),
            None => profile("program not found".to_owned()).hint(
                "check the spelling and PATH, or use an absolute path: GUI programs and daemons have a shorter PATH",
            ),
            Some(file) => match interpreter(&file) {
                Some(interpreter) if interpreter.ends_with('\r') => {
                    profile(format!("{} has Windows line ends, so its interpreter is not found", file.display()))
                        .hint(format!("convert the file: {}", fixes::remove_carriage_returns(&file)))
                }
                Some(interpreter) => profile(format!("its interpreter {interpreter} does not exist"))
                    .hint(format!("install {interpreter}, or correct the first line of {}", file.display())),
                None => profile("its dynamic loader does not exist: it was built for another system".to_owned())
                    .hint(format!("see what it needs: {}", fixes::show_needs(&file))),
            },
        },
        StartFailure::NotExecutable => {
            let file = found.unwrap_or_else(|| PathBuf::from(program));
            let metadata = std::fs::metadata(&file);
            if metadata.as_ref().is_ok_and(Metadata::is_dir) {
                return profile("it is a directory, not a program".to_owned());
            }
            if let Ok(metadata) = metadata
                && files::mode(&metadata) & 0o111 == 0
            {
                return profile("permission denied: it is not executable".to_owned())
                    .hint(access::executable_hint(&file, &metadata));
            }
            let hint = "check the modes of the file, its directories and its interpreter, and for a noexec mount";
            profile("permission denied".to_owned()).hint(hint)
        }
        StartFailure::Forbidden => {
            profile("a sandbox or a security policy forbids this process to start it".to_owned())
                .hint(fixes::ALLOW_PROGRAM)
        }
        StartFailure::WrongFormat => profile("it is not a program for this machine, or a script without #!".to_owned())
            .hint(fixes::examine_program(found.as_deref().unwrap_or(Path::new(program)))),
        StartFailure::ProcessLimit => {
            fault(Kind::Unavailable, "no more processes can be started".to_owned()).hint(fixes::RAISE_PROCESS_LIMIT)
        }
        StartFailure::FileLimit => {
            fault(Kind::Unavailable, "too many files are open".to_owned()).hint(fixes::RAISE_FILE_LIMIT)
        }
        StartFailure::Busy => {
            fault(Kind::Unavailable, "another process is writing the file".to_owned()).hint("try again in a moment")
        }
        StartFailure::TooLong => profile("its arguments and variables are too long for the system".to_owned())
            .hint("shorten the arguments, or remove large variables from the environment"),
        StartFailure::Other => profile(describe(error)),
    }
}

fn is_path(program: &OsStr) -> bool {
    program.to_string_lossy().contains(std::path::is_separator)
}

/// Finds a program as execvp(3) does in this directory.
fn find(program: &OsStr, search: Option<&OsStr>, directory: &Path) -> Option<PathBuf> {
    if is_path(program) {
        return Some(directory.join(program)).filter(|file| file.exists());
    }
    std::env::split_paths(search?).map(|entry| directory.join(entry).join(program)).find(|file| file.is_file())
}

/// Returns the interpreter in the first line of a script, with a carriage return if there is one.
fn interpreter(file: &Path) -> Option<String> {
    let mut start = [0; 256];
    let count = std::fs::File::open(file).and_then(|mut file| file.read(&mut start)).ok()?;
    let line = start[..count].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line).into_owned();
    let line = line.trim_start_matches([' ', '\t']);
    let program = line.split([' ', '\t']).next().unwrap_or_default();
    // An argument of the interpreter may end with it too.
    Some(if line.ends_with('\r') && !program.ends_with('\r') { format!("{program}\r") } else { program.to_owned() })
}
