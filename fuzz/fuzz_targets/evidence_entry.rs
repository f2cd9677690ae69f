//! Entries and manifests. What is read can be written and reads the same; what is read fast, the other reader reads, and
//! the same; and no order of entries makes the folds of their sessions and of custody panic, nor differ once written down.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tabellion_evidence::audit::Facts;
use tabellion_evidence::custody::{self, State, Statement};
use tabellion_evidence::entry::{Entry, EntryError, Manifest};
use tabellion_evidence::scan;
use tabellion_evidence::sessions::{Rules, Said, Sessions};

fuzz_target!(|data: &[u8]| {
    if let Some((facts, has_body)) = scan::facts(data) {
        let entry = Entry::parse(data).expect("what is read fast is an entry");
        assert_eq!(facts, Facts::of(&entry));
        assert_eq!(has_body, entry.content.is_some_and(|content| content.omitted.is_none()));
    }
    let mut sessions = Sessions::new(Rules { quiet_max: Some(1_000_000), listed_max: 10, ..Rules::default() });
    let entries = data.split(|byte| *byte == b'\n').filter_map(|line| Entry::parse(line).ok());
    let mut custody = State::new("log.example/fuzz");
    for (index, entry) in (0..).zip(entries) {
        if let Some(said) = custody::Said::of(&entry) {
            custody.take(index, &said, &mut |wrong| assert_eq!(wrong.entry, index));
        }
        sessions.take(index, &Said::of(&entry), &mut |wrong| assert_eq!(wrong.entry(), index));
    }
    sessions.finish(&mut |_| {});
    let text = serde_json::to_string(&custody).expect("a state can be written down");
    assert_eq!(serde_json::from_str::<State>(&text).expect("and taken up again"), custody);
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(statement) = Statement::parse(text)
    {
        assert_eq!(statement.to_string(), text);
    }
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
