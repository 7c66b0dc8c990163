//! Measures cache hits and misses: complete processes of the release build, compared with other programs.
//!
//! `cargo bench` runs the benchmark. `cargo bench -- --quick` only checks that it works, and `--growth` selects the last
//! section. It prints medians, ratios and numbers of system calls, instructions and page faults. It fails if instructions or
//! system calls exceed the budget, because these are exact. It asserts nothing about time and page faults, which vary with
//! the machine.
//! docs/performance.md has results and goals.
//!
//! * A hit is `ycred kubectl` with a cached record, which one request to the emulator has created. The build that cargo
//!   makes is compared with `/bin/true`, and with programs for the same purpose and their own warm caches, as far as they
//!   are installed: `gke-gcloud-auth-plugin`, `docker-credential-ecr-login`, and git's `credential-cache` with its daemon.
//! * `YCRED_BENCH_STATIC` names the static build, which ships. The budget is for that one.
//! * A miss is the same call with the record removed before each run. It is compared with `curl`, which sends the same
//!   request with a ready-made JWT to the same emulator over TLS. Both trust the root certificates of this machine and
//!   the emulator's.
//! * Misses and `logout --all` with 100,000 other identities in the cache are compared with the same calls with one.
//!
//! Each round runs every candidate once, and each round starts with a different one, so that other load on the machine
//! affects all of them equally. A ratio is the median of the ratios of the rounds, not the ratio of two medians.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "these rules apply to the product only, not to the benchmark"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use ycred_emulator::{Config, Emulator, TOKENS, Tls};

