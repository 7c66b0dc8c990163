//! Finds programs in `PATH`, never in the current directory.
#![expect(clippy::disallowed_methods, reason = "reads the variables that execvp(3) reads on other systems")]

use std::env::{split_paths, var_os};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The extensions of programs if `PATHEXT` is not set.
const EXTENSIONS: &str = ".COM;.EXE;.BAT;.CMD";

/// Returns the extensions of programs, in the order to try. Those that need another program to run are left out.
pub fn extensions() -> Vec<String> {
    let value = var_os("PATHEXT").and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
    let value = value.as_deref().unwrap_or(EXTENSIONS);
    let runnable = |extension: &&str| EXTENSIONS.split(';').any(|known| known.eq_ignore_ascii_case(extension));
    value.split(';').map(str::trim).filter(runnable).map(str::to_ascii_lowercase).collect()
}

/// Returns the file of a program: a path with or without its extension, or a name that `PATH` has.
///
/// A relative path is relative to `directory`.
pub fn find(program: &OsStr, directory: Option<&Path>) -> Option<PathBuf> {
    find_with(program, directory.unwrap_or(Path::new("")), var_os("PATH").as_deref())
}

/// [`find`] with this value of `PATH`.
pub fn find_with(program: &OsStr, directory: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    find_in(program, &directories(program, directory, path), &extensions())
}

/// Returns the file with exactly this path or name, which need not be a program.
pub fn find_file(program: &OsStr, directory: &Path) -> Option<PathBuf> {
    let directories = directories(program, directory, var_os("PATH").as_deref());
    directories.into_iter().map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// Returns the directories in which a program is searched.
fn directories(program: &OsStr, directory: &Path, path: Option<&OsStr>) -> Vec<PathBuf> {
    match is_path(program) {
        true => vec![directory.to_owned()],
        // A relative entry depends on the current directory.
        false => path.map(split_paths).into_iter().flatten().filter(|entry| entry.is_absolute()).collect(),
    }
}

/// Returns the names of files that run as `program`: its own if it has the extension of a program, then one for each
/// extension.
pub fn names(program: &OsStr, extensions: &[String]) -> Vec<OsString> {
    let own = Path::new(program).extension().and_then(OsStr::to_str);
    let is_complete = own.is_some_and(|own| extensions.iter().any(|known| known[1..].eq_ignore_ascii_case(own)));
    let with = |extension: &String| {
        let mut name = program.to_owned();
        name.push(extension);
        name
    };
    is_complete.then(|| program.to_owned()).into_iter().chain(extensions.iter().map(with)).collect()
}

/// Returns true if there is such a file. The alias of a program from the Store is a reparse point that cannot be opened, but can
/// be run: `%LOCALAPPDATA%\Microsoft\WindowsApps\python.exe`.
pub fn is_program(file: &Path) -> bool {
    let is_alias =
        || std::fs::symlink_metadata(file).is_ok_and(|metadata| !metadata.is_dir() && !metadata.is_symlink());
    file.is_file() || is_alias()
}

fn is_path(program: &OsStr) -> bool {
    program.as_encoded_bytes().iter().any(|byte| matches!(byte, b'/' | b'\\' | b':'))
}

fn find_in(program: &OsStr, directories: &[PathBuf], extensions: &[String]) -> Option<PathBuf> {
    let names = names(program, extensions);
    let mut candidates = directories.iter().flat_map(|directory| names.iter().map(|name| directory.join(name)));
    candidates.find(|file| is_program(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_extension_and_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, second) = (dir.path().join("first one"), dir.path().join("second"));
        for file in
            [first.join("tool.cmd"), second.join("tool.exe"), second.join("other.exe"), second.join("script.py")]
        {
            std::fs::create_dir_all(file.parent().expect("a directory")).expect("created");
            std::fs::write(file, "").expect("written");
        }
        let extensions = [".exe", ".cmd"].map(str::to_owned);
        let found = |name: &str| find_in(name.as_ref(), &[first.clone(), second.clone()], &extensions);
        assert_eq!(found("tool"), Some(first.join("tool.cmd")), "an earlier directory wins over an earlier extension");
        assert_eq!(found("tool.exe"), Some(second.join("tool.exe")));
        assert_eq!(found("TOOL.EXE").map(|file| file.parent() == Some(&second)), Some(true));
        assert_eq!(found("other"), Some(second.join("other.exe")));
        assert_eq!(names("tool".as_ref(), &extensions), ["tool.exe", "tool.cmd"]);
        assert_eq!(names("tool.CMD".as_ref(), &extensions), ["tool.CMD", "tool.CMD.exe", "tool.CMD.cmd"]);
        let path = std::env::join_paths([Path::new("relative"), &first, &second]).expect("no quotes");
        let with = |name: &str| find_with(name.as_ref(), dir.path(), Some(&path));
        assert_eq!(with("tool.cmd"), Some(first.join("tool.cmd")));
        assert_eq!(find_with("tool.cmd".as_ref(), dir.path(), None), None);
        std::fs::create_dir(dir.path().join("relative")).expect("created");
        std::fs::write(dir.path().join("relative/tool.cmd"), "").expect("written");
        assert_eq!(with("tool.cmd"), Some(first.join("tool.cmd")), "a relative entry of PATH is never searched");
        assert_eq!([found("script"), found("script.py"), found("missing")], [None, None, None]);
        assert_eq!(
            find_in(second.join("other").as_ref(), &[PathBuf::new()], &extensions),
            Some(second.join("other.exe"))
        );
        assert_eq!(
            find_in(r".\tool".as_ref(), std::slice::from_ref(&first), &extensions).map(|f| f.is_file()),
            Some(true)
        );
    }

    #[test]
    fn only_names_without_separators_are_searched() {
        for path in [r".\x", "./x", r"c:x", r"c:\x"] {
            assert!(is_path(path.as_ref()), "{path}");
        }
        assert!(!is_path("x.exe".as_ref()));
    }
}
