//! What an examiner receives: whatever the files of a bundle say, they are refused or checked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tabellion_evidence::bundle::{self, Files, Trust};

fuzz_target!(|data: &[u8]| {
    let names = [
        bundle::CONTENTS.to_owned(),
        bundle::MANIFEST.to_owned(),
        bundle::TAG_MANIFEST.to_owned(),
        bundle::VKEY.to_owned(),
        bundle::CHECKPOINT.to_owned(),
        bundle::entry_path(0),
        bundle::proof_path(0),
        bundle::receipt_path(0),
        bundle::POLICY.to_owned(),
        bundle::older_path(1),
        bundle::tree_path(1),
        bundle::anchor_path("1.tsr"),
        bundle::anchor_path("1.ots"),
        bundle::ROOTS.to_owned(),
        bundle::COMPLETENESS.to_owned(),
        bundle::CUSTODY.to_owned(),
        bundle::GRAPH.to_owned(),
        bundle::EXPORT_ENTRY.to_owned(),
        bundle::EXPORT_PROOF.to_owned(),
        bundle::EXPORT_CONSISTENCY.to_owned(),
    ];
    // No UTF-8 text has this byte.
    let files: Files = names.into_iter().zip(data.split(|&byte| byte == 0xff).map(<[u8]>::to_vec)).collect();
    // Nobody signs by accident, and so nothing is ever proved.
    assert!(!bundle::verify(&files, &Trust::default()).problems.is_empty());
});
