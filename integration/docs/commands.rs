//! Every `ycred` command line in a shell block of the pages is one that the program's own parser accepts.

use std::ffi::OsString;
use std::fs;

use ycred::cli::invocation::Invocation;
use ycred::cli::parse;

use super::{blocks, pages};

/// Returns the calls of ycred in a shell script, each as its words.
///
/// Reads the shell that the pages use: words, quotes, comments, continued lines, pipes, redirections and substitutions.
/// A call counts if ycred is the command's first word, after assignments of variables.
pub fn calls(script: &str) -> Vec<Vec<String>> {
    let script = script.replace("\\\n", " ").replace("\"$(", "$(").replace(")\"", ")");
    let mut commands: Vec<Vec<String>> = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = script.chars().peekable();
    while let Some(c) = characters.next() {
        let command = commands.last_mut().expect("a command");
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, '#') if word.is_none() => while characters.next_if(|c| *c != '\n').is_some() {},
            (None, ' ' | '\t') => command.extend(word.take()),
            (None, '\n' | '|' | ';' | '&' | '<' | '>' | '(' | ')' | '`') => {
                // The number of a redirected descriptor is not an argument, and the `$` of `$(` is not a word.
                let is_operator = |word: &String| c == '>' && word.parse::<u8>().is_ok() || c == '(' && word == "$";
                command.extend(word.take().filter(|word| !is_operator(word)));
                commands.push(Vec::new());
            }
            (None, _) => word.get_or_insert_default().push(c),
        }
    }
    let is_assignment = |word: &String| word.split_once('=').is_some_and(|(name, _)| !name.contains(['-', '/']));
    let last = commands.last_mut().expect("a command");
    last.extend(word);
    let calls = commands.into_iter().map(|words| words.into_iter().skip_while(is_assignment).collect::<Vec<_>>());
    calls.filter(|words| words.first().is_some_and(|word| word == "ycred" || word.ends_with("/ycred"))).collect()
}

/// Returns what is wrong with a call of ycred; `None` if the parser accepts it.
pub fn fault(call: &[String]) -> Option<String> {
    let argv: Vec<OsString> = call.iter().map(OsString::from).collect();
    match parse(&argv) {
        Err(fault) => Some(fault.error.render()),
        Ok(Invocation::Hook(call)) => call.usage_error.map(|error| error.render()),
        Ok(_) => None,
    }
}

#[test]
fn calls_are_found_in_the_shell_of_the_pages() {
    let script = "YCRED_LOG=1 ycred token --host h > out 2> err  # ycred nonsense\n\
                  eval \"$(ycred env)\"; echo cr.yandex | docker-credential-ycred get\n\
                  ycred exec --min-ttl 6h -- \\\n  sh -c 'echo \"ycred x\"' && /opt/ycred list\nln -s ycred x\n";
    let expected: [&[&str]; 4] = [
        &["ycred", "token", "--host", "h"],
        &["ycred", "env"],
        &["ycred", "exec", "--min-ttl", "6h", "--", "sh", "-c", "echo \"ycred x\""],
        &["/opt/ycred", "list"],
    ];
    assert_eq!(calls(script), expected);
    assert_eq!(calls(script).iter().find_map(|call| fault(call)), None);
    for wrong in
        ["ycred tokn", "ycred token --hots h", "ycred exec --min-ttl soon -- true", "ycred docker get --hosts h"]
    {
        assert!(fault(&calls(wrong)[0]).is_some(), "{wrong} was accepted");
    }
}

#[test]
fn every_command_line_in_the_pages_is_accepted_by_the_parser() {
    let mut count = 0;
    for page in pages() {
        let content = fs::read_to_string(&page).expect("a page");
        for block in blocks(&content).into_iter().filter(|block| block.info == "sh" || block.info.starts_with("sh ")) {
            for call in calls(&block.content) {
                if let Some(fault) = fault(&call) {
                    panic!("{}:{}: {}: {fault}", page.display(), block.line, call.join(" "));
                }
                count += 1;
            }
        }
    }
    assert!(count > 50, "{count} calls");
}
