//! The password of a proxy, which must not be printed.

use super::fragments::Fragments;

use base64::Engine as _;

use crate::emulator::keys::{AuthorizedKey, RsaKey};
use crate::harness::{Run, Sandbox, run_all};
use crate::server::{Response, Server};
use crate::sources::random_secret;

#[test]
fn messages_name_the_proxy_but_never_its_password() {
    let password = random_secret(24);
    let encoded = format!("{}%40{}", &password[..12], &password[12..]);
    let decoded = format!("{}@{}", &password[..12], &password[12..]);
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("robot:{decoded}"));
    let mut fragments = Fragments::default();
    for secret in [&password, &encoded, &decoded, &basic] {
        fragments.add("proxy password", secret);
    }
    for status in [407, 403, 502, 200] {
        // The proxy quotes the credentials in its body and in headers.
        let proxy = Server::start(None, {
            let (decoded, encoded) = (decoded.clone(), encoded.clone());
            move |request| {
                let authorization = request.header("proxy-authorization").unwrap_or_default().to_owned();
                Response::text(status, format!("{authorization} {decoded} {encoded}"))
                    .header("Proxy-Authenticate", format!("Basic realm=\"{authorization} {decoded}\""))
                    .header("x-request-id", encoded.as_str())
            }
        });
        let sandbox = Sandbox::new();
        let key = AuthorizedKey::new("ajeaaaaaaaaaaaaaaaaa", RsaKey::shared());
        key.write(sandbox.path("config/key.json")).expect("a key file");
        fragments.add("key", &key.file().without_line().pem());
        sandbox.profile(
            "default",
            "source = \"authorized-key\"\nkey-file = \"key.json\"\niam-url = \"https://iam.example\"\ntimeout = \"2s\"\n",
        );
        let address = proxy.address();
        let urls = [
            format!("http://robot:{encoded}@{address}"),
            format!("http://robot:{encoded}@{address}/"),
            format!("robot:{encoded}@{address}"),
        ];
        let runs = run_all(urls.iter().flat_map(|url| {
            let arguments = [&["-vvv", "token", "--no-cache"][..], &["-vvv", "kubectl", "--no-cache"]];
            arguments.map(|arguments| sandbox.ycred(arguments).env("HTTPS_PROXY", url))
        }));
        for run in runs.into_iter().map(Run::fails) {
            assert_ne!(run.status.code(), Some(5), "{run}");
            assert_eq!(fragments.find_in(run.stderr.as_bytes()), None, "{status}\n{run}");
            assert_eq!(fragments.find_in(run.stdout.as_bytes()), None, "{status}\n{run}");
            // After 200 the failure looks like a TLS error of the server, so ycred cannot blame the proxy.
            let is_named = run.stderr.contains(&address.to_string());
            assert!(is_named || status == 200, "{status}: the proxy is not named\n{run}");
        }
    }
    // An invalid URL is not printed either.
    let mut sandbox = Sandbox::new();
    sandbox.profile("default", "source = \"oauth\"\noauth-token-env = \"O\"\niam-url = \"https://iam.example\"\n");
    for url in [
        format!("http://robot:{decoded}@127.0.0.1:1"),
        format!("http://robot:{}/{}@127.0.0.1:1", &password[..12], &password[12..]),
        format!("http://robot:{password} x@proxy:1"),
        format!("ht!tp://robot:{password}@proxy:1"),
        format!("robot:{password}"),
        format!("http://robot:{password}@"),
        format!("socks9://robot:{password}@127.0.0.1:1"),
    ] {
        sandbox.set("https_proxy", &url).set("O", "y0_x");
        let run = sandbox.ycred(["-vvv", "token", "--no-cache", "--timeout", "2s"]).run().fails();
        assert_ne!(run.status.code(), Some(5), "{url}\n{run}");
        assert_eq!(fragments.find_in(run.stderr.as_bytes()), None, "{url}\n{run}");
    }
}
