//! Content packs, and bodies put together from frame and parts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tabellion_evidence::content;

fuzz_target!(|data: &[u8]| {
    if let Ok(parts) = content::parse_pack(data) {
        let mut again = Vec::new();
        for (hash, part, offset) in &parts {
            assert_eq!(&data[*offset..offset + part.len()], *part);
            assert_eq!(content::encode_part(&mut again, part), *hash);
        }
        assert_eq!(again, data);
    }
    // The frame up to the first 0xff; each 0xff begins a part.
    let mut pieces = data.split(|byte| *byte == 0xff);
    let frame = pieces.next().unwrap_or_default();
    let parts: Vec<&[u8]> = pieces.collect();
    if let Some(body) = content::assemble(frame, &parts) {
        let length = frame.len() - parts.len() + parts.iter().map(|part| part.len()).sum::<usize>();
        assert_eq!(body.len(), length);
    }
});
