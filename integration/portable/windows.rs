//! Stories that only the Windows program can pass.

mod directories;
mod links;
mod names;
mod paths;
mod private;
mod programs;
mod scoop;
mod terminal;
