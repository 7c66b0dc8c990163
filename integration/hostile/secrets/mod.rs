//! Secrets: none of them, nor any eight bytes of one, is anywhere but where it belongs, whatever goes wrong.

mod calls;
mod children;
mod eavesdropper;
mod escapes;
mod exposure;
mod login;
mod net;
mod process;
mod proxy;
mod stored;
