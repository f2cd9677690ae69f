//! Server-sent events, cut as they come, by the rules of the HTML standard (section 9.2.6), with two differences: an
//! event at the end of the stream is not thrown away for want of a blank line ([`Events::finish`]), because whoever
//! reads the stream leniently has seen it; and `id` and `retry` are passed over.

use std::fmt;

/// The most bytes of one event that are kept. A larger event is cut out of the record, and says so.
pub const EVENT_BYTES_MAX: usize = 32 << 20;

/// One event.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The `event` field.
    pub name: Option<String>,
    /// The `data` fields, joined by line feeds; what is not UTF-8 has become U+FFFD. Not redacted.
    pub data: String,
    /// Where the event began in the chunk just fed; `None` if in an earlier one.
    pub start: Option<usize>,
    /// One past its last byte in the chunk just fed.
    pub end: usize,
    /// The event was larger than [`EVENT_BYTES_MAX`]; `data` is empty.
    pub oversized: bool,
}

// What is said is not redacted yet, so neither of the two prints it.

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("bytes", &self.data.len())
            .field("start", &self.start)
            .field("end", &self.end)
            .field("oversized", &self.oversized)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("pending", &self.event.bytes).finish_non_exhaustive()
    }
}

/// Cuts a stream into events.
pub struct Events {
    limit: usize,
    /// The beginning of a line that an earlier chunk broke off.
    line: Vec<u8>,
    /// The last byte of the last chunk was a carriage return, so that a line feed now belongs to it.
    after_return: bool,
    /// No line has been read yet: the next may have a byte order mark.
    at_start: bool,
    event: Pending,
}

#[derive(Default)]
struct Pending {
    /// Bytes of it so far, kept or not.
    bytes: usize,
    name: Option<String>,
    data: Option<Vec<u8>>,
    start: Option<usize>,
}

impl Default for Events {
    fn default() -> Events {
        Events::new()
    }
}

impl Events {
    /// Starts at the beginning of a stream.
    pub fn new() -> Events {
        Events::with_limit(EVENT_BYTES_MAX)
    }

    fn with_limit(limit: usize) -> Events {
        Events { limit, line: Vec::new(), after_return: false, at_start: true, event: Pending::default() }
    }

