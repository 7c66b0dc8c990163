//! Source `oauth`.

use crate::emulator::Config;
use crate::emulator::log::{Presented, fingerprint};
use crate::expect::{fails_with, fails_with_hint, prints_token};
use crate::world::World;

#[test]
fn an_oauth_token_comes_from_a_file_a_variable_or_a_command() {
    let world = World::without_profile(Config::default());
    let (oauth, subject) = world.emulator.new_oauth();
    world.sandbox.file("config/oauth", format!("{oauth}\n"));
    let settings_lines = [
        "oauth-token-file = \"oauth\"",
        "oauth-token-env = \"MY_OAUTH\"",
        "oauth-token-command = [\"cat\", \"oauth\"]",
    ];
    for (number, line) in settings_lines.iter().enumerate() {
        let settings = format!("source = \"oauth\"\niam-url = \"{}\"\n{line}\n", world.emulator.url());
        world.sandbox.profile("default", &settings);
        let call = world.token(&[]).env("MY_OAUTH", &oauth);
        let token = prints_token(call.clone().run());
        assert_eq!(world.emulator.subject_of(&token).as_ref(), Some(&subject), "{line}");
        assert_eq!(prints_token(call.run()), token);
        assert_eq!(world.requests(), number + 1, "{line}");
    }
    let expected = Presented::Oauth { fingerprint: fingerprint(&oauth) };
    assert!(world.emulator.log().iter().all(|entry| entry.presented == expected));
}

#[test]
fn a_rejected_oauth_token_is_reported_with_an_alternative() {
    let world = World::without_profile(Config::default());
    let settings =
        format!("source = \"oauth\"\niam-url = \"{}\"\noauth-token-env = \"MY_OAUTH\"\n", world.emulator.url());
    world.sandbox.profile("default", &settings);
    let run = world.token(&[]).env("MY_OAUTH", "y0_hunter22hunter22").run().never_prints("hunter22");
    fails_with_hint(run, 1, &["401", "MY_OAUTH"], "authorized key");
    fails_with_hint(world.token(&[]).run(), 3, &["default.toml:3", "MY_OAUTH", "not set"], "export MY_OAUTH");
    let run = world.token(&[]).env("MY_OAUTH", "two words").run();
    fails_with(run, 3, &["MY_OAUTH"]);
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_profile_needs_exactly_one_source_of_the_oauth_token() {
    let world = World::without_profile(Config::default());
    for more in ["", "oauth-token-env = \"A\"\noauth-token-file = \"b\"\n"] {
        world.sandbox.profile("default", &format!("source = \"oauth\"\n{more}"));
        fails_with(world.token(&[]).run(), 3, &["oauth-token-file", "oauth-token-env", "oauth-token-command"]);
    }
}
