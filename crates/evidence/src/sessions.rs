//! Whether anything is missing: sessions, their numbers, and what they say of
//! each other. (`docs/format.md`, section *Sessions and numbers*.)
//!
//! [`Sessions`] is a fold over the entries of a log, in order. It keeps a few
//! words for each session and for each hole in its numbers, not for each
//! entry. What it finds has places and counts, never a byte of an entry.
//!
//! What it cannot see: whoever has the log's key can write a whole log anew,
//! with other numbers. That it is another log, only those can tell who hold a
//! checkpoint, a proof or a cosignature of the real one. And what came after
//! the newest entry, only the future shows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audit::Name;
use crate::entry::{Entry, Kind};

/// What an entry says of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The session and the number in it.
    pub number: Option<(Name, u64)>,
    /// When, in microseconds of POSIX time, if the entry's time can be read.
    pub time: Option<i64>,
    /// What it does to its session; nothing, as nearly all, when `None`.
    pub role: Option<Box<Role>>,
}

/// What an entry does to its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It begins it. A session with a key is one that writes the log.
    Start {
        /// The log's key.
        key: Option<Name>,
        /// The session before, and its last number.
        former: Option<(Name, u64)>,
    },
    /// It says that the session before had not been stopped.
    Recover {
        /// That session, and its last number.
        former: Option<(Name, u64)>,
    },
    /// It ends it.
    Stop,
    /// It says that it is still there.
    Heartbeat,
    /// It says what was not recorded.
    Gap {
        /// A fixed word.
        reason: String,
        /// How much.
        count: u64,
    },
}

/// The longest reason of a gap that is repeated.
const REASON_BYTES_MAX: usize = 32;

impl Said {
    /// What an entry says.
    pub fn of(entry: &Entry) -> Self {
        let number = || entry.producer.as_deref().map(Name::of).zip(entry.seq);
        let former = || entry.former.as_ref().map(|former| (Name::of(&former.producer), former.seq));
        let role = Some(match entry.kind {
            Kind::Start => Role::Start { key: entry.key.as_deref().map(Name::of), former: former() },
            Kind::Recover => Role::Recover { former: former() },
            Kind::Stop => Role::Stop,
            Kind::Heartbeat => Role::Heartbeat,
            Kind::Gap => {
                let gap = entry.gap.as_ref();
                let word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
                let fixed = |reason: &&String| reason.len() <= REASON_BYTES_MAX && reason.bytes().all(word);
                let reason = gap.map(|gap| &gap.reason).filter(fixed).map_or_else(|| "other".to_owned(), Clone::clone);
                Role::Gap { reason, count: gap.map_or(0, |gap| gap.count) }
            }
            _ => return Self { number: number(), time: micros(&entry.time), role: None },
        });
        Self { number: number(), time: micros(&entry.time), role: role.map(Box::new) }
    }
}

