//! Stories that only the Windows program can pass.

mod directories;
mod links;
mod names;
mod private;
mod programs;
