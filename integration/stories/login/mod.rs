//! Logins by people. A script takes the place of the browser.

mod browser;
mod logout;
mod renewal;
mod state;
mod together;