/// Something that is not as sessions are numbered. A session is named by the
/// position of its first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Numbering {
    /// Numbers are not there.
    #[error("numbers {first} to {last} of the session that begins at entry {session} are missing before entry {entry}")]
    Missing {
        /// The entry that shows it.
        entry: u64,
        /// The session.
        session: u64,
        /// The first number that is missing.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// A number is there twice.
    #[error(
        "entry {entry} has number {number} of the session that begins at entry {session}, which an earlier one has"
    )]
    Twice {
        /// The later entry.
        entry: u64,
        /// The session.
        session: u64,
        /// The number.
        number: u64,
    },
    /// Entries of a session are not in the order of their numbers.
    #[error(
        "entry {entry} has number {number} of the session that begins at entry {session}, and stands after a later one"
    )]
    Order {
        /// The entry that is too late.
        entry: u64,
        /// The session.
        session: u64,
        /// Its number.
        number: u64,
    },
    /// An entry without a number among those that have one.
    #[error("entry {entry} has no number, and entries before it have")]
    Unnumbered {
        /// The entry.
        entry: u64,
    },
    /// A session does not begin with its start, or starts twice.
    #[error("entry {entry} is the first of its session and not its start, or a second start")]
    Start {
        /// The entry.
        entry: u64,
    },
    /// A session goes on after its end.
    #[error("entry {entry} belongs to a session that entry {end} ended")]
    Ended {
        /// The entry.
        entry: u64,
        /// The stop, or the start of the next session.
        end: u64,
    },
    /// A session does not say which was before it.
    #[error("entry {entry} starts a session and does not name the one that begins at entry {session}, before it")]
    Unlinked {
        /// The start.
        entry: u64,
        /// The session before.
        session: u64,
    },
    /// The session before is not in the log.
    #[error("entry {entry} names a session before it that is not in the log, or not where it says")]
    FormerMissing {
        /// The start.
        entry: u64,
    },
    /// The session before has more entries than the next one knows of.
    #[error("entry {entry} says that the session before ended earlier than it does, which is with entry {last}")]
    FormerLonger {
        /// The start.
        entry: u64,
        /// The last entry of the session before.
        last: u64,
    },
    /// The session before was not stopped, and this one does not say so.
    #[error("the session before was not stopped, and entry {entry} stands where that should be said")]
    RecoverMissing {
        /// The second entry of the session.
        entry: u64,
    },
    /// What a `custody.recover` says is not so.
    #[error("entry {entry} says of the session before what is not so")]
    RecoverWrong {
        /// The entry.
        entry: u64,
    },
    /// A session says nothing for longer than allowed.
    #[error("nothing was recorded for {seconds} seconds before entry {entry}, within a session")]
    Quiet {
        /// The entry that ends the silence.
        entry: u64,
        /// How long it was.
        seconds: u64,
    },
    /// A session names another key than the one that signed the log.
    #[error("entry {entry} names another key than the one that the log is signed with")]
    Key {
        /// The start.
        entry: u64,
    },
}

impl Numbering {
    /// A short word for it, which stays what it is.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "number-missing",
            Self::Twice { .. } => "number-twice",
            Self::Order { .. } => "number-order",
            Self::Unnumbered { .. } => "unnumbered",
            Self::Start { .. } => "session-start",
            Self::Ended { .. } => "session-ended",
            Self::Unlinked { .. } => "session-unlinked",
            Self::FormerMissing { .. } => "session-missing",
            Self::FormerLonger { .. } => "session-longer",
            Self::RecoverMissing { .. } => "recover-missing",
            Self::RecoverWrong { .. } => "recover-wrong",
            Self::Quiet { .. } => "quiet",
            Self::Key { .. } => "key-announced",
        }
    }

    /// The entry that shows it.
    pub fn entry(&self) -> u64 {
        match *self {
            Self::Missing { entry, .. }
            | Self::Twice { entry, .. }
            | Self::Order { entry, .. }
            | Self::Unnumbered { entry }
            | Self::Start { entry }
            | Self::Ended { entry, .. }
            | Self::Unlinked { entry, .. }
            | Self::FormerMissing { entry }
            | Self::FormerLonger { entry, .. }
            | Self::RecoverMissing { entry }
            | Self::RecoverWrong { entry }
            | Self::Quiet { entry, .. }
            | Self::Key { entry } => entry,
        }
    }
}

/// A loss that the log declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredGap {
    /// The `custody.gap`.
    pub entry: u64,
    /// Why, as it says.
    pub reason: String,
    /// How many exchanges or answers it says were lost.
    pub count: u64,
}

/// What the sessions of a log come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completeness {
    /// How many sessions there are.
    pub sessions: u64,
    /// Entries that have a number.
    pub numbered: u64,
    /// Entries that have none.
    pub unnumbered: u64,
    /// Sessions that ended without a stop, as a later one says.
    pub recovered: u64,
    /// The first entries of sessions that have not ended.
    pub open: Vec<u64>,
    /// Heartbeats.
    pub heartbeats: u64,
    /// The declared losses, as far as they fit.
    pub gaps: Vec<DeclaredGap>,
    /// What all declared losses come to.
    pub lost: u64,
    /// The longest silence within a session, in seconds.
    pub quiet_seconds_max: u64,
    /// The entry that ended it.
    pub quiet_before: Option<u64>,
    /// The first entry that names the log's key.
    pub key_from: Option<u64>,
    /// The time of the newest entry, in POSIX seconds, by the log.
    pub newest: Option<i64>,
}

