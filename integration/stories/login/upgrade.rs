//! An older and this ycred share one login, in both directions.

use std::path::Path;
use std::time::Duration;

use crate::emulator::auth::TOKEN;
use crate::emulator::faults::{Endpoint, Fault};
use crate::expect::prints_token;
use crate::harness::previous::previous_ycred;
use crate::harness::waiting::{HOUR, WAIT_LIMIT};
use crate::harness::{Call, YCRED};
use crate::sources::person::Person;

fn token_by(person: &Person, program: &Path) -> Call {
    person.world.sandbox.call(program, ["token", "--no-cache"])
}

/// The number of uses of a consumed token.
fn reused(person: &Person) -> usize {
    person.world.emulator.logins(|logins| logins.reused)
}

#[test]
fn an_older_ycred_and_this_one_renew_one_login_in_turns() {
    let Some(older) = previous_ycred() else { return };
    for programs in [[older.as_path(), Path::new(YCRED)], [Path::new(YCRED), older.as_path()]] {
        let person = Person::new();
        person.world.emulator.set(|settings| settings.login.one_time = true);
        person.world.sandbox.call(programs[0], ["login"]).run().exits(0).stdout_has("logged in");
        let mut last = String::new();
        for turn in 0..5 {
            let program = programs[(turn + 1) % 2];
            let token = prints_token(token_by(&person, program).run());
            // The other one finds it fresh.
            assert_eq!(prints_token(token_by(&person, programs[turn % 2]).run()), token, "turn {turn}");
            assert_ne!(token, last, "turn {turn}");
            last = token;
            person.age(13 * HOUR);
        }
        assert_eq!((person.tokens(), reused(&person), person.asked()), (5, 0, 1));
        // Each of them ends the login for both.
        person.world.sandbox.call(programs[1], ["logout"]).run().exits(0).stdout_has("logged out");
        token_by(&person, programs[0]).run().exits(1).stderr_has("nobody is logged in");
    }
}

#[test]
fn an_older_ycred_and_this_one_wait_for_each_others_renewal() {
    let Some(older) = previous_ycred() else { return };
    for programs in [[older.as_path(), Path::new(YCRED)], [Path::new(YCRED), older.as_path()]] {
        let person = Person::new();
        person.world.emulator.set(|settings| settings.login.one_time = true);
        person.log_in();
        person.age(13 * HOUR);
        person.world.emulator.fault(Fault::late(Duration::from_secs(2)).on(Endpoint::OauthToken));
        let first = token_by(&person, programs[0]).start();
        assert!(person.world.emulator.wait_for_requests(TOKEN, 2, WAIT_LIMIT));
        let second = token_by(&person, programs[1]).start();
        assert_eq!(prints_token(first.finish()), prints_token(second.finish()));
        assert_eq!((person.tokens(), reused(&person)), (2, 0));
    }
}
