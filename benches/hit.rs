//! Measures cache hits and misses: complete processes of the release build, compared with other programs.
//!
//! `cargo bench` runs the benchmark. `cargo bench -- --quick` only checks that it works. It prints medians, ratios and
//! numbers of system calls. It asserts nothing about time, because timings on a shared machine vary.
//! docs/performance.md has results and goals.
//!
//! * A hit is `ycred kubectl` with a cached record, which one request to the emulator has created. It is compared with
//!   `/bin/true`, and with `gke-gcloud-auth-plugin` and its own cache if that is installed.
//! * A miss is the same call with the record removed before each run. It is compared with `curl`, which sends the same
//!   request with a ready-made JWT to the same emulator over TLS. Both trust the root certificates of this machine and
//!   the emulator's.
//!
//! Each round runs every candidate once, and each round starts with a different one, so that other load on the machine
//! affects all of them equally. A ratio is the median of the ratios of the rounds, not the ratio of two medians.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "these rules apply to the product only, not to the benchmark"
)]

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
    match run(is_quick) {
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
    fixture.fetch_once(&hit)?;
    let crowded = fixture.crowded(1000)?;

    writeln!(out, "\nA hit, {rounds} rounds")?;
    let mut candidates = vec![
        Candidate::new("/bin/true", Program::of("/bin/true")),
        Candidate::new("ycred kubectl", hit.clone()),
        Candidate::new("ycred kubectl, among 1000 profiles and 1000 records", crowded),
        Candidate::new("ycred docker get", fixture.docker()?),
        Candidate::new("ycred token", fixture.ycred(&["token"])),
    ];
    match fixture.gke()? {
        Some(gke) => candidates.push(Candidate::new("gke-gcloud-auth-plugin, warm", gke)),
        None => writeln!(
            out,
            "gke-gcloud-auth-plugin: skipped, because it is not installed or does not use the prepared cache"
        )?,
    }
    measure(&mut candidates, rounds, |_| Ok(()))?;
    print_table(&mut out, &candidates)?;
    if let [_, ycred, .., gke] = &candidates[..]
        && gke.name.starts_with("gke")
    {
        writeln!(out, "ycred is {:.1} times as fast as gke-gcloud-auth-plugin", gke.ratio_to(ycred))?;
    }
    let requests = fixture.emulator.requests(TOKENS);
    if requests != 1 {
        return Err(format!("{requests} requests, expected 1: some runs were misses").into());
    }
    writeln!(out, "The emulator received one request, which filled the cache.")?;

    writeln!(out, "\nSystem calls of a hit")?;
    count_calls(&mut out, &fixture, &candidates)?;

    writeln!(out, "\nA miss over TLS, {misses} rounds")?;
    let Some(curls) = fixture.curls()? else {
        writeln!(out, "curl: skipped, because it is not installed")?;
        return Ok(());
    };
    let mut candidates: Vec<Candidate> = curls.into();
    candidates.push(Candidate::new("ycred kubectl, nothing cached", hit));
    measure(&mut candidates, misses, |candidate| {
        if candidate.name.starts_with("ycred") { fixture.remove_record() } else { Ok(()) }
    })?;
    print_table(&mut out, &candidates)?;
    for curl in &candidates[..candidates.len() - 1] {
        let more = median(candidates[candidates.len() - 1].differences_to(curl).collect()) * 1000.0;
        let comparison = if more > 0.0 { "more" } else { "less" };
        writeln!(out, "ycred takes {:.1} ms {comparison} than {}", more.abs(), curl.name)?;
    }
    let expected = 1 + candidates.len() * (misses + WARM_UP);
    if fixture.emulator.requests(TOKENS) != expected {
        return Err(format!("{} requests, expected {expected}", fixture.emulator.requests(TOKENS)).into());
    }
    Ok(())
}

// ------------------------------------------------------------------------------------------------------------- fixture

/// An emulator over TLS, and a directory with a home, profiles and a cache.
struct Fixture {
    root: tempfile::TempDir,
    emulator: Emulator,
}

const PROFILE: &str = "bench";

impl Fixture {
    fn new() -> Result<Fixture> {
        let root = tempfile::Builder::new().prefix("ycred-bench-").tempdir()?;
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
        Ok(fixture)
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    fn profile(&self) -> String {
        format!(
            "source = \"authorized-key\"\nkey-file = {}\nca-file = {}\niam-url = \"{}\"\n",
            json!(self.path("config/key.json")),
            json!(self.path("config/ca.pem")),
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
        ];
        program
    }

    /// Returns a call of the docker hook by its symlink.
    fn docker(&self) -> Result<Program> {
        let link = self.path("bin/docker-credential-ycred");
        std::os::unix::fs::symlink(YCRED, &link)?;
        let mut program = self.ycred(&["get"]);
        program.program = link;
        program.stdin = Some("cr.yandex".into());
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
        let output = self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
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

/// Prints the number of system calls of each candidate.
fn count_calls(out: &mut impl io::Write, fixture: &Fixture, candidates: &[Candidate]) -> Result<()> {
    let Some(strace) = find("strace") else {
        writeln!(out, "  skipped, because strace is not installed")?;
        return Ok(());
    };
    writeln!(out, "  {:<54} {:>9} {:>9} {:>9} {:>9}", "", "all", "own", "threads", "sockets")?;
    for candidate in candidates {
        let Some(calls) = trace(&strace, &fixture.path("trace"), &candidate.program)? else {
            writeln!(out, "  skipped, because strace cannot trace on this machine")?;
            return Ok(());
        };
        let is_call = |name: &'static str| move |call: &&String| call.starts_with(name);
        let first = calls.iter().position(|call| call.starts_with(FIRST));
        let last = calls.iter().rposition(|call| call.starts_with(LAST));
        let own = first.zip(last).map_or_else(|| "-".to_owned(), |(first, last)| (last + 1 - first).to_string());
        let threads = calls.iter().filter(is_call("clone")).count();
        let sockets = calls.iter().filter(is_call("socket(")).count();
        writeln!(out, "  {:<54} {:>9} {own:>9} {threads:>9} {sockets:>9}", candidate.name, calls.len())?;
    }
    writeln!(out, "  own: from {FIRST}) to the write of the reply, inclusive")?;
    Ok(())
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
