//! Which hosts a token goes to, by every hook and in both forms of its call, without network and without a profile.

mod foreign;
mod look_alikes;
mod ours;
