//! Stdin, stdout, stderr: the channels of a protocol, exact to the byte, closed, full, and fed with what does not belong there.

mod closed;
mod encoding;
mod injection;
mod replies;
mod stdin;
