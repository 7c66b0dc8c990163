//! Gets ID tokens from GitHub Actions.

use serde::Deserialize;

use crate::base::environment as env;
use crate::base::error::{Error, Kind, Result};
use crate::base::hosts::{Host, Scheme, is_loopback};
use crate::base::secret::Secret;
use crate::cloud::http::failure::ServerError;
use crate::cloud::http::{CONNECT_TIMEOUT, HttpRequest};
use crate::cloud::{Context, auth};
use crate::sources::metadata;
use crate::sources::settings::Settings;
use crate::sources::workload::subject::subject_token;

/// The key that sets the audience of the ID token.
pub const GITHUB: &str = "github-audience";

/// The endpoint that issues ID tokens to a GitHub Actions job (GitHub's documentation, "About security hardening with
/// OpenID Connect").
pub struct GitHub {
    pub url: String,
    pub token: Secret,
    audience: String,
}

#[derive(Deserialize)]
pub struct IdToken {
    pub value: Secret,
}

impl GitHub {
    /// Reads the endpoint from the variables of the job.
    ///
    /// # Errors
    /// Profile (3): a variable is missing, or the URL uses plain http to another machine.
    pub fn of(settings: &Settings, audience: &str) -> Result<Self> {
        let get = |name: &'static str| match settings.environment().text(name) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(settings
                .error_at(GITHUB, &format!("works only in GitHub Actions jobs, and the variable {name} is not set"))
                .hint("give the job or the workflow `permissions: id-token: write`")),
            Err(_) => Err(settings.error_at(GITHUB, &format!("needs the variable {name}, which is not UTF-8"))),
        };
        let (url, token) = (get(env::ACTIONS_ID_TOKEN_REQUEST_URL)?, get(env::ACTIONS_ID_TOKEN_REQUEST_TOKEN)?);
        let error_at =
            |name: &str, why: &str| settings.error_at(GITHUB, &format!("needs the variable {name}, which {why}"));
        let host = url.contains("://").then(|| Host::parse(url)).flatten().filter(|_| !url.contains(['#', ' ']));
        let is_safe = host.is_some_and(|host| host.scheme == Some(Scheme::Https) || is_loopback(&host.name));
        if !is_safe {
            return Err(error_at(env::ACTIONS_ID_TOKEN_REQUEST_URL, "is not an https URL"));
        }
        let token = subject_token(token).map_err(|why| error_at(env::ACTIONS_ID_TOKEN_REQUEST_TOKEN, why))?;
        Ok(Self { url: url.to_owned(), token, audience: audience.to_owned() })
    }

    /// Requests an ID token for the audience.
    pub fn request_id_token(&self, cx: &Context<'_>) -> Result<Secret> {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}audience={}", self.url, auth::encode(&self.audience).collect::<String>());
        let bearer = Secret::wrapping(format!("bearer {}", self.token.expose()));
        let headers = [("authorization", bearer.expose()), ("accept", "application/json")];
        let request = HttpRequest {
            url: &url,
            headers: &headers,
            body: None,
            connect: CONNECT_TIMEOUT,
            direct: false,
            is_one_time: false,
        };
        let response = cx.send(&request, explain).map_err(|error| {
            let hint =
                "run the job again with `permissions: id-token: write` (GitHub issues ID tokens only during the job)";
            let error = error.context("GitHub Actions");
            if error.kind == Kind::Refused { error.replace_hint(hint) } else { error }
        })?;
        let IdToken { value } = response.json(&url)?;
        subject_token(value.expose())
            .map_err(|why| Error::refused(format!("GitHub Actions: the ID token of {url} {why}")))
    }
}

/// Extracts the error message from a response body: GitHub's `message`, or any short string that is not HTML.
pub fn explain(body: &[u8]) -> Option<ServerError> {
    #[derive(Deserialize)]
    struct ErrorBody {
        message: String,
    }
    match serde_json::from_slice(body) {
        Ok(ErrorBody { message }) => {
            let message = message.chars().take(250).collect();
            Some(ServerError { message, request_id: None, code: None, is_from_cloud: false, is_from_server: true })
        }
        Err(_) => metadata::explain(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_messages_are_extracted_but_html_is_not() {
        let message = |body: &str| explain(body.as_bytes()).map(|explained| explained.message);
        assert_eq!(message(r#"{"message":"Bad token","typeKey":"x"}"#).as_deref(), Some("Bad token"));
        assert_eq!(message("nope").as_deref(), Some("nope"));
        assert_eq!(message("<html>"), None);
    }
}
