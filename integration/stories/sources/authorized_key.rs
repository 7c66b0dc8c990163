//! Source `authorized-key`.

use crate::emulator::keys::{AuthorizedKey, Ends, Form, KeyFile, RsaKey};
use crate::emulator::log::Presented;
use crate::emulator::times;
use crate::expect::{one_token, refused, refused_with_hint};
use crate::world::World;

#[test]
fn every_shape_of_an_authorized_key_file_buys_a_token() {
    let world = World::new();
    let vary: [fn(KeyFile<'_>) -> KeyFile<'_>; 14] = [
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
    for (number, vary) in vary.into_iter().enumerate() {
        let file = vary(world.key.file());
        world.sandbox.file("config/key.json", file.json());
        let token = one_token(&world.token(&["--force-refresh"]).run().exits(0).quietly());
        let subject = world.emulator.subject_of(&token);
        assert_eq!(subject.as_ref(), Some(&world.key.service_account_id), "shape {number}");
    }
}

#[test]
fn the_key_of_a_user_account_is_refused_with_the_reason() {
    let world = World::new();
    for form in [Form::Snake, Form::Camel, Form::CreateKeyResponse] {
        world.sandbox.file("config/key.json", world.key.file().user_account().form(form).json());
        refused_with_hint(
            world.token(&[]).run(),
            3,
            &["key.json", "is the key of a user account", "only for keys of service accounts"],
            "yc iam key create",
        );
    }
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_file_that_is_no_key_is_named_and_nothing_of_it_is_shown() {
    let world = World::new();
    for content in ["", "hunter22hunter22", "{\"private_key\": \"hunter22hunter22\"}", "[]", "\u{0}\u{1}"] {
        world.sandbox.file("config/key.json", content);
        let error = refused(world.token(&[]).run(), 3, &["key.json"]);
        assert!(!error.contains("hunter"), "{error}");
    }
    world.sandbox.file("config/key.json", b"\xff\xfe\x00".as_slice());
    refused(world.token(&[]).run(), 3, &["key.json", "not UTF-8"]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_key_shorter_than_the_cloud_takes_is_refused_here() {
    let world = World::new();
    let short = AuthorizedKey::new(&world.key.service_account_id, RsaKey::generate(1024));
    short.write(world.sandbox.path("config/key.json")).expect("a key file");
    refused(world.token(&[]).run(), 3, &["key.json"]);
    assert_eq!(world.emulator.calls(), 0);
}

#[test]
fn a_jwt_is_good_for_the_url_that_it_is_sent_to_alone_and_dated_back_a_little() {
    let world = World::new();
    world.get();
    let log = world.emulator.log();
    let Presented::Jwt { kid, iss, aud, iat, exp, .. } = &log[0].presented else { panic!("{log:?}") };
    assert_eq!((kid.as_ref(), iss.as_ref()), (Some(&world.key.id), Some(&world.key.service_account_id)));
    assert_eq!(*aud, [format!("{}/iam/v1/tokens", world.emulator.url())]);
    let (iat, exp) = (iat.expect("iat"), exp.expect("exp"));
    assert!(exp - iat <= 3600, "the cloud takes an hour at most");
    let early = times::unix(log[0].received) - iat;
    assert!((5..60).contains(&early), "iat is {early} s before the request");
}

#[test]
fn a_deleted_key_is_refused_with_the_clouds_words_and_what_to_check() {
    let world = World::new();
    world.emulator.delete_key(&world.key.id);
    let error = refused_with_hint(
        world.token(&[]).run(),
        1,
        &["401", "UNAUTHENTICATED", "does not exist", &world.key.service_account_id],
        "yc iam key list",
    );
    assert!(error.contains(&world.emulator.log()[0].request_id), "{error}");
    assert_eq!(world.requests(), 1, "with clocks that agree, a refusal is final");
}
