//! `exec --serve`: a child that finds a valid token, and keys, as long as it runs.

mod child;
mod endpoints;
mod renewal;
mod served;
