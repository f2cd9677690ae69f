//! x
use std::sync::Mutex;
static INPUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
/// x
#[expect(unsafe_code, reason = "x")]
#[unsafe(no_mangle)]
pub extern "C" fn input(length: usize) -> *mut u8 {
    let mut b = INPUT.lock().expect("one thread");
    b.clear();
    b.resize(length, 0);
    b.as_mut_ptr()
}
/// x
#[expect(unsafe_code, reason = "x")]
#[unsafe(no_mangle)]
pub extern "C" fn check() -> usize {
    let b = INPUT.lock().expect("one thread");
    let mut files = tabellion_evidence::bundle::Files::new();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(&b[..])).unwrap();
    for i in 0..zip.len() {
        let mut f = zip.by_index(i).unwrap();
        let mut v = Vec::new();
        std::io::Read::read_to_end(&mut f, &mut v).unwrap();
        files.insert(i.to_string(), v);
    }
    let c = tabellion_evidence::bundle::verify(&files, &tabellion_evidence::bundle::Trust::default());
    c.problems.len()
}
