//! Stories of a user that need nothing of one system. They use std alone, so that the same files run everywhere.
//!
//! * On this machine, also on macOS: `.ci/platforms native`.
//! * With the Windows program under Wine: `.ci/platforms windows`. `windows` has the stories that only that program can pass.
//! * On Windows itself: `cargo test --test portable`.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "these rules are for the product")]

mod clients;
mod concurrency;
mod harness;
mod hooks;
mod login;
mod setup;
mod token;
mod windows;
