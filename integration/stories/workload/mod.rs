//! Workload identity federation with every source of subject tokens. The emulator verifies each token.

mod environment;
mod github;
mod identity;
mod refused;
mod ways;
