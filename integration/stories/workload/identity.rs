//! Cache identities of workloads.

use std::fs;
use std::time::Duration;

use crate::emulator::log::fingerprint;
use crate::expect::prints_token;
use crate::sources::workload::{COMMAND, FILE, SUBJECT, VARIABLE, Workload, github};

/// A token from the request replaces the profile's subject token. Other sources reject it.
#[test]
fn a_token_in_the_request_selects_the_cache_record() {
    use ycred::base::environment::Environment;
    use ycred::base::secret::Secret;
    use ycred::disk::places::Places;
    use ycred::profile::Profile;

    let workload = Workload::new();
    let read = |toml: &str| {
        let path = workload.world.sandbox.path("config/x.toml");
        Profile::from_text("x", &path, toml, &Environment::default(), &Places::none()).expect("a profile")
    };
    let name = |profile: &Profile, subject: Option<&str>| {
        let subject = subject.map(|token| Secret::new(token.to_owned()));
        profile.open_for(subject.as_ref()).map(|grant| grant.identity().name())
    };
    let bare = read(&workload.settings(""));
    let (one, renewed) = (workload.issuer.token(SUBJECT), workload.issuer.token(SUBJECT));
    let other = workload.issuer.token("system:serviceaccount:default:other");
    let [one, renewed, other] = [one, renewed, other].map(|token| name(&bare, Some(&token)).expect("a grant"));
    assert!(one == renewed && one != other);
    assert!(name(&bare, None).expect_err("no subject token").render().contains("a client that sends a subject token"));
    for bad in ["", "two words"] {
        let error = name(&bare, Some(bad)).expect_err("no token").render();
        assert!(error.contains("in the request") && !error.contains("words"), "{error}");
    }
    // The profile's own subject token is not used, so it need not work.
    let token = workload.issuer.token(SUBJECT);
    for subject_token in [FILE, VARIABLE, COMMAND, &github(&workload)] {
        assert_eq!(
            name(&read(&workload.settings(subject_token)), Some(&token)).expect("a grant"),
            one,
            "{subject_token}"
        );
    }
    let keyed = read(&workload.world.settings());
    assert!(name(&keyed, Some(&token)).expect_err("another's rights").render().contains("cannot use it"));
}

/// Uses the library from the test's process, as the hook of a client that sends a token does.
#[test]
fn a_token_in_the_request_is_the_one_exchanged() {
    use std::time::{Instant, SystemTime};
    use ycred::base::clock::Timestamp;
    use ycred::base::clock::{Clock, Deadline};
    use ycred::base::diagnostics::Diagnostics;
    use ycred::base::environment::Environment;
    use ycred::base::secret::Secret;
    use ycred::cache::Cache;
    use ycred::cloud::Context;
    use ycred::cloud::http::Http;
    use ycred::disk::places::Places;
    use ycred::profile::Profile;

    struct RealClock(Instant);
    impl Clock for RealClock {
        fn now(&self) -> Timestamp {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
            Timestamp(i64::try_from(since.as_millis()).expect("a moment"))
        }
        fn elapsed(&self) -> Duration {
            self.0.elapsed()
        }
        fn sleep(&self, length: Duration) {
            std::thread::sleep(length);
        }
    }

    let workload = Workload::new();
    // The profile's own subject token file does not exist.
    let toml = workload.settings("subject-token-file = \"not-there\"");
    let path = workload.world.sandbox.path("config/x.toml");
    let environment = Environment::default();
    let profile = Profile::from_text("x", &path, &toml, &environment, &Places::none()).expect("a profile");
    let clock = RealClock(Instant::now());
    let (http, cache) = (Http::new(&environment, None), Cache::new(Err("not used by this test".into())));
    let diagnostics = Diagnostics::new(false, &|_| (), None);
    let cx = Context {
        began: clock.now(),
        clock: &clock,
        deadline: Deadline::of_run(Duration::from_secs(60)),
        attempt_time: None,
        attempts: 4,
        http: &http,
        cache: &cache,
        diagnostics: &diagnostics,
        profile: "profile x",
        profile_file: None,
        requirements: ycred::cache::freshness::Requirements { min_ttl: Duration::ZERO, force_since: None },
        last_error: None,
        is_inner: false,
    };
    let fetch = |token: &str| {
        let token = Secret::new(token.to_owned());
        profile.open_for(Some(&token)).expect("a grant").fetch(&cx)
    };
    let token = workload.issuer.token(SUBJECT);
    let credential = fetch(&token).unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(workload.emulator().subject_of(credential.secret.expose()), Some(workload.account.clone()));
    assert_eq!(workload.shown(), [fingerprint(&token)]);
    let stranger = workload.issuer.token("system:serviceaccount:default:stranger");
    let error = fetch(&stranger).expect_err("no credential").render();
    assert!(error.contains("subject token in the request") && error.contains("default:stranger"), "{error}");
}

/// Every setting that decides which token is issued selects its own record.
#[test]
fn account_host_subject_token_and_ca_are_part_of_the_identity() {
    let workload = Workload::of_file();
    let (first, second) = (workload.emulator().new_service_account(), workload.emulator().auth_url());
    workload.emulator().new_federated_credential(&workload.issuer, &first, SUBJECT);
    fs::copy(workload.world.sandbox.path("config/subject-token"), workload.world.sandbox.path("config/other"))
        .expect("a copy");
    workload.emulator().write_ca(workload.world.sandbox.path("config/ca.pem")).expect("the certificate");
    let settings = workload.settings(FILE);
    let profiles = [
        settings.clone(),
        settings.replace(&workload.account, &first),
        settings.replace(&second, &second.replace("127.0.0.1", "localhost")),
        settings.replace("\"subject-token\"", "\"other\""),
        format!("{settings}ca-file = \"ca.pem\"\n"),
        workload.settings(COMMAND),
    ];
    for (number, profile) in profiles.iter().enumerate() {
        workload.world.sandbox.profile("default", profile);
        prints_token(workload.token(&[]).run());
        prints_token(workload.token(&[]).run());
        assert_eq!((workload.requests(), workload.world.records().len()), (number + 1, number + 1), "{profile}");
    }
}

#[test]
fn the_record_contains_the_subject_and_not_the_subject_token() {
    let workload = Workload::new();
    workload.profile(VARIABLE);
    let token = workload.issuer.token(SUBJECT);
    let run = workload.token(&["-vvv"]).env("MY_ID_TOKEN", &token).run().exits(0);
    run.stderr_has(SUBJECT).never_prints(&token[token.len() - 40..]);
    let record = fs::read_to_string(&workload.world.records()[0]).expect("a record");
    assert!(record.contains(SUBJECT) && !record.contains(&token[token.len() - 40..]), "{record}");
}
