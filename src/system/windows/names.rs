//! Names with a special meaning to Windows.

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::handle::wide;

/// The names of devices, in every directory and with every extension (naming a file, Microsoft's documentation).
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// Returns true if a file of this name is a device: `nul`, `con.toml`, `COM1`.
pub fn is_device_name(name: &str) -> bool {
    let stem = name.split(['.', ':']).next().unwrap_or_default().trim_end_matches(' ').to_ascii_lowercase();
    let is_port = |stem: &str| {
        let digit = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
        digit.is_some_and(|digit| {
            matches!(digit, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")
        })
    };
    DEVICES.contains(&stem.as_str()) || is_port(&stem)
}

/// Returns true if a profile's name is a path: it contains a separator.
pub fn is_path(text: &OsStr) -> bool {
    text.as_encoded_bytes().iter().any(|byte| matches!(byte, b'/' | b'\\'))
}

/// Returns true for a path with a colon that is not absolute: `c:x\y` is relative to the current directory of a drive,
/// and `.\x:y` is a stream of a file.
pub fn has_misplaced_colon(text: &OsStr) -> bool {
    text.as_encoded_bytes().contains(&b':') && !Path::new(text).is_absolute()
}

/// Returns true for a path that leads to a device or a pipe: `\\\\.\\pipe\\x`, `//./pipe/x`, `\\\\host\\pipe\\x`.
pub fn is_device_path(path: &Path) -> bool {
    let text = path.to_string_lossy().replace('/', "\\");
    let mut parts = text.strip_prefix(r"\\").unwrap_or_default().split('\\');
    let (host, share) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_pipe = |name: &str| name.eq_ignore_ascii_case("pipe") || name.eq_ignore_ascii_case("mailslot");
    match host {
        "." => true,
        // Drives and shares have other names there.
        "?" => is_pipe(share) || share.eq_ignore_ascii_case("globalroot"),
        host => !host.is_empty() && is_pipe(share),
    }
}

const DRIVE: &str = r"\\?\";
const SHARE: &str = r"\\?\UNC\";

/// The longest path that every function of the API takes as it is: a directory's name needs room for that of a file.
const LENGTH_MAX: usize = 247;

/// Returns a path as the API expects it. A long one gets the prefix with which it may be long, as std adds it.
///
/// # Errors
/// The path contains a NUL.
pub fn wide_path(path: &Path) -> io::Result<Vec<u16>> {
    wide(with_prefix(path).as_os_str())
}

fn with_prefix(path: &Path) -> PathBuf {
    let is_long = path.as_os_str().encode_wide().count() > LENGTH_MAX;
    // Such a path is taken literally, so its separators must be those of the API.
    let absolute = if is_long { std::path::absolute(path).ok() } else { None };
    let text = absolute.as_ref().and_then(|path| path.to_str());
    match text {
        Some(text) if text.starts_with(DRIVE) => PathBuf::from(text),
        Some(text) => match text.strip_prefix(r"\\") {
            Some(share) => PathBuf::from(format!("{SHARE}{share}")),
            None => PathBuf::from(format!("{DRIVE}{text}")),
        },
        None => path.to_owned(),
    }
}

/// Returns a path without the prefix for long ones, if it is not long.
pub fn without_prefix(path: PathBuf) -> PathBuf {
    let text = path.to_str().filter(|text| text.len() <= LENGTH_MAX);
    let short = text.and_then(|text| match text.strip_prefix(SHARE) {
        Some(share) => Some(format!(r"\\{share}")),
        // `\\?\Volume{…}` has no other form.
        None => text.strip_prefix(DRIVE).filter(|rest| rest.as_bytes().get(1) == Some(&b':')).map(str::to_owned),
    });
    short.map_or(path, PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_pipes_are_recognized_with_either_separator() {
        for path in
            [r"\\.\pipe\x", "//./pipe/x", r"\\host\pipe\x", "//host/PIPE/x", r"\\?\pipe\x", r"\\.\C:\x", r"/\.\nul"]
        {
            assert!(is_device_path(Path::new(path)), "{path}");
        }
        for path in [r"C:\pipe\x", r"\\server\share\pipe", r"\\?\C:\pipe\x", r".\pipe\x", "/pipe/x", ""] {
            assert!(!is_device_path(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn only_long_paths_have_the_prefix() {
        let short = |path: &str| without_prefix(PathBuf::from(path));
        assert_eq!(short(r"\\?\C:\x\y.toml"), Path::new(r"C:\x\y.toml"));
        assert_eq!(short(r"\\?\UNC\server\share\y"), Path::new(r"\\server\share\y"));
        assert_eq!(short(r"\\?\Volume{1}\y"), Path::new(r"\\?\Volume{1}\y"));
        let name = "n".repeat(200);
        let long = format!(r"\\?\C:\{name}\{name}");
        assert_eq!(short(&long), Path::new(&long));
        assert_eq!(with_prefix(Path::new(&format!("C:/{name}/{name}"))), Path::new(&long));
        assert_eq!(with_prefix(Path::new(&long)), Path::new(&long));
        let share = format!(r"\\server\share\{name}\{name}");
        assert_eq!(with_prefix(Path::new(&share)), PathBuf::from(format!(r"\\?\UNC\server\share\{name}\{name}")));
        assert_eq!(with_prefix(Path::new(r"C:\x")), Path::new(r"C:\x"));
    }

    #[test]
    fn paths_have_a_separator_and_only_absolute_ones_a_colon() {
        let kinds = |text: &str| (is_path(text.as_ref()), has_misplaced_colon(text.as_ref()));
        for path in [r"c:\x\prod.toml", "C:/x/prod.toml", r".\prod.toml", r"\\server\share\x", r"\\?\c:\x"] {
            assert_eq!(kinds(path), (true, false), "{path}");
        }
        assert_eq!(kinds(r"c:x\prod.toml"), (true, true));
        assert_eq!(kinds(r".\prod.toml:stream"), (true, true));
        assert_eq!(kinds("prod"), (false, false));
    }

    #[test]
    fn devices_are_recognized_with_any_extension_and_case() {
        for name in ["con", "NUL", "com1", "lpt9.toml", "Aux.prod.x", "com²", "nul ", "conout$", "con:stream"] {
            assert!(is_device_name(name), "{name}");
        }
        for name in ["prod", "console", "com", "com10", "xnul", "prod.con", "", "lpt"] {
            assert!(!is_device_name(name), "{name}");
        }
    }
}
