//! `clock`: this machine's clock against the cloud's.

use std::time::Duration;

use crate::base::clock::clock_off;
use crate::commands::check::{Check, Examination, Finding, NO_PROFILE};
use crate::commands::doctor::network;
use crate::system::fixes;

pub const CHECK: Check = Check {
    id: "clock",
    about: "this machine's clock against the cloud's",
    parts: &[],
    limit: Duration::from_secs(15),
    needs_network: true,
    run,
};

fn run(examination: &Examination) -> Vec<Finding> {
    if examination.profile().is_err() {
        return vec![Finding::skip(NO_PROFILE)];
    }
    let Some(connection) = examination.connection(|| network::connect(examination)) else {
        return vec![Finding::skip("the profile's source asks no server")];
    };
    vec![match connection.skew {
        Some(0) => Finding::ok("less than 30s from the server's clock"),
        Some(skew) => Finding::warn(clock_off(skew)).fix(fixes::SET_CLOCK),
        None => Finding::skip("no server has told its time"),
    }]
}
