//! Disks that fail at any call, and foreign things in every place: the token is printed all the same.

mod failures;
mod full;
mod modes;
mod objects;
mod sweep;