    /// Takes the next bytes, cut anywhere, and gives the events that end in them.
    pub fn feed(&mut self, chunk: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        // What is pending began in an earlier chunk.
        self.event.start = None;
        let mut at = 0;
        if self.after_return && !chunk.is_empty() {
            self.after_return = false;
            at = usize::from(chunk[0] == b'\n');
        }
        while at < chunk.len() {
            let from = at;
            if self.event.bytes == 0 {
                self.event.start = Some(from);
            }
            let Some(length) = memchr::memchr2(b'\n', b'\r', &chunk[from..]) else {
                self.hold(&chunk[from..]);
                break;
            };
            let end = from + length;
            at = end + 1;
            if chunk[end] == b'\r' {
                match chunk.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_return = true,
                }
            }
            if self.event.bytes == 0 && length == 0 {
                // A blank line between events belongs to none.
                self.at_start = false;
                continue;
            }
            let blank = if self.line.is_empty() {
                self.event.bytes = self.event.bytes.saturating_add(at - from);
                let line = &chunk[from..end];
                self.read_line(line)
            } else {
                self.hold(&chunk[from..end]);
                let line = std::mem::take(&mut self.line);
                self.read_line(&line)
            };
            if blank {
                events.extend(self.dispatch(at));
            }
        }
        events
    }

    /// Ends the stream, and gives the event that no blank line has ended. Its offsets say nothing.
    pub fn finish(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.read_line(&line);
        }
        self.event.start = None;
        self.dispatch(0)
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.event.bytes = self.event.bytes.saturating_add(bytes.len());
        if self.event.bytes <= self.limit {
            self.line.extend_from_slice(bytes);
        } else {
            // Something must remain, so that the line's end is not taken for a blank line.
            self.line = vec![b':'];
            self.event.data = None;
        }
    }

    /// Reads a line without its end; says whether it is the blank one that ends an event.
    fn read_line(&mut self, line: &[u8]) -> bool {
        let line = match std::mem::take(&mut self.at_start) {
            true => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
            false => line,
        };
        if line.is_empty() {
            return true;
        }
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if self.event.bytes > self.limit {
            self.event.data = Some(Vec::new());
            return false;
        }
        match field {
            b"data" => match &mut self.event.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.event.data = Some(value.to_vec()),
            },
            b"event" => self.event.name = Some(String::from_utf8_lossy(value).into_owned()),
            _ => {}
        }
        false
    }

    fn dispatch(&mut self, end: usize) -> Option<Event> {
        let Pending { bytes, name, data, start } = std::mem::take(&mut self.event);
        let data = data?;
        let oversized = bytes > self.limit;
        let data = match String::from_utf8(data) {
            _ if oversized => String::new(),
            Ok(data) => data,
            Err(not) => String::from_utf8_lossy(not.as_bytes()).into_owned(),
        };
        Some(Event { name, data, start, end, oversized })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Name and data of each event of a stream that comes in these chunks, the unfinished one at the end included.
    fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<(Option<String>, String)> {
        let mut events = Events::new();
        let mut all: Vec<Event> = chunks.into_iter().flat_map(|chunk| events.feed(chunk)).collect();
        all.extend(events.finish());
        all.into_iter().map(|event| (event.name, event.data)).collect()
    }

    fn data(stream: impl AsRef<[u8]>) -> Vec<String> {
        read([stream.as_ref()]).into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn follows_the_standard() {
        for (stream, expected) in [
            ("data: a\n\ndata: b\n\n", &["a", "b"][..]),
            ("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
            ("data: a\r\rdata: b\r\r", &["a", "b"]),
            ("data: a\n\r\ndata: b\r\n\n", &["a", "b"]),
            ("\u{feff}data: a\n\n", &["a"]),
            ("\n\n\u{feff}data: a\n\n", &[]),
            ("data: \u{feff}a\n\n", &["\u{feff}a"]),
            (": comment\n\n:\ndata: a\n: more\n\n", &["a"]),
            ("data: a\ndata: b\ndata:\ndata\n\n", &["a\nb\n\n"]),
            ("data:a\n\ndata:  a\n\n", &["a", " a"]),
            ("data\n\n", &[""]),
            ("event: x\n\nid: 1\n\nretry: 5\n\n", &[]),
            ("Data: a\n\ndatax: a\n\n data: a\n\n", &[]),
            ("data: a\n", &["a"]),
            ("data: a", &["a"]),
            ("", &[]),
            ("\n", &[]),
            ("data: a:b\n\n", &["a:b"]),
        ] {
            assert_eq!(data(stream), expected, "{stream:?}");
        }
        let named = read([&b"event: one\nevent: two\ndata: a\n\ndata: b\n\n"[..]]);
        assert_eq!(named, [(Some("two".to_owned()), "a".to_owned()), (None, "b".to_owned())]);
        assert_eq!(
            data(b"data: a\xff\xc3\n\ndata: \xed\xa0\x80\n\n"),
            ["a\u{fffd}\u{fffd}", "\u{fffd}\u{fffd}\u{fffd}"]
        );
        assert_eq!(data(b"data: a\0b\n\n"), ["a\0b"]);
    }

    #[test]
    fn says_where_events_begin_and_end() {
        let mut events = Events::new();
        let spans = |events: Vec<Event>| events.iter().map(|event| (event.start, event.end)).collect::<Vec<_>>();
        //                                0         10          20
        assert_eq!(spans(events.feed(b"data: a\n\n\n: c\ndata: b\n\ndata")), [(Some(0), 9), (Some(10), 23)]);
        assert_eq!(spans(events.feed(b": c\n")), []);
        assert_eq!(spans(events.feed(b"\ndata: d\r\n\r")), [(None, 1), (Some(1), 11)]);
        assert_eq!(spans(events.feed(b"\ndata: e\n\n")), [(Some(1), 10)]);
        assert_eq!(spans(events.feed(b": only a comment\n\ndata: f\n\n")), [(Some(18), 27)]);
    }

    #[test]
    fn an_oversized_event_is_cut_out_and_says_so() {
        for size in [1, 7, 1000] {
            let mut events = Events::with_limit(100);
            let stream = format!("data: a\n\ndata: {0}\ndata: {0}\n\ndata: b\n\ndata: {0}", "x".repeat(200));
            let mut all: Vec<Event> = stream.as_bytes().chunks(size).flat_map(|chunk| events.feed(chunk)).collect();
            all.extend(events.finish());
            let seen: Vec<_> = all.iter().map(|event| (event.data.as_str(), event.oversized)).collect();
            assert_eq!(seen, [("a", false), ("", true), ("b", false), ("", true)], "{size}");
            assert!(events.line.capacity() <= 200);
        }
        // Many small lines are as large as one.
        let mut events = Events::with_limit(100);
        let all = events.feed("data: x\n".repeat(50).as_bytes());
        assert!(all.is_empty() && events.event.data.as_ref().is_none_or(|data| data.len() <= 100));
        assert!(events.feed(b"\n")[0].oversized);
    }

    #[test]
    fn an_event_is_not_printed() {
        let event = Events::new().feed(b"event: jane\ndata: jane\n\n").remove(0);
        assert_eq!(format!("{event:?}"), "Event { bytes: 4, start: Some(0), end: 24, oversized: false, .. }");
    }

    #[test]
    fn a_flood_of_events_takes_linear_time() {
        let stream = "data:\n\n".repeat(300_000);
        assert_eq!(data(&stream).len(), 300_000);
        let mut events = Events::new();
        let count: usize = stream.as_bytes().chunks(1).map(|byte| events.feed(byte).len()).sum();
        assert_eq!(count, 300_000);
        // A line that comes byte by byte is not read again with each.
        let line = "data: ".to_owned() + &"x".repeat(3_000_000);
        assert_eq!(read(line.as_bytes().chunks(1)).len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn chunks_do_not_matter(
            stream in "(\u{feff})?((data|event|id|x|)(:|: |)(é|a|\u{1f600}|)(\n|\r|\r\n)){0,12}(data: z)?",
            cuts in proptest::collection::vec(0usize..200, 0..8),
        ) {
            let bytes = stream.as_bytes();
            let whole = read([bytes]);
            prop_assert_eq!(&read(bytes.chunks(1)), &whole);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut from = 0;
            let mut chunks = Vec::new();
            for cut in cuts.into_iter().chain([bytes.len()]) {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(&read(chunks), &whole);
        }

        #[test]
        fn any_bytes_are_taken(stream in proptest::collection::vec(any::<u8>(), 0..300), size in 1usize..20) {
            prop_assert_eq!(read(stream.chunks(size)), read([&stream[..]]));
            let mut events = Events::new();
            for chunk in stream.chunks(size) {
                let mut from = 0;
                for event in events.feed(chunk) {
                    prop_assert!(event.start.unwrap_or(0) >= from && event.start.unwrap_or(0) < event.end);
                    from = event.end;
                    prop_assert!(event.end <= chunk.len());
                }
            }
        }
    }
}
