//! The fuzz target of every reader of foreign input; which one is in `FUZZ_READER`, by the name of its corpus, and without it
//! their names are printed. One binary, so that the product is instrumented and linked once; `fuzz/run` gives each its turn.
#![no_main]

mod readers;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static READER: LazyLock<readers::Reader> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_READER").unwrap_or_default();
    readers::all().into_iter().find(|reader| reader.name == name).expect("FUZZ_READER is the name of a reader")
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