/// How the numbers are judged.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Only part of the log is read, so that sessions may begin before it.
    pub partial: bool,
    /// The longest silence within a session, in microseconds.
    pub quiet_max: Option<i64>,
    /// The key that the log is signed with.
    pub key: Option<Name>,
    /// So many declared losses are listed.
    pub listed_max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    first: u64,
    last: u64,
    next: u64,
    /// First number of a hole: the number after it, and the entry that showed it.
    holes: BTreeMap<u64, (u64, u64)>,
    /// It began with its start.
    started: bool,
    writes: bool,
    ended: Option<u64>,
    stopped: bool,
    former: Option<(Name, u64)>,
    former_stopped: bool,
    newest: Option<i64>,
}

/// The fold. It can be written down and taken up again; the rules are given anew.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sessions {
    #[serde(skip)]
    rules: Rules,
    sessions: BTreeMap<Name, Session>,
    /// The newest session that writes the log.
    writer: Option<Name>,
    found: Completeness,
    newest: Option<i64>,
}

impl Sessions {
    /// Nothing taken in yet.
    pub fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Goes on with what was taken in before.
    pub fn resume(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// Takes in the next entry, and hands over what is wrong with it.
    pub fn take(&mut self, entry: u64, said: &Said, wrong: &mut dyn FnMut(Numbering)) {
        self.newest = self.newest.max(said.time);
        let Some((name, number)) = said.number else {
            self.found.unnumbered += 1;
            if !self.sessions.is_empty() {
                wrong(Numbering::Unnumbered { entry });
            }
            return;
        };
        self.found.numbered += 1;
        match self.sessions.get(&name) {
            None => self.begin(entry, name, number, said, wrong),
            Some(session) => {
                if matches!(said.role.as_deref(), Some(Role::Start { .. })) {
                    wrong(Numbering::Start { entry });
                }
                if let Some(end) = session.ended {
                    wrong(Numbering::Ended { entry, end });
                }
            }
        }
        let session = self.sessions.get_mut(&name).expect("it has begun");
        session.count(entry, number, wrong);
        session.last = entry;
        match said.role.as_deref() {
            Some(Role::Recover { former }) => {
                let unseen = self.rules.partial && !session.started;
                if !unseen && *former != session.former {
                    wrong(Numbering::RecoverWrong { entry });
                }
                self.found.recovered += 1;
            }
            Some(Role::Stop) => {
                session.stopped = true;
                session.ended.get_or_insert(entry);
            }
            Some(Role::Heartbeat) => self.found.heartbeats += 1,
            Some(Role::Gap { reason, count }) => {
                self.found.lost = self.found.lost.saturating_add(*count);
                if self.found.gaps.len() < self.rules.listed_max {
                    self.found.gaps.push(DeclaredGap { entry, reason: reason.clone(), count: *count });
                }
            }
            Some(Role::Start { .. }) | None => {}
        }
        if number == 1
            && session.started
            && session.former.is_some()
            && !session.former_stopped
            && !matches!(said.role.as_deref(), Some(Role::Recover { .. }))
        {
            wrong(Numbering::RecoverMissing { entry });
        }
        if let (Some(before), Some(time)) = (session.newest, said.time) {
            let quiet = time.saturating_sub(before);
            let seconds = u64::try_from(quiet / 1_000_000).unwrap_or(0);
            if seconds > self.found.quiet_seconds_max {
                self.found.quiet_seconds_max = seconds;
                self.found.quiet_before = Some(entry);
            }
            if self.rules.quiet_max.is_some_and(|max| quiet > max) {
                wrong(Numbering::Quiet { entry, seconds });
            }
        }
        session.newest = session.newest.max(said.time);
    }

    /// The first entry of a session.
    fn begin(&mut self, entry: u64, name: Name, number: u64, said: &Said, wrong: &mut dyn FnMut(Numbering)) {
        let mut session = Session {
            first: entry,
            last: entry,
            next: 0,
            holes: BTreeMap::new(),
            started: false,
            writes: false,
            ended: None,
            stopped: false,
            former: None,
            former_stopped: true,
            newest: None,
        };
        match said.role.as_deref() {
            Some(Role::Start { key, former }) => {
                session.started = true;
                session.former = *former;
                if let Some(key) = key {
                    session.writes = true;
                    session.former_stopped = self.follow(entry, *former, wrong);
                    self.writer = Some(name);
                    if self.rules.key.is_some_and(|signing| signing != *key) {
                        wrong(Numbering::Key { entry });
                    } else {
                        self.found.key_from.get_or_insert(entry);
                    }
                }
            }
            _ if self.rules.partial => session.next = number,
            _ => wrong(Numbering::Start { entry }),
        }
        self.sessions.insert(name, session);
    }

    /// Holds what a session that writes the log says of the one before against
    /// that. Returns whether that had been stopped, as far as is known.
    fn follow(&mut self, entry: u64, former: Option<(Name, u64)>, wrong: &mut dyn FnMut(Numbering)) -> bool {
        let Some(writer) = self.writer else {
            if former.is_some() && !self.rules.partial {
                wrong(Numbering::FormerMissing { entry });
            }
            return true;
        };
        let before = self.sessions.get_mut(&writer).expect("it is one of them");
        match former {
            None => wrong(Numbering::Unlinked { entry, session: before.first }),
            Some((name, _)) if name != writer => wrong(Numbering::FormerMissing { entry }),
            Some((_, last)) if last >= before.next => {
                wrong(Numbering::Missing { entry, session: before.first, first: before.next, last });
            }
            Some((_, last)) if last.saturating_add(1) < before.next => {
                wrong(Numbering::FormerLonger { entry, last: before.last });
            }
            Some(_) => {}
        }
        before.ended.get_or_insert(entry);
        before.stopped
    }

    /// What is known when no entry follows.
    pub fn finish(mut self, wrong: &mut dyn FnMut(Numbering)) -> Completeness {
        let mut sessions: Vec<&Session> = self.sessions.values().collect();
        sessions.sort_unstable_by_key(|session| session.first);
        for session in &sessions {
            for (&first, &(after, entry)) in &session.holes {
                wrong(Numbering::Missing { entry, session: session.first, first, last: after - 1 });
            }
            if session.ended.is_none() && self.found.open.len() < self.rules.listed_max {
                self.found.open.push(session.first);
            }
        }
        self.found.sessions = sessions.len() as u64;
        self.found.newest = self.newest.map(|time| time.div_euclid(1_000_000));
        self.found
    }
}

impl Session {
    fn count(&mut self, entry: u64, number: u64, wrong: &mut dyn FnMut(Numbering)) {
        let session = self.first;
        if number >= self.next {
            if number > self.next {
                self.holes.insert(self.next, (number, entry));
            }
            // No entry's number is the largest (`entry::NUMBERS`).
            self.next = number.saturating_add(1);
            return;
        }
        let hole = self.holes.range(..=number).next_back().map(|(&first, &(after, shown))| (first, after, shown));
        match hole {
            Some((first, after, shown)) if number < after => {
                wrong(Numbering::Order { entry, session, number });
                self.holes.remove(&first);
                if first < number {
                    self.holes.insert(first, (number, shown));
                }
                if number + 1 < after {
                    self.holes.insert(number + 1, (after, shown));
                }
            }
            _ => wrong(Numbering::Twice { entry, session, number }),
        }
    }
}

/// Microseconds of POSIX time, of RFC 3339 in UTC as entries have it:
/// `2026-11-22T10:00:00.123456Z`, with any number of decimals up to nine.
pub fn micros(time: &str) -> Option<i64> {
    let bytes = time.as_bytes();
    let digits = |from: usize, to: usize| {
        let digits = bytes.get(from..to)?;
        digits.iter().try_fold(0_i64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
    };
    let is = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
    if !(is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':')) {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = bytes.get(19..)?.strip_suffix(b"Z")?;
    let fraction = match rest.split_first() {
        None => 0,
        Some((b'.', decimals)) if (1..=9).contains(&decimals.len()) => {
            let value = digits(20, 20 + decimals.len())?;
            let places = decimals.len() as u32;
            if places > 6 { value / 10_i64.pow(places - 6) } else { value * 10_i64.pow(6 - places) }
        }
        Some(_) => return None,
    };
    // Days since 1970-01-01 in the Gregorian calendar, with years that begin in March so that leap days come last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 1
            - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::NUMBERS;

    fn name(session: &str) -> Name {
        Name::of(session)
    }

    fn start(former: Option<(&str, u64)>) -> Option<Role> {
        Some(Role::Start { key: Some(name("key")), former: former.map(|(session, last)| (name(session), last)) })
    }

    fn recover(session: &str, last: u64) -> Option<Role> {
        Some(Role::Recover { former: Some((name(session), last)) })
    }

    /// Session, number, role; a minute apart.
    fn run_with(rules: Rules, entries: &[(&str, u64, Option<Role>)]) -> (Completeness, Vec<Numbering>) {
        let mut wrong = Vec::new();
        let mut sessions = Sessions::new(rules);
        for (index, (session, number, role)) in (0..).zip(entries) {
            let number = (!session.is_empty()).then(|| (name(session), *number));
            let said = Said { number, time: Some(index as i64 * 60_000_000), role: role.clone().map(Box::new) };
            sessions.take(index, &said, &mut |found| wrong.push(found));
        }
        let found = sessions.finish(&mut |found| wrong.push(found));
        (found, wrong)
    }

    fn run(entries: &[(&str, u64, Option<Role>)]) -> Vec<Numbering> {
        run_with(Rules { key: Some(name("key")), listed_max: 10, ..Rules::default() }, entries).1
    }

    fn honest() -> Vec<(&'static str, u64, Option<Role>)> {
        vec![
            ("", 0, None),
            ("a", 0, start(None)),
            ("a", 1, None),
            ("a", 2, Some(Role::Stop)),
            ("b", 0, start(Some(("a", 2)))),
            ("b", 1, None),
            ("b", 2, Some(Role::Heartbeat)),
            ("c", 0, start(Some(("b", 2)))),
            ("c", 1, recover("b", 2)),
            ("c", 2, Some(Role::Gap { reason: "disk_full".to_owned(), count: 3 })),
            ("c", 3, None),
        ]
    }

    #[test]
    fn an_honest_log_passes_and_is_counted() {
        let rules = Rules { key: Some(name("key")), listed_max: 10, ..Rules::default() };
        let (found, wrong) = run_with(rules, &honest());
        assert_eq!(wrong, []);
        assert_eq!((found.sessions, found.numbered, found.unnumbered), (3, 10, 1));
        assert_eq!((found.recovered, found.heartbeats, found.lost), (1, 1, 3));
        assert_eq!(found.open, [7]);
        assert_eq!(found.gaps, [DeclaredGap { entry: 9, reason: "disk_full".to_owned(), count: 3 }]);
        assert_eq!((found.quiet_seconds_max, found.quiet_before), (60, Some(2)));
        assert_eq!(found.key_from, Some(1));
    }

    #[test]
    fn any_numbered_entry_that_is_left_out_shows_unless_it_is_the_last() {
        let all = honest();
        for left_out in 1..all.len() - 1 {
            let mut entries = all.clone();
            entries.remove(left_out);
            assert!(!run(&entries).is_empty(), "entry {left_out}");
        }
        for (session, _, _) in all.iter().filter(|entry| !entry.0.is_empty() && entry.0 != "c") {
            let without: Vec<_> = all.iter().filter(|entry| entry.0 != *session).cloned().collect();
            assert!(run(&without).contains(&Numbering::FormerMissing { entry: without_start(&without) }), "{session}");
        }
    }

    fn without_start(entries: &[(&str, u64, Option<Role>)]) -> u64 {
        let known = |former: &(Name, u64), at: usize| entries[..at].iter().any(|entry| name(entry.0) == former.0);
        let lost = |(at, entry): &(usize, &(&str, u64, Option<Role>))| match &entry.2 {
            Some(Role::Start { former: Some(former), .. }) => !known(former, *at),
            _ => false,
        };
        entries.iter().enumerate().find(lost).unwrap().0 as u64
    }

    #[test]
    fn any_entry_that_is_there_twice_or_in_another_place_shows() {
        let all = honest();
        for twice in 1..all.len() {
            let mut entries = all.clone();
            entries.insert(twice, all[twice].clone());
            assert!(!run(&entries).is_empty(), "entry {twice}");
        }
        for first in 1..all.len() {
            for second in first + 1..all.len() {
                let mut entries = all.clone();
                entries.swap(first, second);
                assert!(!run(&entries).is_empty(), "entries {first} and {second}");
            }
        }
    }

    #[test]
    fn holes_are_named_by_place_and_filled_too_late_by_theirs() {
        let other = || None;
        let entries = [("a", 0, start(None)), ("a", 4, other()), ("a", 2, other()), ("a", 2, other())];
        assert_eq!(
            run(&entries),
            [
                Numbering::Order { entry: 2, session: 0, number: 2 },
                Numbering::Twice { entry: 3, session: 0, number: 2 },
                Numbering::Missing { entry: 1, session: 0, first: 1, last: 1 },
                Numbering::Missing { entry: 1, session: 0, first: 3, last: 3 },
            ]
        );
        let cut = [("a", 0, start(None)), ("b", 0, start(Some(("a", 7)))), ("b", 1, recover("a", 7))];
        assert_eq!(run(&cut), [Numbering::Missing { entry: 1, session: 0, first: 1, last: 7 }]);
        let largest = NUMBERS - 1;
        assert_eq!(
            run(&[("a", 0, start(None)), ("a", largest, other()), ("a", largest, other())]),
            [
                Numbering::Twice { entry: 2, session: 0, number: largest },
                Numbering::Missing { entry: 1, session: 0, first: 1, last: largest - 1 },
            ]
        );
    }

    #[test]
    fn what_sessions_say_of_each_other_must_be_so() {
        let (a, b) = (("a", 0, start(None)), ("b", 0, start(Some(("a", 0)))));
        assert_eq!(run(&[a.clone(), b.clone(), ("b", 1, recover("a", 0))]), []);
        assert_eq!(run(&[a.clone(), b.clone(), ("b", 1, None)]), [Numbering::RecoverMissing { entry: 2 }]);
        assert_eq!(run(&[a.clone(), b.clone(), ("b", 1, recover("a", 1))]), [Numbering::RecoverWrong { entry: 2 }]);
        assert_eq!(run(&[a.clone(), ("b", 0, start(None))]), [Numbering::Unlinked { entry: 1, session: 0 }]);
        assert_eq!(
            run(&[a.clone(), ("a", 1, None), b.clone(), ("b", 1, recover("a", 0))]),
            [Numbering::FormerLonger { entry: 2, last: 1 }]
        );
        assert_eq!(
            run(&[a.clone(), b, ("b", 1, recover("a", 0)), ("a", 1, None)]),
            [Numbering::Ended { entry: 3, end: 1 }]
        );
        assert_eq!(run(&[("a", 0, None)]), [Numbering::Start { entry: 0 }]);
        assert_eq!(run(&[a.clone(), ("", 0, None)]), [Numbering::Unnumbered { entry: 1 }]);
        let other_key = Some(Role::Start { key: Some(name("another")), former: None });
        assert_eq!(run(&[("a", 0, other_key)]), [Numbering::Key { entry: 0 }]);
        let rules = || Rules { quiet_max: Some(59_000_000), listed_max: 10, ..Rules::default() };
        let quiet = [a, ("a", 1, None)];
        assert_eq!(run_with(rules(), &quiet).1, [Numbering::Quiet { entry: 1, seconds: 60 }]);
        // A part of a log may begin anywhere, and must go on in order from there.
        let part = Rules { partial: true, ..rules() };
        assert_eq!(
            run_with(Rules { quiet_max: None, ..part }, &[("a", 7, None), ("a", 9, None)]).1,
            [Numbering::Missing { entry: 1, session: 0, first: 8, last: 8 }]
        );
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(micros("1970-01-01T00:00:00.000000Z"), Some(0));
        assert_eq!(micros("2026-11-22T10:00:00.123456Z"), Some(1_795_341_600_123_456));
        assert_eq!(micros("2024-02-29T23:59:59Z"), Some(1_709_251_199_000_000));
        assert_eq!(micros("2000-03-01T00:00:00.5Z"), Some(951_868_800_500_000));
        assert_eq!(micros("1969-12-31T23:59:59.999999999Z"), Some(-1));
        for wrong in [
            "",
            "2026-11-22",
            "2026-11-22T10:00:00",
            "2026-11-22T10:00:00+00:00",
            "2026-11-22 10:00:00Z",
            "2026-13-22T10:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T10:00:00.Z",
            "2026-11-22T10:00:00.1234567890Z",
            "２026-11-22T10:00:00Z",
        ] {
            assert_eq!(micros(wrong), None, "{wrong}");
        }
    }
}