const YCRED: &str = env!("CARGO_BIN_EXE_ycred");

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    // Ignores all other arguments. Cargo adds `--bench`.
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let is_growth_only = std::env::args().any(|argument| argument == "--growth");
    let outcome = if is_growth_only { Ok(()) } else { run(is_quick) };
    match outcome.and_then(|()| growth(is_quick)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(is_quick: bool) -> Result<()> {
    let (rounds, misses) = if is_quick { (5, 3) } else { (1000, 100) };
    let fixture = Fixture::new()?;
    let mut out = io::stdout().lock();

    let hit = fixture.ycred(&["kubectl"]);
    let tls = fixture.over_tls(hit.clone());
    fixture.fetch_once(&fixture.with_roots(hit.clone()))?;
    fixture.fetch_once(&tls)?;
    let crowded = fixture.crowded(1000)?;

    writeln!(out, "\nA hit, {rounds} rounds")?;
    let mut candidates = vec![
        Candidate::new("/bin/true", Program::of("/bin/true")),
        Candidate::new("ycred kubectl", hit.clone()),
        Candidate::new("ycred kubectl, among 1000 profiles and 1000 records", crowded),
        Candidate::new("ycred docker get", fixture.docker(Path::new(YCRED), "docker-credential-ycred")?),
        Candidate::new("ycred token", fixture.ycred(&["token"])),
        Candidate::new("ycred status --short", fixture.ycred(&["status", "--short"])),
    ];
    let shipped = std::env::var_os("YCRED_BENCH_STATIC").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = &shipped {
        let program = |arguments: &[&str]| Program { program: path.clone(), ..fixture.ycred(arguments) };
        candidates.push(Candidate::new("static ycred kubectl", program(&["kubectl"])));
        candidates.push(Candidate::new("static ycred status --short", program(&["status", "--short"])));
        candidates
            .push(Candidate::new("static ycred docker get", fixture.docker(path, "docker-credential-ycred-bench")?));
        candidates
            .push(Candidate::new("static ycred kubectl, through an alias", fixture.aliased(program(&["kubectl"]))?));
        candidates
            .push(Candidate::new("static ycred kubectl, with a ca-file", fixture.over_tls(program(&["kubectl"]))));
    } else {
        writeln!(out, "static build: skipped, because YCRED_BENCH_STATIC does not name one")?;
    }
    let daemon = fixture.git_daemon()?;
    let others = [
        ("gke-gcloud-auth-plugin, warm", fixture.gke()?),
        ("docker-credential-ecr-login, warm", fixture.ecr()?),
        ("git credential-cache, daemon running", daemon.as_ref().map(|daemon| daemon.get.clone())),
    ];
    for (name, program) in others {
        match program {
            Some(program) => candidates.push(Candidate::new(name, program)),
            None => {
                writeln!(out, "{name}: skipped, because it is not installed or does not use the prepared cache")?;
            }
        }
    }
    measure(&mut candidates, rounds, |_| Ok(()))?;
    print_table(&mut out, &candidates)?;
    let fastest =
        candidates.iter().find(|candidate| candidate.name == "static ycred kubectl").unwrap_or(&candidates[1]);
    for other in candidates.iter().filter(|candidate| !candidate.name.contains("ycred")) {
        writeln!(out, "{} is {:.2} times as fast as {}", fastest.name, other.ratio_to(fastest), other.name)?;
    }
    let requests = fixture.emulator.requests(TOKENS);
    if requests != 2 {
        return Err(format!("{requests} requests, expected 2: some runs were misses").into());
    }
    writeln!(out, "The emulator received two requests, which filled the cache for two profiles.")?;

    writeln!(out, "\nSystem calls, instructions and page faults of a hit")?;
    let excess = count(&mut out, &fixture, &candidates)?;
    if !excess.is_empty() {
        return Err(format!("over the budget: {}", excess.join(", ")).into());
    }

    writeln!(out, "\nA miss over TLS, {misses} rounds")?;
    let Some(curls) = fixture.curls()? else {
        writeln!(out, "curl: skipped, because it is not installed")?;
        return Ok(());
    };
    let mut candidates: Vec<Candidate> = curls.into();
    candidates.push(Candidate::new("ycred kubectl, nothing cached", tls));
    measure(&mut candidates, misses, |candidate| {
        if candidate.name.starts_with("ycred") { fixture.remove_record() } else { Ok(()) }
    })?;
    print_table(&mut out, &candidates)?;
    for curl in &candidates[..candidates.len() - 1] {
        let more = median(candidates[candidates.len() - 1].differences_to(curl).collect()) * 1000.0;
        let comparison = if more > 0.0 { "more" } else { "less" };
        writeln!(out, "ycred takes {:.1} ms {comparison} than {}", more.abs(), curl.name)?;
    }
    let expected = 2 + candidates.len() * (misses + WARM_UP);
    if fixture.emulator.requests(TOKENS) != expected {
        return Err(format!("{} requests, expected {expected}", fixture.emulator.requests(TOKENS)).into());
    }
    Ok(())
}

// -------------------------------------------------------------------------------------------------------------- growth

/// How many other identities the crowded cache has. Each has a record and a lock.
const IDENTITIES: usize = 100_000;
/// A file system allows at least this many names for one file.
const LINKS: usize = 10_000;

/// Compares misses and `logout --all` with many identities in the cache with the same calls with one.
fn growth(is_quick: bool) -> Result<()> {
    const SWEEPING: &str = "a miss among 100,000 other identities that sweeps";
    let (rounds, logouts) = if is_quick { (3, 1) } else { (100, 3) };
    let fixture = Fixture::new()?;
    let mut out = io::stdout().lock();
    let in_cache = |directory: &str, arguments: &[&str]| {
        let mut program = fixture.over_tls(fixture.ycred(arguments));
        let caches = program.environment.iter_mut().filter(|(name, _)| name == "YCRED_CACHE_DIR");
        caches.for_each(|(_, value)| *value = fixture.path(directory).into());
        program
    };
    let (alone, crowded) = (in_cache("cache", &["kubectl"]), in_cache("crowd", &["kubectl"]));
    fixture.fetch_once(&alone)?;
    fixture.fetch_once(&crowded)?;
    let (directory, crowd) = (fixture.path("cache/v1"), fixture.path("crowd/v1"));
    let is_record = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let mut paths = fs::read_dir(&directory)?.flatten().map(|entry| entry.path());
    let record = paths.find(is_record).ok_or("no record")?;
    let name = record.file_name().ok_or("no name")?.to_owned();
    let other = expired(&fs::read_to_string(&record)?)?;
    add_identities(&crowd, &other)?;

    writeln!(out, "\nA miss, {rounds} rounds")?;
    let mut candidates = [
        Candidate::new("a miss with one identity", alone.clone()),
        Candidate::new("a miss among 100,000 other identities", crowded.clone()),
        Candidate::new(SWEEPING, crowded.clone()),
    ];
    measure(&mut candidates, rounds, |candidate| {
        let directory = if candidate.name.contains("among") { &crowd } else { &directory };
        fs::remove_file(directory.join(&name))?;
        let tag = directory.join("CACHEDIR.TAG");
        // A sweep runs if the last one, whose time the tag has, was long ago.
        let last = if candidate.name == SWEEPING { SystemTime::now() - A_DAY } else { SystemTime::now() };
        Ok(fs::File::options().write(true).open(tag)?.set_modified(last)?)
    })?;
    print_table(&mut out, &candidates)?;
    for candidate in &candidates[1..] {
        let more = median(candidate.differences_to(&candidates[0]).collect()) * 1000.0;
        writeln!(out, "{} takes {more:.1} ms more than with one; the goal is less than 50 ms", candidate.name)?;
    }

    writeln!(out, "\nlogout --all, {logouts} rounds")?;
    let logout = |directory: &str, limit: &str| -> Result<f64> {
        let arguments = ["logout", "--all", "--timeout", limit];
        let start = Instant::now();
        let status = in_cache(directory, &arguments).command().status()?;
        let took = start.elapsed();
        match status.code() {
            // 4 if the time limit was reached.
            Some(0 | 4) => Ok(took.as_secs_f64()),
            _ => Err(format!("logout --all: {status} after {took:?}").into()),
        }
    };
    let (mut with_one, mut with_many, mut limited) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..logouts {
        fixture.fetch_once(&alone)?;
        with_one.push(logout("cache", "60s")?);
        for (times, limit) in [(&mut with_many, "60s"), (&mut limited, "1s")] {
            fixture.fetch_once(&crowded)?;
            add_identities(&crowd, &other)?;
            times.push(logout("crowd", limit)?);
        }
    }
    let (one, many) = (median(with_one), median(with_many));
    writeln!(out, "with one identity: {:.1} ms", one * 1000.0)?;
    writeln!(out, "among 100,000 other identities: {many:.2} s, {:.0} times; the goal is less than 10 s", many / one)?;
    writeln!(out, "the same with --timeout 1s: ends after {:.2} s", median(limited))?;
    Ok(())
}

const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// Returns a record of another identity, whose token has expired a day ago.
fn expired(record: &str) -> Result<String> {
    fn shift(value: &mut Value) {
        let Value::Object(fields) = value else { return };
        for (name, value) in fields {
            match value.as_i64() {
                Some(time) if ["began", "ended", "issued", "expires", "fetched"].contains(&name.as_str()) => {
                    *value = (time - 2 * A_DAY.as_millis() as i64).into();
                }
                _ => shift(value),
            }
        }
    }
    let mut record: Value = serde_json::from_str(record)?;
    shift(&mut record);
    record["settings"] = "of another identity".into();
    Ok(record.to_string())
}

/// Adds the record and the lock of each other identity, unless they are there. They are old, so a sweep removes them.
fn add_identities(directory: &Path, record: &str) -> Result<()> {
    for (extension, content) in [("json", record), ("lock", "")] {
        let mut first = PathBuf::new();
        for number in 0..IDENTITIES {
            let path = directory.join(format!("{:032x}.{extension}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
            if number % LINKS == 0 {
                fs::write(&path, content)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
                fs::File::options().write(true).open(&path)?.set_modified(SystemTime::now() - 2 * A_DAY)?;
                first = path;
            } else if let Err(error) = fs::hard_link(&first, &path)
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(error.into());
            }
        }
    }
    Ok(())
}

// ------------------------------------------------------------------------------------------------------------- fixture

/// An emulator over TLS, and a directory with a home, profiles and a cache.
struct Fixture {
    root: tempfile::TempDir,
    emulator: Emulator,
}

/// The profile of a hit, which has a key file and no more.
const PROFILE: &str = "bench";
/// The same with the emulator's authority as its `ca-file`, which a miss needs.
const TLS_PROFILE: &str = "bench-tls";

impl Fixture {
    fn new() -> Result<Fixture> {
        // Not a random name: ycred looks longer at a path in which a part begins like a secret.
        let name = format!("ycred-bench-{}", std::process::id());
        let root = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir()?;
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700))?;
        let emulator = Emulator::try_start(Config::with_tls(Tls::Good))?;
        let key = emulator.new_service_account_key();
        for directory in ["config", "home/.kube", "bin"] {
            fs::create_dir_all(root.path().join(directory))?;
        }
        key.write(root.path().join("config/key.json"))?;
        emulator.write_ca(root.path().join("config/ca.pem"))?;
        let fixture = Fixture { root, emulator };
        fs::write(fixture.path("config/bench.toml"), fixture.profile())?;
        let ca_file = format!("ca-file = {}\n", json!(fixture.path("config/ca.pem")));
        fs::write(fixture.path("config/bench-tls.toml"), fixture.profile() + &ca_file)?;
        Ok(fixture)
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    fn profile(&self) -> String {
        format!(
            "source = \"authorized-key\"\nkey-file = {}\niam-url = \"{}\"\n",
            json!(self.path("config/key.json")),
            self.emulator.url()
        )
    }

    /// Returns a call of the binary as a client would run it: with few variables, one of which selects the profile.
    fn ycred(&self, arguments: &[&str]) -> Program {
        let mut program = Program::of(YCRED);
        program.arguments = arguments.iter().map(OsString::from).collect();
        program.environment = vec![
            ("HOME".into(), self.path("home").into()),
            ("YCRED_CONFIG_DIR".into(), self.path("config").into()),
            ("YCRED_CACHE_DIR".into(), self.path("cache").into()),
            ("YCRED_PROFILE".into(), PROFILE.into()),
            // With PATH, six variables.
            ("LANG".into(), "C.UTF-8".into()),
        ];
        program
    }

    /// Returns the call with the profile that can make a request.
    fn over_tls(&self, mut program: Program) -> Program {
        program.environment.retain(|(name, _)| name != "YCRED_PROFILE");
        program.environment.push(("YCRED_PROFILE".into(), TLS_PROFILE.into()));
        program
    }

    /// Returns the call with the emulator's authority in a variable, for a request of the other profile.
    fn with_roots(&self, mut program: Program) -> Program {
        program.environment.push(("SSL_CERT_FILE".into(), self.path("config/ca.pem").into()));
        program
    }

    /// Returns a call of the docker hook by a symlink.
    fn docker(&self, binary: &Path, name: &str) -> Result<Program> {
        let link = self.path("bin").join(name);
        std::os::unix::fs::symlink(binary, &link)?;
        let mut program = self.ycred(&["get"]);
        program.program = link;
        program.stdin = Some("cr.yandex".into());
        Ok(program)
    }

    /// Returns the call with an alias as its profile, as after `ycred use`.
    fn aliased(&self, mut program: Program) -> Result<Program> {
        fs::write(self.path("config/default.toml"), format!("use = \"{PROFILE}\"\n"))?;
        program.environment.retain(|(name, _)| name != "YCRED_PROFILE");
        Ok(program)
    }

    /// Fills the cache with one request.
    fn fetch_once(&self, hit: &Program) -> Result<()> {
        let output = hit.output()?;
        let reply: Value = serde_json::from_str(&output)?;
        match reply["status"]["token"].as_str() {
            Some(_) => Ok(()),
            None => Err(format!("no token in {output}").into()),
        }
    }

    /// Returns a call with this many additional profiles and cache records.
    ///
    /// The records are copies under other names, because only their number could affect the time.
    fn crowded(&self, number: usize) -> Result<Program> {
        let (config, cache) = (self.path("crowd/config"), self.path("crowd/cache/v1"));
        fs::create_dir_all(&config)?;
        fs::create_dir_all(&cache)?;
        fs::write(config.join("bench.toml"), self.profile())?;
        let mut record = String::new();
        for entry in fs::read_dir(self.path("cache/v1"))? {
            let entry = entry?;
            // The other entry is the directory in which records are written.
            if !entry.file_type()?.is_file() {
                continue;
            }
            fs::copy(entry.path(), cache.join(entry.file_name()))?;
            if entry.path().extension().is_some_and(|extension| extension == "json") {
                record = fs::read_to_string(entry.path())?;
            }
        }
        for index in 0..number {
            fs::write(config.join(format!("bench-{index}.toml")), self.profile())?;
            let path = cache.join(format!("{index:032x}.json"));
            fs::write(&path, &record)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        }
        let mut program = self.ycred(&["kubectl"]);
        for (name, value) in &mut program.environment {
            match name.to_str() {
                Some("YCRED_CONFIG_DIR") => *value = config.clone().into(),
                Some("YCRED_CACHE_DIR") => *value = self.path("crowd/cache").into(),
                _ => {}
            }
        }
        Ok(program)
    }

    /// Returns a call of Google's plugin with a token in its own cache: a file in its format next to the kubeconfig.
    fn gke(&self) -> Result<Option<Program>> {
        let Some(path) = find("gke-gcloud-auth-plugin") else { return Ok(None) };
        fs::write(
            self.path("home/.kube/config"),
            "apiVersion: v1\nkind: Config\ncurrent-context: bench\nclusters:\n- name: bench\n  cluster: {server: \"https://localhost:1\"}\n\
             contexts:\n- name: bench\n  context: {cluster: bench, user: bench}\nusers:\n- name: bench\n  user: {}\n",
        )?;
        let cached = json!({"current_context": "bench", "access_token": "ya29.bench", "token_expiry": "2099-01-01T00:00:00Z", "extra_args": ""});
        fs::write(self.path("home/.kube/gke_gcloud_auth_plugin_cache"), cached.to_string())?;
        let mut program = Program::of(path);
        program.environment = vec![("HOME".into(), self.path("home").into())];
        Ok(program.output().ok().filter(|output| output.contains("ya29.bench")).map(|_| program))
    }

    /// Returns a call of Amazon's helper with a token in its own cache, which it finds by the access key and the region.
    fn ecr(&self) -> Result<Option<Program>> {
        let Some(path) = find("docker-credential-ecr-login") else { return Ok(None) };
        fs::create_dir_all(self.path("home/.ecr"))?;
        // The prefix of the cache's keys: the access key, then the MD5 digest of nothing, in base64.
        let mut digest = b"AKIABENCH".to_vec();
        digest.extend([0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04, 0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8, 0x42, 0x7e]);
        let prefix = base64(&digest);
        let host = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
        let entry = json!({"AuthorizationToken": base64(b"AWS:bench"), "RequestedAt": "2026-01-01T00:00:00Z",
            "ExpiresAt": "2099-01-01T00:00:00Z", "ProxyEndpoint": format!("https://{host}"), "Service": "ecr"});
        let key = format!("us-east-1-{prefix}-123456789012");
        let cache = json!({"Version": "1.0", "Registries": {key: entry}});
        fs::write(self.path("home/.ecr/cache.json"), cache.to_string())?;
        let mut program = Program::of(path);
        program.arguments = vec!["get".into()];
        program.environment = vec![
            ("HOME".into(), self.path("home").into()),
            ("AWS_ACCESS_KEY_ID".into(), "AKIABENCH".into()),
            ("AWS_SECRET_ACCESS_KEY".into(), "bench".into()),
            ("AWS_REGION".into(), "us-east-1".into()),
            // Without its cache it would ask this machine's metadata service and Amazon.
            ("AWS_EC2_METADATA_DISABLED".into(), "true".into()),
            ("HTTPS_PROXY".into(), "http://127.0.0.1:1".into()),
        ];
        program.stdin = Some(host.into());
        Ok(program.output().ok().filter(|output| output.contains("bench")).map(|_| program))
    }

    /// Starts git's credential daemon with a password for a host.
    fn git_daemon(&self) -> Result<Option<GitDaemon>> {
        let Some(path) = find("git") else { return Ok(None) };
        let directory = self.path("git");
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        let call = |operation: &str, stdin: &str| {
            let mut program = Program::of(&path);
            let socket = format!("--socket={}", directory.join("socket").display());
            program.arguments = vec!["credential-cache".into(), socket.into(), operation.into()];
            program.environment = vec![("HOME".into(), self.path("home").into())];
            program.stdin = Some(stdin.into());
            program
        };
        let host = "protocol=https\nhost=cr.yandex\n";
        // The daemon keeps this call's streams open, so its output must not be waited for.
        call("store", &format!("{host}username=iam\npassword=bench\n")).time()?;
        let daemon = GitDaemon { get: call("get", host), exit: call("exit", "") };
        Ok(daemon.get.output().ok().filter(|output| output.contains("password=bench")).map(|_| daemon))
    }

    /// Returns two calls of curl with the request that ycred sends: with the root certificates that ycred loads, and
    /// with only the emulator's.
    fn curls(&self) -> Result<Option<[Candidate; 2]>> {
        let Some(path) = find("curl") else { return Ok(None) };
        let url = format!("{}{TOKENS}", self.emulator.url());
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let file: Value = serde_json::from_str(&fs::read_to_string(self.path("config/key.json"))?)?;
        let field = |name: &str| file[name].as_str().unwrap_or_default().to_owned();
        let claims = json!({"iss": field("service_account_id"), "aud": url, "iat": now, "exp": now + 3600});
        let key = ycred::base::secret::Secret::new(field("private_key"));
        let jwt = ycred::cloud::jwt::ps256(&claims, &field("id"), &key)?;
        let body = self.path("request.json");
        fs::write(&body, json!({"jwt": jwt.expose()}).to_string())?;
        let own = fs::read_to_string(self.path("config/ca.pem"))?;
        let system = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
        fs::write(self.path("all-roots.pem"), format!("{system}\n{own}"))?;
        let candidate = |name: &str, roots: &str| {
            let mut program = Program::of(&path);
            let options =
                ["--silent", "--show-error", "--fail", "--header", "content-type: application/json", "--data-binary"];
            program.arguments = options.iter().map(OsString::from).collect();
            program.arguments.push(format!("@{}", body.display()).into());
            program.arguments.extend(["--cacert".into(), self.path(roots).into(), url.clone().into()]);
            program.environment = vec![("HOME".into(), self.path("home").into())];
            Candidate::new(name, program)
        };
        Ok(Some([
            candidate("curl, this machine's roots and the emulator's", "all-roots.pem"),
            candidate("curl, the emulator's authority alone", "config/ca.pem"),
        ]))
    }

    /// Removes the record. The directory and the lock stay, as in a typical miss.
    fn remove_record(&self) -> Result<()> {
        for entry in fs::read_dir(self.path("cache/v1"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// A running `git credential-cache--daemon`, which ends with this value.
struct GitDaemon {
    get: Program,
    exit: Program,
}

impl Drop for GitDaemon {
    fn drop(&mut self) {
        let _ = self.exit.time();
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}

// ------------------------------------------------------------------------------------------------------------- programs

/// A program, its arguments and its environment.
#[derive(Clone)]
struct Program {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    stdin: Option<String>,
}

impl Program {
    fn of(program: impl Into<PathBuf>) -> Program {
        Program { program: program.into(), arguments: Vec::new(), environment: Vec::new(), stdin: None }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command.envs(self.environment.iter().cloned()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs the program and returns its stdout.
    fn output(&self) -> Result<String> {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.stdin.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn()?;
        if let (Some(content), Some(mut pipe)) = (&self.stdin, child.stdin.take()) {
            pipe.write_all(content.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout)?),
            false => Err(format!("{}: {}", self.program.display(), String::from_utf8_lossy(&output.stderr)).into()),
        }
    }

    /// Runs the program and returns the time from its start to its exit.
    fn time(&self) -> Result<Duration> {
        let mut command = self.command();
        if self.stdin.is_some() {
            command.stdin(Stdio::piped());
        }
        let start = Instant::now();
        let mut child = command.spawn()?;
        if let (Some(content), Some(mut pipe)) = (&self.stdin, child.stdin.take()) {
            pipe.write_all(content.as_bytes())?;
        }
        let status = child.wait()?;
        let took = start.elapsed();
        if status.success() { Ok(took) } else { Err(format!("{}: {status}", self.program.display()).into()) }
    }
}

/// A program to measure, and its times.
struct Candidate {
    name: String,
    program: Program,
    /// One for each round, in seconds.
    times: Vec<f64>,
}

impl Candidate {
    fn new(name: &str, program: Program) -> Candidate {
        Candidate { name: name.to_owned(), program, times: Vec::new() }
    }

    /// Returns the median of the ratios of the rounds.
    fn ratio_to(&self, other: &Candidate) -> f64 {
        median(self.times.iter().zip(&other.times).map(|(ours, theirs)| ours / theirs).collect())
    }

    /// Returns the differences of the rounds, in seconds.
    fn differences_to<'a>(&'a self, other: &'a Candidate) -> impl Iterator<Item = f64> + 'a {
        self.times.iter().zip(&other.times).map(|(ours, theirs)| ours - theirs)
    }
}

// ------------------------------------------------------------------------------------------------------------- measuring

const WARM_UP: usize = 3;

/// Measures all candidates. Calls `before` before each run.
fn measure(candidates: &mut [Candidate], rounds: usize, before: impl Fn(&Candidate) -> Result<()>) -> Result<()> {
    for round in 0..WARM_UP + rounds {
        let count = candidates.len();
        for turn in 0..count {
            let candidate = &mut candidates[(round + turn) % count];
            before(candidate)?;
            let took = candidate.program.time()?;
            if round >= WARM_UP {
                candidate.times.push(took.as_secs_f64());
            }
        }
    }
    Ok(())
}

/// Prints the times of all candidates. Ratios are relative to the first one.
fn print_table(out: &mut impl io::Write, candidates: &[Candidate]) -> Result<()> {
    writeln!(out, "  {:<54} {:>9} {:>9} {:>9}", "", "median", "fastest", "ratio")?;
    for candidate in candidates {
        let format_seconds = |seconds: f64| format_time(Duration::from_secs_f64(seconds));
        let fastest = candidate.times.iter().copied().fold(f64::INFINITY, f64::min);
        writeln!(
            out,
            "  {:<54} {:>9} {:>9} {:>9.2}",
            candidate.name,
            format_seconds(median(candidate.times.clone())),
            format_seconds(fastest),
            candidate.ratio_to(&candidates[0])
        )?;
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 0 => f64::midpoint(values[length / 2 - 1], values[length / 2]),
        length => values[length / 2],
    }
}

fn format_time(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}

// ----------------------------------------------------------------------------------------------------------- system calls

/// The first and the last system call of ycred's own code. The loader and Rust's runtime make those before and after.
const FIRST: &str = "prctl(PR_SET_DUMPABLE";
const LAST: &str = "write(1, ";

/// The instructions of `ycred kubectl` as a static binary, with six variables in its environment.
const INSTRUCTIONS: u64 = 120_000;

/// Returns how many system calls of its own a hit may make.
fn call_budget(name: &str) -> usize {
    let stdin = if name.contains("docker") { 3 } else { 0 };
    let alias = if name.contains("alias") { 4 } else { 0 };
    12 + stdin + alias
}

/// Prints the exact numbers of each candidate. Returns what exceeds the budget.
fn count(out: &mut impl io::Write, fixture: &Fixture, candidates: &[Candidate]) -> Result<Vec<String>> {
    let (strace, valgrind, perf) = (find("strace"), find("valgrind"), find("perf"));
    for (tool, path) in [("strace", &strace), ("valgrind", &valgrind), ("perf", &perf)] {
        if path.is_none() {
            writeln!(out, "  {tool} is not installed: its numbers are missing")?;
        }
    }
    let mut excess = Vec::new();
    // What was not counted is not within the budget.
    if candidates.iter().any(|candidate| candidate.name.starts_with("static ")) {
        let counting = [("strace", &strace), ("valgrind", &valgrind)];
        excess.extend(
            counting.iter().filter(|(_, path)| path.is_none()).map(|(tool, _)| format!("{tool} is not installed")),
        );
    }
    // Of `ycred kubectl`, for the line in prompts.
    let mut of_hit = BTreeMap::new();
    writeln!(
        out,
        "  {:<54} {:>7} {:>5} {:>7} {:>7} {:>12} {:>6}",
        "", "calls", "own", "threads", "sockets", "instructions", "faults"
    )?;
    let or_dash = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    for candidate in candidates {
        let (name, program) = (&candidate.name, &candidate.program);
        let calls = match &strace {
            Some(strace) => trace(strace, &fixture.path("trace"), program)?,
            None => None,
        };
        let calls = calls.as_deref();
        let starting_with =
            |start: &str| calls.map(|calls| calls.iter().filter(|call| call.starts_with(start)).count().to_string());
        let own = calls.and_then(|calls| {
            let first = calls.iter().position(|call| call.starts_with(FIRST))?;
            let last = calls.iter().rposition(|call| call.starts_with(LAST))?;
            Some(last + 1 - first)
        });
        let instructions = valgrind.as_ref().and_then(|valgrind| instructions(valgrind, program));
        let faults = perf.as_ref().and_then(|perf| page_faults(perf, program));
        writeln!(
            out,
            "  {name:<54} {:>7} {:>5} {:>7} {:>7} {:>12} {:>6}",
            or_dash(calls.map(|calls| calls.len().to_string())),
            or_dash(own.map(|own| own.to_string())),
            or_dash(starting_with("clone")),
            or_dash(starting_with("socket(")),
            or_dash(instructions.map(|number| number.to_string())),
            or_dash(faults.map(|number| number.to_string())),
        )?;
        if name.contains("ycred")
            && let Some(own) = own.filter(|own| *own > call_budget(name))
        {
            excess.push(format!("{name}: {own} system calls of its own, at most {}", call_budget(name)));
        }
        match name.strip_suffix("status --short") {
            None => _ = of_hit.insert(name.clone(), (own, instructions)),
            Some(build) => {
                excess.extend(excess_of_line(name, (own, instructions), of_hit.get(&format!("{build}kubectl"))))
            }
        }
        if name == "static ycred kubectl"
            && let Some(number) = instructions.filter(|number| *number > INSTRUCTIONS)
        {
            excess.push(format!("{name}: {number} instructions, at most {INSTRUCTIONS}"));
        }
    }
    writeln!(out, "  own: from {FIRST}) to the write of the reply, inclusive")?;
    Ok(excess)
}

/// Compares `status --short` with a hit of the same build: the same system calls, and at most a tenth more instructions.
fn excess_of_line(
    name: &str,
    (own, instructions): (Option<usize>, Option<u64>),
    hit: Option<&(Option<usize>, Option<u64>)>,
) -> Vec<String> {
    let Some((own_of_hit, instructions_of_hit)) = hit else { return vec![format!("{name}: no hit to compare with")] };
    let mut excess = Vec::new();
    if let (Some(own), Some(of_hit)) = (own, own_of_hit)
        && own > *of_hit
    {
        excess.push(format!("{name}: {own} system calls of its own, and a hit {of_hit}"));
    }
    if let (Some(number), Some(of_hit)) = (instructions, instructions_of_hit)
        && number * 10 > of_hit * 11
    {
        excess.push(format!("{name}: {number} instructions, and a hit {of_hit}"));
    }
    excess
}

/// Runs the program under another one, and returns what that one prints on stderr. `None` if it fails.
fn under(tool: &Path, options: &[&str], program: &Program) -> Option<String> {
    let options = options.iter().map(OsString::from).chain([program.program.clone().into_os_string()]);
    let whole = Program {
        program: tool.to_owned(),
        arguments: options.chain(program.arguments.iter().cloned()).collect(),
        ..program.clone()
    };
    let mut child = whole.command().stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()?;
    let mut pipe = child.stdin.take()?;
    pipe.write_all(program.stdin.as_deref().unwrap_or_default().as_bytes()).ok()?;
    drop(pipe);
    let output = child.wait_with_output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Counts the instructions of the program itself, without the kernel's. Callgrind counts exactly.
fn instructions(valgrind: &Path, program: &Program) -> Option<u64> {
    let printed = under(valgrind, &["--tool=callgrind", "--callgrind-out-file=/dev/null"], program)?;
    let number = printed.lines().find_map(|line| line.split_once("Collected :"))?.1;
    number.trim().parse().ok()
}

/// Counts page faults: the median of five runs, because they depend on what the kernel has in memory.
fn page_faults(perf: &Path, program: &Program) -> Option<u64> {
    let counts = (0..5).map(|_| {
        let printed = under(perf, &["stat", "-x,", "-e", "page-faults"], program)?;
        printed.lines().find(|line| line.contains("page-faults"))?.split(',').next()?.parse::<u64>().ok()
    });
    let mut counts = counts.collect::<Option<Vec<_>>>()?;
    counts.sort_unstable();
    counts.get(2).copied()
}

/// Returns the system calls of a run, or `None` if strace cannot trace here. A call that another thread interrupted
/// counts once.
fn trace(strace: &Path, file: &Path, program: &Program) -> Result<Option<Vec<String>>> {
    let traced = Program {
        program: strace.to_owned(),
        arguments: [OsString::from("-f"), "-o".into(), file.into(), program.program.clone().into()]
            .into_iter()
            .chain(program.arguments.iter().cloned())
            .collect(),
        ..program.clone()
    };
    if traced.time().is_err() {
        return Ok(None);
    }
    let text = fs::read_to_string(file)?;
    let calls = text.lines().filter_map(|line| {
        // `PID call(…) = …`. Skips `PID <... call resumed>` and `PID +++ exited +++`.
        let call = line.split_once(char::is_whitespace)?.1.trim_start();
        call.starts_with(|c: char| c.is_ascii_lowercase() || c == '_').then(|| call.to_owned())
    });
    Ok(Some(calls.collect()))
}
