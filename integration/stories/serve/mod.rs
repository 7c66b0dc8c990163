//! `exec --serve`: a child that can get a valid token and access keys for as long as it runs.

mod alone;
mod child;
mod endpoints;
mod other_users;
mod renewal;
mod served;
