//! Searches for leaked secrets: no fragment of eight bytes may be outside the places for secrets, even if something
//! fails.

mod calls;
mod children;
mod echoing_cloud;
mod escapes;
mod exposure;
mod fragments;
mod login;
mod misplaced;
mod process;
mod proxy;
mod stored;
