//! The emulator as a program: an IAM on loopback for any client.
//!
//! `cargo run -p ycred-emulator -- --help`

use std::error::Error;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ycred_emulator::exchange::Algorithm;
use ycred_emulator::keys::{new_id, write_private};
use ycred_emulator::settings::Settings;
use ycred_emulator::{Config, Emulator, Impersonation, Tls, control, times};

const HELP: &str = "\
Emulates Yandex Cloud's IAM on this machine, for testing clients without a cloud

Creates credentials and ycred profiles, prints how to use them, and serves until Ctrl-C. Its tokens are valid only here.

Usage: emulator [OPTIONS]
   or: cargo run -p ycred-emulator -- [OPTIONS]

Options:
  --port N            port of the IAM endpoint on 127.0.0.1 [default: a free one]
  --metadata-port N   port of the metadata service [default: a free one]
  --tls               serve the IAM endpoint and the auth host by https, with a certificate authority of this run
  --dir DIR           directory for key.json, demo.toml and the other files [default: a new one, removed at the end]
  --life D            how long tokens are valid: 90s, 15m, 12h [default: 12h]
  --audience URL      accept this audience in JWTs too; may be repeated. SDKs always name
                      https://iam.api.cloud.yandex.net/iam/v1/tokens; ycred names the URL it calls
  --for D             stop after this time [default: at Ctrl-C or SIGTERM]
  -h, --help          print help

Services:
  POST /iam/v1/tokens                             exchange a JWT or an OAuth token for an IAM token
  POST /iam/v1/tokens:createForServiceAccount     impersonate a service account
  POST /iam/v1/tokens:revoke                      revoke an IAM token
  POST /iam/v1/refreshTokens:revoke               revoke a refresh token
  POST /iam/aws-compatibility/v1/ephemeralAccessKeys   create access keys for Object Storage
  GET  /endpoints, /endpoints/iam                 list the API endpoints
On the metadata service's port:
  GET  /computeMetadata/v1/instance/service-accounts/default/token
On the auth host's port:
  POST /oauth/token                               exchange another issuer's token, a code or a refresh token
  GET  /oauth/authorize                           log in with a browser

";

