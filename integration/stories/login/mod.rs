//! Logins by people. A script takes the place of the browser.

mod browser;
mod clocks;
mod logout;
mod networks;
mod process;
mod renewal;
mod state;
mod table;
mod together;
mod upgrade;
