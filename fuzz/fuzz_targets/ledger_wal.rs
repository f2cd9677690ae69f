//! Segments of the write-ahead log, with checksums that are wrong and right.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tabellion_ledger::fuzz_wal(data));
