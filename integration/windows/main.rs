//! Stories of the Windows program. On Linux they run under Wine: `.ci/platforms windows`.
//!
//! They use std alone, so that the same file runs on Windows itself, where cargo has built the program.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "these rules are for the product")]

mod concurrency;
mod harness;
mod hooks;
mod login;
mod names;
mod private;
mod programs;
mod setup;
mod token;
