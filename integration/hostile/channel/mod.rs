//! Stdin, stdout and stderr: byte-exact replies, closed and full channels, and unexpected input.

mod closed;
mod encoding;
mod injection;
mod replies;
mod stdin;
