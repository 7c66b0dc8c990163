//! Every hint is in one table: it is followed as it is printed, or there is a reason why no test can.

mod cases;
mod client_cases;
mod scene;
mod source;
mod table;

use std::collections::BTreeSet;

use scene::{command_in, has_parts};
use table::{ROWS, Row};

#[test]
fn every_hint_is_in_the_table_with_a_test_or_a_reason() {
    let mut faults = Vec::new();
    let hints = source::hints(&mut faults);
    let rows: BTreeSet<&str> = ROWS.iter().map(|(hint, _)| *hint).collect();
    assert_eq!(rows.len(), ROWS.len(), "a hint has two rows");
    faults.extend(hints.iter().filter(|hint| !rows.contains(hint.as_str())).map(|hint| format!("no row for: {hint}")));
    faults.extend(rows.iter().filter(|row| !hints.contains(**row)).map(|row| format!("not in the source: {row}")));
    // A command that a user can run here must be run here.
    for (hint, row) in ROWS {
        let names_command =
            ["chmod ", "mkdir ", "unset ", "export ", "`ycred ", ": ycred "].iter().any(|it| hint.contains(it));
        if names_command && matches!(row, Row::Reason(reason) if !reason.starts_with("needs ")) {
            faults.push(format!("names a command and is not run: {hint}"));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    let tests: String = source::tests();
    for (hint, row) in ROWS {
        if let Row::Test(name) = row {
            assert!(tests.contains(&format!("fn {name}()")), "{hint}: there is no test {name}");
        }
    }
}

/// Follows every `SHARES`th hint, so that the runner can do several at once.
fn follow_share(share: usize) {
    let scenes = ROWS.iter().filter_map(|(hint, row)| match row {
        Row::Run(scene) => Some((hint, scene)),
        Row::Test(_) | Row::Reason(_) => None,
    });
    let mut wrong = Vec::new();
    for (hint, scene) in scenes.enumerate().filter(|(at, _)| at % SHARES == share).map(|(_, it)| it) {
        // All of them, and not only the first that is wrong.
        if std::panic::catch_unwind(|| scene().follow(hint)).is_err() {
            wrong.push(*hint);
        }
    }
    assert!(wrong.is_empty(), "these hints cannot be followed, see above:\n{}", wrong.join("\n"));
}

const SHARES: usize = 3;

#[test]
fn hints_can_be_followed_as_they_are_printed_1() {
    follow_share(0);
}

#[test]
fn hints_can_be_followed_as_they_are_printed_2() {
    follow_share(1);
}

#[test]
fn hints_can_be_followed_as_they_are_printed_3() {
    follow_share(2);
}

#[test]
fn the_command_of_a_hint_ends_where_its_sentence_goes_on() {
    let command = |hint: &str, start: &str| command_in(hint, start).expect("a command");
    assert_eq!(command("if so: chmod o-w '/a, b; c'", "chmod"), "chmod o-w '/a, b; c'");
    assert_eq!(command("run `ycred list`, or x", "ycred"), "ycred list");
    assert_eq!(command("unset A B; without a profile, x", "unset"), "unset A B");
    assert!(has_parts("ycred: hint: chmod o-w /x", "chmod o-w") && has_parts("a X b Y", "a {} b {y}"));
    assert!(!has_parts("b X a", "a {} b"));
}