/// The parsed arguments.
struct Options {
    config: Config,
    dir: Option<PathBuf>,
    stop_after: Option<Duration>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("emulator: {error} (run with --help for usage)");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let Some(Options { config, dir, stop_after }) = parse(lexopt::Parser::from_env())? else {
        // A reader that closes early, such as `head`, is not an error.
        let _ = write!(io::stdout(), "{HELP}{}", control::HELP);
        return Ok(());
    };
    stop_on_signals();
    // Dropping this removes the directory, so it is kept to the end.
    let fresh;
    let dir = match dir {
        Some(dir) => {
            std::fs::create_dir_all(&dir).map_err(|error| format!("cannot create {}: {error}", dir.display()))?;
            std::path::absolute(dir)?
        }
        None => {
            fresh = tempfile::Builder::new().prefix("ycred-emulator-").tempdir()?;
            keep_private(fresh.path())?;
            fresh.path().to_owned()
        }
    };
    let tls = config.tls != Tls::Off;
    let (port, metadata_port) = (config.address.port(), config.metadata_address.port());
    let emulator = Emulator::try_start(config)
        .map_err(|error| format!("cannot listen on 127.0.0.1, ports {port} and {metadata_port}: {error}"))?;
    let account = prepare(&emulator, &dir, tls)?;
    let _ = print_usage(&mut io::stdout().lock(), &emulator, &dir, &account, tls);
    let end = stop_after.map(|stop_after| Instant::now() + stop_after);
    while !STOP.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Parses the arguments. Returns `None` if help was requested.
fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    // Attached from the start, so that restoring the initial settings keeps it.
    let mut settings = Settings { metadata_account: Some(new_id()), ..Settings::default() };
    let (mut tls, mut port, mut metadata_port) = (Tls::Off, 0, 0);
    let (mut dir, mut stop_after) = (None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => port = parser.value()?.parse()?,
            Long("metadata-port") => metadata_port = parser.value()?.parse()?,
            Long("tls") => tls = Tls::Good,
            Long("dir") => dir = Some(PathBuf::from(parser.value()?)),
            Long("life") => settings.life = parser.value()?.parse_with(times::parse_unsigned)?,
            Long("audience") => settings.audiences.push(parser.value()?.string()?),
            Long("for") => stop_after = Some(parser.value()?.parse_with(times::parse_unsigned)?),
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    let loopback = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (address, metadata_address) = (loopback(port), loopback(metadata_port));
    let config = Config { tls, address, metadata_address, settings, ..Config::default() };
    Ok(Some(Options { config, dir, stop_after }))
}

/// The subject of the demonstration's subject token.
const DEMO_SUBJECT: &str = "repo:owner/name:ref:refs/heads/main";

/// Writes credentials and profiles to the directory. Returns an account that the others may impersonate.
fn prepare(emulator: &Emulator, dir: &Path, tls: bool) -> io::Result<String> {
    let key = emulator.new_service_account_key();
    key.write(dir.join("key.json"))?;
    let (oauth, _) = emulator.new_oauth();
    write_private(&dir.join("oauth-token"), &format!("{oauth}\n"))?;
    if let Some(attached) = emulator.settings().metadata_account {
        emulator.set_impersonation(&attached, Impersonation::Anyone);
    }
    let mut endpoint = format!("iam-url = \"{}\"\n", emulator.url());
    if tls {
        emulator.write_ca(dir.join("ca.pem"))?;
        endpoint += "ca-file = \"ca.pem\"\n";
    }
    let hosts = "hosts = [\"localhost:5000\"]\n";
    let (issuer, account) = (emulator.new_federation(Algorithm::Rs256), emulator.new_service_account());
    emulator.new_federated_credential(&issuer, &account, DEMO_SUBJECT);
    // Longer than any session with the emulator.
    let subject_token = issuer.token_for(DEMO_SUBJECT, Duration::from_secs(7 * 24 * 3600));
    write_private(&dir.join("subject-token"), &format!("{subject_token}\n"))?;
    let workload = format!(
        "source = \"workload\"\nservice-account-id = \"{account}\"\nsubject-token-file = \"subject-token\"\n\
         auth-url = \"{}\"\n{endpoint}{hosts}",
        emulator.auth_url()
    );
    let profiles = [
        ("demo.toml", format!("source = \"authorized-key\"\nkey-file = \"key.json\"\n{endpoint}{hosts}")),
        ("demo-oauth.toml", format!("source = \"oauth\"\noauth-token-file = \"oauth-token\"\n{endpoint}{hosts}")),
        ("demo-login.toml", format!("source = \"login\"\n{endpoint}auth-url = \"{}\"\n{hosts}", emulator.auth_url())),
        ("demo-vm.toml", format!("source = \"metadata\"\nmetadata-addr = \"{}\"\n{hosts}", emulator.metadata_addr())),
        ("demo-workload.toml", workload),
    ];
    for (name, text) in profiles {
        write_private(&dir.join(name), &text)?;
    }
    Ok(emulator.new_service_account())
}

fn print_usage(out: &mut impl Write, emulator: &Emulator, dir: &Path, account: &str, tls: bool) -> io::Result<()> {
    let (url, auth, metadata, dir) = (emulator.url(), emulator.auth_url(), emulator.metadata_addr(), dir.display());
    // Programs parse this line, so it stays the first one and keeps its form.
    writeln!(out, "ready iam-url={url} auth-url={auth} metadata={metadata} dir={dir}")?;
    let curl = if tls { format!("curl --cacert {dir}/ca.pem") } else { "curl".to_owned() };
    writeln!(
        out,
        "
IAM endpoint:      {url}
Auth host:         {auth}
Metadata service:  {metadata}

Files in {dir}:
  key.json             authorized key of a service account
  oauth-token          OAuth token of a user
  subject-token        token of another issuer, for token exchange
  demo.toml            ycred profile that uses key.json
  demo-oauth.toml      profile that uses oauth-token
  demo-workload.toml   profile that exchanges subject-token
  demo-vm.toml         profile that uses the metadata service
  demo-login.toml      profile for a browser: ycred login --profile demo-login

To use the profiles, in another terminal:
  export YCRED_CONFIG_DIR={dir}
  ycred token --profile demo
  ycred kubectl --profile demo
  echo localhost:5000 | ycred docker get --profile demo

To impersonate another service account, add this to a profile:
  impersonate = \"{account}\"

To read the request log:
  {curl} {url}/_emulator/log
To make the next two requests fail:
  {curl} -X PUT -d '{{\"status\": 503, \"times\": 2, \"retry-after\": \"1\"}}' {url}/_emulator/faults
  ycred token --profile demo --force-refresh
To list all faults and settings:
  {curl} {url}/_emulator

Press Ctrl-C to stop."
    )?;
    out.flush()
}

/// Closes a directory to other users.
fn keep_private(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let _ = dir;
    Ok(())
}

/// Set by a signal, so that the program stops in order and removes its directory.
static STOP: AtomicBool = AtomicBool::new(false);

#[cfg(unix)]
fn stop_on_signals() {
    extern "C" fn stop(_: libc::c_int) {
        STOP.store(true, Ordering::Relaxed);
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is allowed in a signal handler.
        let before = unsafe { libc::signal(signal, stop as extern "C" fn(libc::c_int) as libc::sighandler_t) };
        if before == libc::SIG_IGN {
            // The parent process, such as nohup, wants this signal ignored.
            // SAFETY: no handler is installed.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}

#[cfg(not(unix))]
fn stop_on_signals() {}
