//! The password of a proxy.

use super::net::Net;

use base64::Engine as _;

use crate::emulator::keys::{AuthorizedKey, RsaKey};
use crate::harness::{Run, Sandbox, run_all};
use crate::server::{Response, Server};
use crate::sources::shapeless;

#[test]
fn messages_name_the_proxy_but_never_its_password() {
    let password = shapeless(24);
    let encoded = format!("{}%40{}", &password[..12], &password[12..]);
    let decoded = format!("{}@{}", &password[..12], &password[12..]);
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("robot:{decoded}"));
    let mut net = Net::default();
    for secret in [&password, &encoded, &decoded, &basic] {
        net.add("proxy password", secret);
    }
    for status in [407, 403, 502, 200] {
        // It quotes what it was shown wherever an answer has room for it.
        let proxy = Server::start(None, {
            let (decoded, encoded) = (decoded.clone(), encoded.clone());
            move |request| {
                let shown = request.header("proxy-authorization").unwrap_or_default().to_owned();
                Response::text(status, format!("{shown} {decoded} {encoded}"))
                    .header("Proxy-Authenticate", format!("Basic realm=\"{shown} {decoded}\""))
                    .header("x-request-id", encoded.as_str())
            }
        });
        let sandbox = Sandbox::new();
        let key = AuthorizedKey::new("ajeaaaaaaaaaaaaaaaaa", RsaKey::shared());
        key.write(sandbox.path("config/key.json")).expect("a key file");
        net.add("key", &key.file().without_line().pem());
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
            let words = [&["-vvv", "token", "--no-cache"][..], &["-vvv", "kubectl", "--no-cache"]];
            words.map(|words| sandbox.ycred(words).env("HTTPS_PROXY", url))
        }));
        for run in runs.into_iter().map(Run::fails) {
            assert_ne!(run.status.code(), Some(5), "{run}");
            assert_eq!(net.catch(run.stderr.as_bytes()), None, "{status}\n{run}");
            assert_eq!(net.catch(run.stdout.as_bytes()), None, "{status}\n{run}");
            // One that opens the way and then speaks no TLS is not known for the culprit.
            let named = run.stderr.contains(&address.to_string());
            assert!(named || status == 200, "{status}: the proxy is not named\n{run}");
        }
    }
    // What is no URL at all is not shown either.
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
        assert_eq!(net.catch(run.stderr.as_bytes()), None, "{url}\n{run}");
    }
}
