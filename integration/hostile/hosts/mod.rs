//! Which hosts get a token from which hook, called as a subcommand and by symlink. Other hosts are declined without a
//! profile and without network.

mod accepted;
mod foreign;
mod look_alikes;
