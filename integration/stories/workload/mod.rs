//! Workload identity federation: every way of the subject token, from its first use to its refusal, against a cloud that
//! verifies it.

mod environment;
mod github;
mod identity;
mod refused;
mod ways;
