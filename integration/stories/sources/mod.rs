//! Sources of tokens: what each takes, and what it says when it has none.

mod authorized_key;
mod command;
mod environment;
mod impersonate;
mod metadata;
mod oauth;
mod static_token;
