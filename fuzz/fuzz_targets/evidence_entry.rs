//! Entries and manifests. What is read can be written and reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tabellion_evidence::entry::{Entry, EntryError, Manifest};

fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = Entry::parse(data) {
        match entry.to_bytes() {
            Ok(again) => assert_eq!(Entry::parse(&again), Ok(entry)),
            // A number or an escape that we write longer than it stood there.
            Err(error) => assert_eq!(error, EntryError::TooLong),
        }
    }
    if let Ok(manifest) = Manifest::parse(data) {
        assert_eq!(Manifest::parse(&manifest.to_bytes()), Ok(manifest));
    }
});
