//! The emulator as a program: a small IAM on loopback, to try ycred against without a cloud.
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
use ycred_emulator::keys::write_private;
use ycred_emulator::settings::Settings;
use ycred_emulator::{Config, Emulator, Tls, control, times};

const HELP: &str = "\
A Yandex Cloud IAM of your own, on this machine: it issues tokens that are worth nothing, as strictly as the real one.

It makes an authorized key and a ready profile for ycred, prints how to use them, and answers until Ctrl-C.

Usage: emulator [OPTIONS]
   or: cargo run -p ycred-emulator -- [OPTIONS]

Options:
  --port N            port of the IAM endpoint on 127.0.0.1 (default: a free one)
  --metadata-port N   port of the metadata service of virtual machines (default: a free one)
  --tls               serve the IAM endpoint by https, with a certificate authority made for this run
  --dir DIR           where to put key.json, demo.toml and the like (default: a new directory, removed at the end)
  --life D            how long tokens live: 90s, 15m, 12h (default: 12h)
  --audience URL      a further audience to accept in JWTs; may be given several times. SDKs always name
                      https://iam.api.cloud.yandex.net/iam/v1/tokens, ycred by default the URL that it calls
  --for D             end after this time (default: at Ctrl-C or SIGTERM)
  -h, --help          this text

What it serves:
  POST /iam/v1/tokens                           a JWT or an OAuth token for an IAM token
  POST /iam/v1/tokens:createForServiceAccount   impersonation
  POST /iam/v1/tokens:revoke, /iam/v1/refreshTokens:revoke
  GET  /endpoints, /endpoints/iam               where the IAM endpoint is; for clients that speak https alone
  GET  /computeMetadata/v1/instance/service-accounts/default/token   on the metadata port
  POST /oauth/token                             another issuer's token, or a login, for an IAM token, on a port of its own
  GET  /oauth/authorize                         where people log in, on the same port

";

struct Options {
    config: Config,
    dir: Option<PathBuf>,
    bound: Option<Duration>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("emulator: {error} (--help tells how to use it)");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let Some(Options { config, dir, bound }) = parse(lexopt::Parser::from_env())? else {
        // A reader that closes early, such as `head`, is no error.
        let _ = write!(io::stdout(), "{HELP}{}", control::HELP);
        return Ok(());
    };
    stop_on_signals();
    // Kept to the end: dropping it removes the directory.
    let fresh;
    let dir = match dir {
        Some(dir) => {
            std::fs::create_dir_all(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
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
    let end = bound.map(|bound| Instant::now() + bound);
    while !STOP.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Reads the arguments; nothing if only help was asked for.
fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut settings = Settings::default();
    let (mut tls, mut port, mut metadata_port) = (Tls::Off, 0, 0);
    let (mut dir, mut bound) = (None, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => port = parser.value()?.parse()?,
            Long("metadata-port") => metadata_port = parser.value()?.parse()?,
            Long("tls") => tls = Tls::Good,
            Long("dir") => dir = Some(PathBuf::from(parser.value()?)),
            Long("life") => settings.life = parser.value()?.parse_with(times::parse_unsigned)?,
            Long("audience") => settings.audiences.push(parser.value()?.string()?),
            Long("for") => bound = Some(parser.value()?.parse_with(times::parse_unsigned)?),
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    let loopback = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (address, metadata_address) = (loopback(port), loopback(metadata_port));
    let config = Config { tls, address, metadata_address, settings, ..Config::default() };
    Ok(Some(Options { config, dir, bound }))
}

/// Whom the demonstration's subject token speaks for.
const DEMO_SUBJECT: &str = "repo:owner/name:ref:refs/heads/main";

/// Makes keys, accounts and profiles. Returns an account that the others may impersonate.
fn prepare(emulator: &Emulator, dir: &Path, tls: bool) -> io::Result<String> {
    let key = emulator.new_service_account_key();
    key.write(dir.join("key.json"))?;
    let (oauth, _) = emulator.new_oauth();
    write_private(&dir.join("oauth-token"), &format!("{oauth}\n"))?;
    emulator.attach(Some(&emulator.new_service_account()));
    let mut endpoint = format!("iam-url = \"{}\"\n", emulator.url());
    if tls {
        emulator.write_ca(dir.join("ca.pem"))?;
        endpoint += "ca-file = \"ca.pem\"\n";
    }
    let hosts = "hosts = [\"localhost:5000\"]\n";
    let (issuer, account) = (emulator.new_federation(Algorithm::Rs256), emulator.new_service_account());
    emulator.new_federated_credential(&issuer, &account, DEMO_SUBJECT);
    // As long as anybody tries things out.
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
    // For programs: one line, first, in this form.
    writeln!(out, "ready iam-url={url} auth-url={auth} metadata={metadata} dir={dir}")?;
    let curl = if tls { format!("curl --cacert {dir}/ca.pem") } else { "curl".to_owned() };
    writeln!(
        out,
        "
An emulated Yandex Cloud IAM answers at {url}, its auth host at {auth},
the metadata service of an emulated virtual machine at {metadata}.

In {dir} are
  demo.toml         a profile that uses the authorized key in key.json
  demo-oauth.toml   one that uses an OAuth token
  demo-vm.toml      one that uses the metadata service
  demo-login.toml   one that a person logs in to: ycred login --profile demo-login
  demo-workload.toml   one that exchanges the subject token of another issuer

In another terminal:
  export YCRED_CONFIG_DIR={dir}
  ycred token --profile demo
  ycred kubectl --profile demo
  echo localhost:5000 | ycred docker get --profile demo

To become another service account, add this to a profile:
  impersonate = \"{account}\"

What has it been asked?
  {curl} {url}/_emulator/log
Let the next two requests fail, then see what ycred makes of it:
  {curl} -X PUT -d '{{\"status\": 503, \"times\": 2, \"retry-after\": \"1\"}}' {url}/_emulator/faults
  ycred token --profile demo --force-refresh
All that can go wrong:
  {curl} {url}/_emulator

Ctrl-C ends it."
    )?;
    out.flush()
}

/// Shuts a directory to everybody else.
fn keep_private(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let _ = dir;
    Ok(())
}

/// Set when a signal asks the program to end, so that it ends in order and removes its directory.
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
            // Whoever started it, nohup for one, wants this signal ignored.
            // SAFETY: no handler is installed.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}

#[cfg(not(unix))]
fn stop_on_signals() {}
