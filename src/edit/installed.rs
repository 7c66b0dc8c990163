//! Links that belong to an installation of ycred, and not to `setup`.

use std::path::Path;

use crate::disk::files;
use crate::system;

/// The list of what `install.sh` has installed, one path a line, relative to its prefix.
const LIST: &str = "share/ycred/installed";

/// Returns true if the installer's list names a link: it is in `bin`, beside the program. `setup` may have created the link
/// first, but without it the installation would lack a name of the program.
pub fn is_installed(link: &Path) -> bool {
    let directory = link.parent().and_then(|directory| system::files::real_path(directory).ok());
    let place = directory.as_deref().and_then(Path::file_name).zip(link.file_name());
    let (Some(prefix), Some((bin, name))) = (directory.as_deref().and_then(Path::parent), place) else { return false };
    let Ok(list) = files::read(&prefix.join(LIST)) else { return false };
    let place = format!("{}/{}", bin.to_string_lossy(), name.to_string_lossy());
    String::from_utf8_lossy(&list).lines().any(|line| line == place)
}
