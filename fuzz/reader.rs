//! The fuzz target of every reader of foreign input; which one is in `FUZZ_READER`, by the name of its corpus. One binary,
//! so that the product is instrumented and linked once; `fuzz/run` gives each its turn.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ycred::readers::{READERS, Reader};

static READER: LazyLock<&Reader> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_READER").expect("FUZZ_READER names a reader");
    READERS.iter().find(|reader| reader.name == name).expect("FUZZ_READER is one of ycred::readers::READERS")
});

fuzz_target!(|input: &[u8]| (READER.read)(input));
