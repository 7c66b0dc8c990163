//! Logins by people. A script takes the place of the browser.

mod browser;
mod logout;
mod process;
mod renewal;
mod state;
mod table;
mod together;
mod upgrade;
