//! The files that Terraform and OpenTofu read, and the helpers that they name.

use std::path::{Path, PathBuf};

use crate::base::environment::{TERRAFORM_CONFIG, TF_CLI_CONFIG_FILE, XDG_CONFIG_HOME, XDG_DATA_HOME};
use crate::base::error::{Error, Result};
use crate::commands::clients::program;
use crate::commands::clients::public;
use crate::disk::files;
use crate::session::Session;
use crate::system::directories;

/// The first part of the name of a helper's program.
pub const PREFIX: &str = "terraform-credentials-";
/// The file that setup creates.
pub const OWN_FILE: &str = "ycred.tfrc";

/// The directories of the configuration and of the plugins.
pub struct Directories {
    pub configuration: PathBuf,
    pub plugins: PathBuf,
}

/// Returns the directories of Terraform, or OpenTofu's own.
///
/// # Errors
/// Usage (2): there is no home directory, or creating the directory would hide OpenTofu's.
pub fn directories(is_tofu: bool, session: &Session<'_>) -> Result<Directories> {
    if let Some(roaming) = directories::roaming(session.environment) {
        let configuration = roaming.join("terraform.d");
        return Ok(Directories { plugins: configuration.join("plugins"), configuration });
    }
    let home = session.places.home.clone().ok_or_else(|| Error::usage("no home directory").hint("set HOME"))?;
    let usual = home.join(".terraform.d");
    let xdg = session.environment.absolute(XDG_CONFIG_HOME).map(|directory| directory.join("opentofu"));
    if is_tofu
        && !usual.exists()
        && let Some(configuration) = xdg
    {
        let data = session.environment.absolute(XDG_DATA_HOME).unwrap_or_else(|| home.join(".local/share"));
        return Ok(Directories { configuration, plugins: data.join("opentofu/plugins") });
    }
    if !is_tofu
        && !usual.exists()
        && let Some(xdg) = xdg.filter(|xdg| xdg.exists())
    {
        return Err(Error::usage(format!(
            "{} does not exist; if setup created it, OpenTofu would no longer read {}",
            usual.display(),
            xdg.display()
        ))
        .hint("to set up OpenTofu in its own directory: ycred setup terraform --tofu"));
    }
    Ok(Directories { plugins: usual.join("plugins"), configuration: usual })
}

/// Returns the file that a variable selects, and the variable. The programs then read no file of the directory.
pub fn chosen_file(session: &Session<'_>) -> Option<(&'static str, PathBuf)> {
    let path = |name| Some((name, PathBuf::from(session.environment.get(name)?)));
    [TF_CLI_CONFIG_FILE, TERRAFORM_CONFIG].into_iter().find_map(path)
}

/// The files that are read besides the directory, in the order of the programs.
pub fn main_files(session: &Session<'_>) -> Vec<PathBuf> {
    match (chosen_file(session), &session.places.home) {
        (Some((_, path)), _) => vec![path],
        (None, _) if let Some(roaming) = directories::roaming(session.environment) => {
            vec![roaming.join("terraform.rc"), roaming.join("tofu.rc")]
        }
        (None, Some(home)) => vec![home.join(".terraformrc"), home.join(".tofurc")],
        (None, None) => Vec::new(),
    }
}

/// Returns the files of the directory that Terraform merges.
pub fn extra_files(directory: &Path) -> Vec<PathBuf> {
    let is_read = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        (name.ends_with(".tfrc") || name.ends_with(".tfrc.json")) && name != OWN_FILE
    };
    let mut files: Vec<PathBuf> = files::paths(directory).into_iter().filter(is_read).collect();
    files.sort();
    files
}

/// Returns true if a helper is ycred.
pub fn is_ours(helper: &str) -> bool {
    helper == "ycred" || helper.strip_prefix("ycred-").is_some_and(public::is_profile_name)
}

/// Finds the `credentials_helper` blocks of a file: the line, and the helper's name. Skips comments and strings.
pub fn helpers(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    let line_of = |rest: &str| text[..text.len() - rest.len()].matches('\n').count() + 1;
    // The text outside comments, since the last string.
    let mut code = String::new();
    while let Some(c) = rest.chars().next() {
        let skipped = if c == '#' || rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.find("*/").map_or(rest.len(), |end| end + 4)
        } else if c == '"' {
            let string = string_at(rest);
            if code.trim_end_matches([' ', '\t', ':', '{', '\n']).ends_with("credentials_helper") {
                found.push((line_of(rest), string.to_owned()));
            }
            code.clear();
            // In JSON, the name of the block is a string itself.
            if string == "credentials_helper" {
                code.push_str(string);
            }
            string.len() + 2
        } else {
            code.push(c);
            c.len_utf8()
        };
        rest = rest.get(skipped..).unwrap_or_default();
    }
    found
}

/// Returns the content of the string that starts here, with its escapes.
fn string_at(text: &str) -> &str {
    let mut is_escaped = false;
    let end = text[1..].find(|c: char| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    });
    &text[1..end.map_or(text.len(), |end| end + 1)]
}

/// Returns the arguments of `setup` that select a file.
pub fn selection(file: &Path, session: &Session<'_>) -> Vec<String> {
    let is_own_file_of = |is_tofu: bool| {
        let own = directories(is_tofu, session).map(|directories| directories.configuration.join(OWN_FILE));
        own.is_ok_and(|own| program::is_one_of(file, &[own]))
    };
    match (is_own_file_of(false), is_own_file_of(true)) {
        (true, _) => Vec::new(),
        (false, true) => vec!["--tofu".to_owned()],
        (false, false) => vec!["--file".to_owned(), file.display().to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_found_outside_comments_and_strings() {
        let text = "# credentials_helper \"a\" {}\n/* credentials_helper \"b\" */\nx = \"credentials_helper \\\"c\\\"\"\n// y\n\
                    credentials_helper \"vault\" {\n  args = [\"z\"]\n}\ncredentials \"host\" {}\n";
        assert_eq!(helpers(text), [(5, "vault".to_owned())]);
        assert_eq!(helpers("{\"credentials_helper\": {\"ycred\": {}}}"), [(1, "ycred".to_owned())]);
        assert_eq!(helpers("credentials_helper ycred {}\n\"unclosed"), []);
    }
}
