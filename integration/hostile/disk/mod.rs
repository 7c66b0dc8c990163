//! Disks that fail at any call, and wrong objects in place of cache files: ycred prints the token anyway.

mod failures;
mod full;
mod modes;
mod objects;
mod sweep;
