//! Finds programs in `PATH`, never in the current directory.
#![expect(clippy::disallowed_methods, reason = "reads the variables that execvp(3) reads on other systems")]

use std::env::{split_paths, var_os};
use std::ffi::OsStr;
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
    let directories: Vec<PathBuf> = match is_path(program) {
        true => vec![directory.map(Path::to_owned).unwrap_or_default()],
        // A relative entry depends on the current directory.
        false => var_os("PATH").map(|path| split_paths(&path).filter(|entry| entry.is_absolute()).collect())?,
    };
    find_in(program, &directories, &extensions())
}

fn is_path(program: &OsStr) -> bool {
    program.as_encoded_bytes().iter().any(|byte| matches!(byte, b'/' | b'\\' | b':'))
}

fn find_in(program: &OsStr, directories: &[PathBuf], extensions: &[String]) -> Option<PathBuf> {
    let candidates = directories.iter().flat_map(|directory| {
        let file = directory.join(program);
        let has_extension = file
            .extension()
            .and_then(OsStr::to_str)
            .is_some_and(|own| extensions.iter().any(|extension| extension[1..].eq_ignore_ascii_case(own)));
        let with = |extension: &String| {
            let mut name = file.clone().into_os_string();
            name.push(extension);
            PathBuf::from(name)
        };
        let complete = has_extension.then(|| file.clone());
        complete.into_iter().chain(extensions.iter().map(with)).collect::<Vec<_>>()
    });
    candidates.into_iter().find(|file| file.is_file())
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
