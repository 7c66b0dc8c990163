//! The token that `exec` and `env` put into the environment, as a ycred that runs there reads it back.
//!
//! The expiry is in a variable of its own, and a program or a user may replace the token without it. So a digest of the
//! token binds the two. The digest also says which profile the token belongs to: a token is never used for another
//! profile.

use ring::digest;

use crate::base::clock::{Timestamp, human};
use crate::base::environment as env;
use crate::base::environment::Environment;
use crate::base::error::Error;
use crate::base::secret::Secret;

/// The variables that contain the token.
pub const TOKEN_VARIABLES: [&str; 2] = [env::YC_IAM_TOKEN, env::YC_TOKEN];

/// The number of hex digits in each half of the id.
const HALF: usize = 8;

/// A token that an outer ycred has supplied.
#[derive(Debug, PartialEq, Eq)]
pub struct SuppliedToken {
    /// The variable to read the token from.
    pub variable: &'static str,
    /// The expiry that the outer ycred reported, by this machine's clock.
    pub expires: Timestamp,
    is_of_profile: bool,
}

/// Returns the value of `YCRED_TOKEN_ID`: 16 hex digits. The first half depends on the token, and the second half also
/// on the profile that it belongs to.
pub fn token_id(token: &Secret, profile: Option<&str>) -> String {
    id(token.expose(), profile)
}

fn id(token: &str, profile: Option<&str>) -> String {
    let hex = |text: &str| {
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        digest.as_ref()[..HALF / 2].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    // A token has no line breaks, so the pair is unambiguous.
    format!("{}{}", hex(token), hex(&format!("{token}\n{}", profile.unwrap_or_default())))
}

impl SuppliedToken {
    /// Returns the supplied token in this variable. `None` if the variable has another value, or if its expiry is
    /// unknown.
    pub fn in_variable(environment: &Environment, variable: &'static str) -> Option<Self> {
        Self::find(environment, variable, None)
    }

    /// Returns the token that was supplied for the profile with this name.
    pub fn for_profile(environment: &Environment, name: &str) -> Option<Self> {
        let mut supplied = TOKEN_VARIABLES.into_iter().filter_map(|it| Self::find(environment, it, Some(name)));
        supplied.find(|supplied| supplied.is_of_profile)
    }

    fn find(environment: &Environment, variable: &'static str, profile: Option<&str>) -> Option<Self> {
        let given = environment.text(env::YCRED_TOKEN_ID).ok()??;
        let expires = Timestamp::parse(environment.text(env::YCRED_EXPIRES_AT).ok()??)?;
        let expected = id(environment.text(variable).ok()??.trim(), profile);
        let fits = given.len() == expected.len() && given.get(..HALF) == expected.get(..HALF);
        fits.then(|| Self { variable, expires, is_of_profile: given == expected })
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires <= now
    }

    /// Returns the error for an expired token, and for the variables that contain it.
    pub fn expired_error(&self, environment: &Environment, now: Timestamp) -> Error {
        let names: Vec<&str> =
            TOKEN_VARIABLES.into_iter().filter(|it| Self::in_variable(environment, it).is_some()).collect();
        let ago = human(now.since(self.expires));
        Error::profile(format!(
            "the token in {} expired at {} ({}), {ago} ago: `ycred exec` or `ycred env` supplied it, and it is not renewed",
            names.join(" and "),
            self.expires,
            env::YCRED_EXPIRES_AT
        ))
        .hint(format!(
            "unset {}; if you use no profile, also set the variable that holds your credential again",
            names.join(" ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn an_id_binds_the_expiry_to_the_token_and_the_token_to_the_profile() {
        let (token, expires) = ("t1.aaaaaaaa.b", NOW.to_string());
        let id = token_id(&Secret::new(token.into()), Some("prod"));
        assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        let with = |token: &str, id: &str, expires: &str| {
            environment(&[(env::YC_TOKEN, token), (env::YCRED_TOKEN_ID, id), (env::YCRED_EXPIRES_AT, expires)])
        };
        let good = with(token, &id, &expires);
        let found = SuppliedToken::in_variable(&good, env::YC_TOKEN).expect("the token");
        assert!(found.expires == NOW && found.is_expired(NOW) && !found.is_expired(NOW.shifted(-1)));
        assert_eq!(SuppliedToken::in_variable(&good, env::YC_IAM_TOKEN), None);
        assert_eq!(SuppliedToken::for_profile(&good, "prod").map(|it| it.variable), Some(env::YC_TOKEN));
        assert_eq!(SuppliedToken::for_profile(&good, "test"), None);
        for bad in [
            with("t1.other.b", &id, &expires),
            with(token, "0000000000000000", &expires),
            with(token, &id[..8], &expires),
            with(token, "жжжжжжжж", &expires),
            with(token, &id, "soon"),
            with(token, &id, ""),
        ] {
            assert_eq!(SuppliedToken::in_variable(&bad, env::YC_TOKEN), None);
        }
    }

    #[test]
    fn the_error_names_the_variables_that_contain_the_token() {
        let id = token_id(&Secret::new("t1.aaaaaaaa.b".into()), None);
        let expires = NOW.to_string();
        let environment = environment(&[
            (env::YC_IAM_TOKEN, "t1.aaaaaaaa.b"),
            (env::YC_TOKEN, "t1.aaaaaaaa.b"),
            (env::YCRED_TOKEN_ID, &id),
            (env::YCRED_EXPIRES_AT, &expires),
        ]);
        let supplied = SuppliedToken::in_variable(&environment, env::YC_TOKEN).expect("the token");
        let error = supplied.expired_error(&environment, NOW.shifted(300_000)).render();
        assert!(error.contains("YC_IAM_TOKEN and YC_TOKEN") && error.contains("5m ago"), "{error}");
        assert!(error.contains("(YCRED_EXPIRES_AT)"), "{error}");
        assert!(error.contains("hint: unset YC_IAM_TOKEN YC_TOKEN;"), "{error}");
    }
}
