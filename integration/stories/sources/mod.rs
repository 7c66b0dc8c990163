//! Token sources: the inputs that each accepts, and its errors.

mod authorized_key;
mod command;
mod environment;
mod impersonate;
mod metadata;
mod oauth;
mod static_token;
