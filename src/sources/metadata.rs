//! `metadata`: the service account of the VM, function or container that ycred runs in.
//!
//! Source: docs `compute/operations/vm-connect/auth-inside-vm.md`. `expires_in` is the remaining validity. The token
//! may have an older format than `t1.`.

use std::time::Duration;

use serde::Deserialize;

use crate::base::account::Account;
use crate::base::clock::Timestamp;
use crate::base::environment as env;
use crate::base::environment::{Environment, NotUtf8};
use crate::base::error::{Kind, Result};
use crate::base::hosts::Host;
use crate::base::identity::Identity;
use crate::base::secret::Secret;
use crate::base::token::{Credential, Expiry, lenient_seconds};
use crate::cloud::Context;
use crate::cloud::http::HttpRequest;
use crate::cloud::http::failure::ServerError;
use crate::obtain::{Caching, Grant};
use crate::sources::settings::Settings;
use crate::sources::source::{Assignment, EnvironmentSettings, Key, Source, SourceInput, Variable};
use crate::system;

pub const SOURCE: Source = Source {
    // A VM's account can be replaced or detached, and a token cached for long would still be the old one (gosdk2,
    // credentials/metadata_service.go).
    max_age: Some(Duration::from_secs(60)),
    variables: &[Variable { rank: 5, name: env::YC_METADATA_ADDR }],
    from_environment,
    default_of,
    ..Source::new("metadata", "the service account of this VM, function or container", KEYS, open)
};

const KEYS: &[Key] = &[Key {
    name: "metadata-addr",
    value: "HOST[:PORT]",
    about: "address [default: YC_METADATA_ADDR or 169.254.169.254]",
}];

/// The link-local address of the metadata service.
pub const ADDRESS: &str = "169.254.169.254";
const PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
/// Time limit for connecting. The service runs on the same host, so it responds faster if it exists.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

fn open(input: &SourceInput<'_>) -> Result<Box<dyn Grant>> {
    let host = address(input)?;
    let url = format!("http://{host}{PATH}");
    // The address is the same on every machine, and a home directory may be shared.
    let identity =
        Identity::of(SOURCE.name).with("metadata-addr", host.to_string()).with_machine(system::machine::identity());
    Ok(Box::new(MetadataGrant { url, identity, caching: input.caching() }))
}

/// Returns the address of the service, from the profile or a variable.
fn address(input: &SourceInput<'_>) -> Result<Host> {
    let settings = input.settings;
    let (key, text) = match settings.text("metadata-addr")? {
        Some(text) => ("metadata-addr", text.to_owned()),
        None => match default_address(settings, input.name.is_some()) {
            (Ok(text), variable) => (variable, text),
            (Err(_), variable) => return Err(settings.missing(&format!("{variable} is not UTF-8"))),
        },
    };
    // With a scheme or a path, the URL below would have a different meaning.
    let host = if text.contains(['/', '@', '?', '#']) { None } else { Host::parse(&text) };
    let host = host.ok_or_else(|| settings.error_at(key, "is not a host or host:port"))?;
    let is_local = host.name == ADDRESS || crate::base::hosts::is_loopback(&host.name);
    if !is_local {
        return Err(
            settings.error_at(key, &format!("names {host}, but only {ADDRESS} and loopback addresses are allowed"))
        );
    }
    Ok(host)
}

/// Returns a URL of the service that needs no account.
///
/// # Errors
/// Profile (3): the address in the profile or the variable is wrong.
pub fn service_url(input: &SourceInput<'_>) -> Result<String> {
    address(input).map(|host| format!("http://{host}/computeMetadata/v1/"))
}

/// Returns the address that is used without the key, and the variable that sets it.
fn default_address(settings: &Settings, has_profile: bool) -> (Result<String, NotUtf8>, &'static str) {
    let environment = settings.environment();
    let variable = match environment.get(env::YCRED_METADATA_ADDR) {
        Some(_) if has_profile => env::YCRED_METADATA_ADDR,
        _ => env::YC_METADATA_ADDR,
    };
    (environment.text(variable).map(|text| text.unwrap_or(ADDRESS).to_owned()), variable)
}

fn default_of(settings: &Settings, has_profile: bool, key: &str) -> Option<(String, Option<&'static str>)> {
    let (text, variable) = (key == "metadata-addr").then(|| default_address(settings, has_profile))?;
    let is_set = settings.environment().get(variable).is_some();
    Some((text.ok()?, is_set.then_some(variable)))
}

fn from_environment(environment: &Environment, _: Timestamp) -> Option<EnvironmentSettings> {
    let variable = env::YC_METADATA_ADDR;
    let value = environment.get(variable)?.to_string_lossy().into_owned();
    Some(EnvironmentSettings {
        rank: 5,
        assignments: vec![Assignment::Value { key: "metadata-addr", variable, value }],
    })
}

struct MetadataGrant {
    url: String,
    identity: Identity,
    caching: Caching,
}

#[derive(Deserialize)]
pub struct MetadataToken {
    pub access_token: Secret,
    #[serde(default, deserialize_with = "lenient_seconds")]
    pub expires_in: Option<i64>,
}

impl Grant for MetadataGrant {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn caching(&self) -> Caching {
        self.caching
    }

    fn fetch(&self, cx: &Context<'_>) -> Result<Credential> {
        let request = HttpRequest {
            url: &self.url,
            headers: &[("metadata-flavor", "Google")],
            body: None,
            connect: CONNECT_TIMEOUT,
            direct: true,
            is_one_time: false,
        };
        let response = cx.send(&request, explain).map_err(|error| {
            let error = error.context("metadata");
            match error.kind {
                Kind::Refused if error.status == Some(404) => error.replace_hint(
                    "attach a service account: yc compute instance update NAME --service-account-id ID (or deploy \
                         a new version of the function or revision of the container with one)",
                ),
                Kind::Refused => error.replace_hint(
                    "enable gce-http-token in the instance's metadata options, so that the service may issue tokens",
                ),
                _ if error.status.is_some() => error,
                _ => error.replace_hint(
                    "outside a Yandex Cloud VM, function or container, use another source: ycred init --key-file FILE",
                ),
            }
        })?;
        let MetadataToken { access_token, expires_in } = response.json(&self.url)?;
        Credential::new(access_token, &Expiry::In(expires_in), response.received, None, &self.url)
            .map(|credential| credential.of(Account::of_machine()))
    }

    fn account(&self) -> Result<String> {
        Ok("the service account of this machine".into())
    }
}

/// Extracts the error message from a response body. The format of the service's errors is not documented, so any short
/// string that is not HTML counts as the message.
pub fn explain(body: &[u8]) -> Option<ServerError> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let is_message = !text.is_empty() && text.len() <= 200 && !text.starts_with('<');
    is_message.then(|| ServerError {
        message: text.to_owned(),
        request_id: None,
        code: None,
        is_from_cloud: false,
        is_from_server: true,
    })
}
