//! Parses the auth host's response to a login: the query of the URL to which it redirects the browser.

use crate::base::error::Result;
use crate::base::identity::value_digest;
use crate::base::secret::Secret;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// The result of a login in the browser.
pub enum Callback {
    /// The authorization code, to be exchanged for tokens.
    Code(Secret),
    /// The person or the cloud rejected the login, with the error code and its description.
    Refused(String),
}

/// Parses the query of a callback.
///
/// # Errors
/// Why the callback is malformed or does not belong to the login with this `state`.
pub fn read_callback(query: &str, state: &str) -> Result<Callback, &'static str> {
    let mut values: [Option<Zeroizing<String>>; 4] = Default::default();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let names = ["state", "code", "error", "error_description"];
        let Some(at) = names.iter().position(|known| *known == name) else { continue };
        let value = Zeroizing::new(value.replace('+', " "));
        let value = percent_decode_str(&value).decode_utf8().map_err(|_| "a parameter is not valid UTF-8")?;
        if values[at].replace(Zeroizing::new(value.into_owned())).is_some() {
            return Err("a parameter occurs twice");
        }
    }
    let [given_state, code, error, description] = values;
    // Compares digests, so that the timing does not reveal where the values differ.
    if given_state.is_none_or(|given| value_digest(given.as_bytes()) != value_digest(state.as_bytes())) {
        return Err("`state` doesn't match this login");
    }
    if let Some(error) = error.filter(|error| !error.is_empty()) {
        let description: String = description.iter().flat_map(|text| text.chars()).take(250).collect();
        let error: String = error.chars().take(60).collect();
        return Ok(Callback::Refused(if description.is_empty() { error } else { format!("{error}: {description}") }));
    }
    match code {
        Some(code) if (1..=4096).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Callback::Code(Secret::new(code.to_string())))
        }
        _ => Err("the authorization code is missing or malformed"),
    }
}

/// Returns the query of a pasted line. The line is a URL, or only the part of it after the question mark.
pub fn query_of(line: &str) -> &str {
    let line = line.trim().trim_matches(['"', '\'']);
    let query = line.split_once('?').map_or(line, |(_, query)| query);
    query.split('#').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<String, &'static str> {
        read_callback(query, "abc").map(|callback| match callback {
            Callback::Code(code) => format!("code {}", code.expose()),
            Callback::Refused(why) => format!("refused {why}"),
        })
    }

    #[test]
    fn a_callback_is_accepted_only_with_the_state_of_this_login() {
        assert_eq!(read("code=c1&state=abc").as_deref(), Ok("code c1"));
        assert_eq!(read("state=%61bc&x=y&code=a%2Bb").as_deref(), Ok("code a+b"));
        assert_eq!(
            read("error=access_denied&error_description=not+to%20day&state=abc").as_deref(),
            Ok("refused access_denied: not to day")
        );
        assert_eq!(read("error=server_error&code=c&state=abc").as_deref(), Ok("refused server_error"));
        for stray in [
            "",
            "code=c1",
            "code=c1&state=abd",
            "code=c1&state=ab",
            "error=access_denied&state=",
            "state=abc",
            "error&state=abc",
        ] {
            assert!(read(stray).is_err(), "{stray}");
        }
        for wrong in [
            "code=a&code=b&state=abc",
            "code=a&state=abc&state=abc",
            "code=%FF&state=abc",
            "code=&state=abc",
            "code=a+b&state=abc",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pasted_line_may_be_a_whole_url_or_its_query() {
        for line in [
            "http://127.0.0.1:1234/auth/callback?code=c&state=abc\n",
            "  code=c&state=abc ",
            "\"http://127.0.0.1/auth/callback?code=c&state=abc#x\"",
            "?code=c&state=abc",
        ] {
            assert_eq!(query_of(line), "code=c&state=abc", "{line}");
        }
    }
}
