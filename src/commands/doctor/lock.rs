//! `lock`: locks that somebody holds for too long: ycred's own, and those beside the files of clients.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::clock::{human, millis};
use crate::cache::VERSION;
use crate::commands::check::{Check, Examination, Finding, LOCAL_LIMIT};
use crate::commands::clients::CLIENTS;
use crate::disk::lock::lock_holder;
use crate::disk::store;
use crate::system::{files, fixes};

pub const CHECK: Check = Check {
    id: "lock",
    about: "locks that were left behind, of ycred, kubectl, git and docker",
    parts: &["cache", "kubectl", "git", "docker"],
    limit: LOCAL_LIMIT,
    needs_network: false,
    run,
};

/// Programs hold the lock of a file for milliseconds. One that is there for longer was left behind.
const PATIENCE: Duration = Duration::from_millis(600);
const PAUSE: Duration = Duration::from_millis(50);

fn run(examination: &Examination) -> Vec<Finding> {
    let mut findings = held_too_long(examination);
    findings.extend(left_behind(examination));
    if findings.is_empty() {
        findings.push(Finding::ok("no lock was left behind"));
    }
    findings
}

/// Finds locks of the cache whose holder should have ended.
fn held_too_long(examination: &Examination) -> Vec<Finding> {
    let Ok(cache) = examination.places.cache.get() else { return Vec::new() };
    let directory = cache.join(VERSION);
    let now = examination.clock.now();
    let names = store::names(&directory).unwrap_or_default().into_iter().filter(|name| name.ends_with(store::LOCK));
    let late = names.filter_map(|name| lock_holder(&directory.join(name)).filter(|holder| holder.until < now));
    late.map(|holder| {
        let late = human(now.since(holder.until));
        let what = format!("{holder} has held a lock of the cache since {}, {late} too long", holder.since);
        let finding = Finding::warn(what).part("cache");
        if holder.is_elsewhere() { finding } else { finding.fix(fixes::end_process(holder.pid)) }
    })
    .collect()
}

/// Finds locks of clients that stay.
fn left_behind(examination: &Examination) -> Vec<Finding> {
    let locks: Vec<(&'static str, PathBuf)> = examination.with_session(|session| {
        CLIENTS.iter().flat_map(|client| (client.locks)(session).into_iter().map(|path| (client.name, path))).collect()
    });
    let identity = |path: &PathBuf| fs::symlink_metadata(path).ok().map(|metadata| files::identity(&metadata));
    let mut seen: Vec<_> = locks.into_iter().filter_map(|(name, path)| Some((name, identity(&path)?, path))).collect();
    let began = examination.clock.elapsed();
    while !seen.is_empty() && examination.clock.elapsed().saturating_sub(began) < PATIENCE {
        examination.clock.sleep(PAUSE);
        seen.retain(|(_, before, path)| identity(path) == Some(*before));
    }
    seen.into_iter()
        .map(|(name, _, path)| {
            let age = fs::symlink_metadata(&path).map_or(0, |metadata| {
                millis(Duration::ZERO).max(examination.clock.now().0 - files::modified_nanos(&metadata) / 1_000_000)
            });
            Finding::warn(format!(
                "{} is left behind ({} old), so {name} cannot change its file",
                path.display(),
                human(age)
            ))
            .part(name)
            .fix(fixes::remove(&path))
        })
        .collect()
}
