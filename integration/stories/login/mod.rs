//! People who log in, by a script in the place of the browser.

mod browser;
mod logout;
mod renewal;
mod state;
mod together;
