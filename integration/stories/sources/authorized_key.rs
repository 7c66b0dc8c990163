//! Source `authorized-key`.

use crate::emulator::keys::{AuthorizedKey, Ends, Form, KeyFile, RsaKey};
use crate::emulator::log::Presented;
use crate::emulator::times;
use crate::expect::{fails_with, fails_with_hint, token_on_stdout};
use crate::world::World;

#[test]
fn every_format_of_an_authorized_key_file_works() {
    let world = World::new();
    let format: [fn(KeyFile<'_>) -> KeyFile<'_>; 14] = [
        |file| file,
        |file| file.form(Form::Camel),
        |file| file.form(Form::CreateKeyResponse),
        |file| file.without_line(),
        |file| file.form(Form::CreateKeyResponse).without_line(),
        |file| file.ends(Ends::CrLf),
        |file| file.ends(Ends::CrLf).without_line(),
        |file| file.ends(Ends::Literal),
        |file| file.ends(Ends::Literal).without_line(),
        |file| file.pkcs1(),
        |file| file.pkcs1().ends(Ends::Literal),
        |file| file.form(Form::Camel).pkcs1().without_line(),
        |file| file.escaped(),
        |file| file.trailing_lines(3),
    ];
    for (number, format) in format.into_iter().enumerate() {
        let file = format(world.key.file());
        world.sandbox.file("config/key.json", file.json());
        let token = token_on_stdout(&world.token(&["--force-refresh"]).run().exits(0).stderr_is_empty());
        let subject = world.emulator.subject_of(&token);
        assert_eq!(subject.as_ref(), Some(&world.key.service_account_id), "format {number}");
    }
}

#[test]
fn the_key_of_a_user_account_is_rejected_with_the_reason() {
    let world = World::new();
    for form in [Form::Snake, Form::Camel, Form::CreateKeyResponse] {
        world.sandbox.file("config/key.json", world.key.file().user_account().form(form).json());
        fails_with_hint(
            world.token(&[]).run(),
            3,
            &["key.json", "is the key of a user account", "only for keys of service accounts"],
            "yc iam key create",
        );
    }
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn an_invalid_key_file_is_named_and_its_contents_are_not_printed() {
    let world = World::new();
    for content in ["", "hunter22hunter22", "{\"private_key\": \"hunter22hunter22\"}", "[]", "\u{0}\u{1}"] {
        world.sandbox.file("config/key.json", content);
        let error = fails_with(world.token(&[]).run(), 3, &["key.json"]);
        assert!(!error.contains("hunter"), "{error}");
    }
    world.sandbox.file("config/key.json", b"\xff\xfe\x00".as_slice());
    fails_with(world.token(&[]).run(), 3, &["key.json", "not UTF-8"]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_key_shorter_than_the_cloud_accepts_is_rejected_without_a_request() {
    let world = World::new();
    let short = AuthorizedKey::new(&world.key.service_account_id, RsaKey::generate(1024));
    short.write(world.sandbox.path("config/key.json")).expect("a key file");
    fails_with(world.token(&[]).run(), 3, &["key.json"]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_jwt_has_the_request_url_as_its_audience_and_is_slightly_backdated() {
    let world = World::new();
    world.get();
    let log = world.emulator.log();
    let Presented::Jwt { kid, iss, aud, iat, exp, .. } = &log[0].presented else { panic!("{log:?}") };
    assert_eq!((kid.as_ref(), iss.as_ref()), (Some(&world.key.id), Some(&world.key.service_account_id)));
    assert_eq!(*aud, [format!("{}/iam/v1/tokens", world.emulator.url())]);
    let (iat, exp) = (iat.expect("iat"), exp.expect("exp"));
    assert!(exp - iat <= 3600, "the cloud accepts one hour at most");
    let early = times::unix(log[0].received) - iat;
    assert!((5..60).contains(&early), "iat is {early} s before the request");
}

#[test]
fn a_deleted_key_is_reported_with_the_clouds_message_and_a_hint() {
    let world = World::new();
    world.emulator.delete_key(&world.key.id);
    let error = fails_with_hint(
        world.token(&[]).run(),
        1,
        &["401", "UNAUTHENTICATED", "does not exist", &world.key.service_account_id],
        "yc iam key list",
    );
    assert!(error.contains(&world.emulator.log()[0].request_id), "{error}");
    assert_eq!(world.requests(), 1, "a rejection is final if the clocks agree");
}
