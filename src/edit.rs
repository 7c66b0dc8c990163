//! Edits the configuration files of other programs, so that each edit can be undone to the byte.
//!
//! * An edit replaces a piece of text ([`splice`]); the rest of the file keeps every byte. Before anything is written, the
//!   old and the new text are parsed, and the trees must differ as planned and nowhere else.
//! * [`change`] makes an edit: it takes the locks, reads the file, plans, writes the journal, and writes the file.
//!   [`place`] plans the usual one, which sets a value.
//! * [`journal`] remembers what stood in each place, and [`undo`] puts it back.

pub mod change;
pub mod diff;
pub mod dry_run;
pub mod ini;
pub mod installed;
pub mod journal;
pub mod json;
pub mod lock;
pub mod place;
pub mod render;
pub mod splice;
pub mod target;
pub mod tree;
pub mod undo;
pub mod yaml;
