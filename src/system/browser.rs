//! The programs that open a URL in a browser. (A crate would run the same ones and add four dependencies.)

pub const LINUX: &[&[&str]] = &[&["xdg-open"], &["gio", "open"], &["wslview"]];

pub const MACOS: &[&[&str]] = &[&["open"]];

/// `cmd /c start` would interpret the `&` of a URL.
pub const WINDOWS: &[&[&str]] = &[&["rundll32.exe", "url.dll,FileProtocolHandler"]];

/// The programs of this system, in the order to try.
pub const URL_OPENERS: &[&[&str]] = if cfg!(windows) {
    WINDOWS
} else if cfg!(target_os = "macos") {
    MACOS
} else {
    LINUX
};
