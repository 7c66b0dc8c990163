//! Names with a special meaning to Windows.

use std::ffi::OsStr;
use std::path::Path;

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

#[cfg(test)]
mod tests {
    use super::*;

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
