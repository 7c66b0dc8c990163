//! Where the kubelet's configuration of credential providers is, and the flags that name it.

use std::path::{Path, PathBuf};

use crate::edit::target::TargetFile;

/// The file that `setup` prints, and the directory of the program.
pub const FILE: &str = "/etc/ycred/credential-provider.yaml";
pub const DIRECTORY: &str = "/opt/ycred/bin";

pub const FILE_FLAG: &str = "--image-credential-provider-config";
pub const DIRECTORY_FLAG: &str = "--image-credential-provider-bin-dir";

/// Files in which distributions keep the flags of the kubelet.
const FLAGS: [&str; 3] = ["/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet", "/etc/sysconfig/kubelet"];

/// Returns the path that a flag of the kubelet has, if one of the usual files names it.
pub fn path(flag: &str) -> Option<PathBuf> {
    let texts = FLAGS.iter().filter_map(|file| TargetFile::read(Path::new(file)).ok()?.text);
    texts.into_iter().find_map(|text| value(&text, flag))
}

fn value(text: &str, flag: &str) -> Option<PathBuf> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    // The last one wins, as in the kubelet.
    let mut found = lines.filter_map(|line| Some(line.rsplit_once(flag)?.1.strip_prefix(['=', ' '])?.to_owned()));
    let found = found.next_back()?;
    let end = found.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).unwrap_or(found.len());
    Some(PathBuf::from(&found[..end])).filter(|path| path.is_absolute())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_read_from_a_file_of_variables() {
        let text = "# X=--a=/no\nKUBELET_ARGS=\"--b --a=/x/y.yaml --c=1\"\nMORE='--a=/z'\n";
        assert_eq!(value(text, "--a").as_deref(), Some(Path::new("/z")));
        assert_eq!(value("A=\"--a /x/y.yaml --c=1\"\n", "--a").as_deref(), Some(Path::new("/x/y.yaml")));
        assert_eq!(value("A=\"--a=relative\"\n", "--a"), None);
        assert_eq!(value("A=\"--abc=/x\"\n", "--a"), None);
    }
}
