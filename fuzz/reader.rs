//! The fuzz target for all parsers of untrusted input.
//!
//! `FUZZ_READER` selects a parser by the name of its corpus. Without it, the target prints their names. All parsers are
//! in one binary, so that ycred is built only once. `fuzz/run` fuzzes each in turn.
#![no_main]

mod readers;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static READER: LazyLock<readers::Reader> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_READER").unwrap_or_default();
    readers::all().into_iter().find(|reader| reader.name == name).expect("FUZZ_READER is not the name of a reader")
});

fuzz_target!(
    init: {
        if std::env::var_os("FUZZ_READER").is_none() {
            readers::all().iter().for_each(|reader| println!("{}", reader.name));
            std::process::exit(0);
        }
    },
    |input: &[u8]| READER.read(input)
);
