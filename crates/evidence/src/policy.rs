//! Trust policies: which logs are known, and whose cosignatures are enough.
//! (C2SP `tlog-policy`.)
//!
//! Names of witnesses and groups mean something within the file only, and are
//! opaque bytes. A witness with several keys is several witnesses in a group.

use std::collections::HashMap;

use crate::Verified;
use crate::checkpoint::{self, Checkpoint, CheckpointError, Cosignature};
use crate::note::{Note, NoteError, VerifierKey};
use crate::tile::parse_decimal;

/// The longest policy file that is read.
pub const POLICY_BYTES_MAX: usize = 1 << 20;

/// The most logs, and witnesses, and groups. The specification asks for at
/// least 32.
pub const LINES_MAX: usize = 1024;

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    /// What names stand for; groups refer to members that come before them.
    groups: Vec<Group>,
    quorum: Option<Member>,
}

/// A log that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its key, whose name is the log's origin.
    pub key: VerifierKey,
    /// Where it is, in whatever way.
    pub url: Option<String>,
}

/// A witness that may cosign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// What the policy calls it, as far as that is text.
    pub name: String,
    /// Its key.
    pub key: VerifierKey,
    /// Where it is; by recommendation its submission prefix.
    pub url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    need: usize,
    members: Vec<Member>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// Why a file is no policy. `line` counts from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Longer than [`POLICY_BYTES_MAX`], or more lines than [`LINES_MAX`].
    #[error("policy is too large")]
    TooLarge,
    /// A line that is not what it must be.
    #[error("line {line} of the policy {what}")]
    Line {
        /// Which.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No line says what the quorum is.
    #[error("policy has no quorum line")]
    Quorum,
}

/// What a policy makes of a checkpoint's cosignatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The witnesses that cosigned: what the policy calls them, and when.
    pub witnesses: Vec<(String, Cosignature)>,
    /// Whether they are enough.
    pub quorum: bool,
}

impl Policy {
    /// A policy without logs, which wants `need` of the witnesses. Keys of one
    /// name are one witness's, of which any will do. `None` when it wants more
    /// than there are.
    pub fn threshold(keys: &[VerifierKey], need: usize) -> Option<Self> {
        let mut groups: Vec<(&str, Group)> = Vec::new();
        for (position, key) in keys.iter().enumerate() {
            let member = Member::Witness(position);
            match groups.iter_mut().find(|(name, _)| *name == key.name()) {
                Some((_, group)) => group.members.push(member),
                None => groups.push((key.name(), Group { need: 1, members: vec![member] })),
            }
        }
        if need > groups.len() {
            return None;
        }
        let mut groups: Vec<Group> = groups.into_iter().map(|(_, group)| group).collect();
        let all = Group { need, members: (0..groups.len()).map(Member::Group).collect() };
        groups.push(all);
        let witness = |key: &VerifierKey| Witness { name: key.name().to_owned(), key: key.clone(), url: None };
        Some(Self {
            logs: Vec::new(),
            witnesses: keys.iter().map(witness).collect(),
            quorum: (need > 0).then_some(Member::Group(groups.len() - 1)),
            groups,
        })
    }

    /// Reads a policy file.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLarge);
        }
        let mut reading = Reading::default();
        let mut lines = bytes.split(|&byte| byte == b'\n').enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            let wrong = |what| PolicyError::Line { line: number + 1, what };
            if lines.peek().is_none() {
                // What follows on the last newline.
                if !line.is_empty() {
                    return Err(wrong("does not end"));
                }
                break;
            }
            if line.iter().any(|&byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f) {
                return Err(wrong("has control characters"));
            }
            let items: Vec<&[u8]> =
                line.split(|&byte| byte == b' ' || byte == b'\t').filter(|item| !item.is_empty()).collect();
            match items.first() {
                None => {}
                Some(first) if first.starts_with(b"#") => {}
                Some(_) => reading.line(&items).map_err(wrong)?,
            }
            if reading.logs.len().max(reading.witnesses.len()).max(reading.groups.len()) > LINES_MAX {
                return Err(PolicyError::TooLarge);
            }
        }
        let Reading { logs, witnesses, groups, quorum, .. } = reading;
        Ok(Self { logs, witnesses, groups, quorum: quorum.ok_or(PolicyError::Quorum)? })
    }

    /// The logs that it accepts; any, when there are none.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The witnesses that it knows.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether it wants any cosignature.
    pub fn wants_cosignatures(&self) -> bool {
        self.quorum.is_some()
    }

    /// Which of its witnesses cosigned a checkpoint, and whether that is
    /// enough. A bad cosignature by one of them refuses the checkpoint. The
    /// log's signature is not looked at.
    pub fn decide(&self, checkpoint: &[u8]) -> Result<Decision, CheckpointError> {
        let keys: Vec<VerifierKey> = self.witnesses.iter().map(|witness| witness.key.clone()).collect();
        let cosignatures = checkpoint::cosignatures(checkpoint, &keys)?;
        let mut cosigned = vec![false; keys.len()];
        let mut witnesses = Vec::new();
        for cosignature in cosignatures {
            let at = keys.iter().position(|key| *key == cosignature.witness).expect("asked for these keys");
            cosigned[at] = true;
            witnesses.push((self.witnesses[at].name.clone(), cosignature));
        }
        // Members come before their groups.
        let mut groups = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let have = group.members.iter().filter(|&&member| witnessed(member, &cosigned, &groups)).count();
            groups.push(have >= group.need);
        }
        let quorum = self.quorum.is_none_or(|member| witnessed(member, &cosigned, &groups));
        Ok(Decision { witnesses, quorum })
    }

    /// Checks that one of the policy's logs signed a checkpoint, and what its
    /// witnesses say. Every signature by a known key must be good.
    pub fn verify(&self, checkpoint: &[u8]) -> Result<(Verified<Checkpoint>, Decision), CheckpointError> {
        let origin = Checkpoint::parse_text(Note::parse(checkpoint)?.text())?.origin;
        let mut verified = None;
        for log in self.logs.iter().filter(|log| log.key.name() == origin) {
            match checkpoint::verify(checkpoint, &log.key) {
                Ok(head) => verified = Some(head),
                Err(CheckpointError::Note(NoteError::Unsigned)) => {}
                Err(error) => return Err(error),
            }
        }
        let verified = verified.ok_or(CheckpointError::Note(NoteError::Unsigned))?;
        Ok((verified, self.decide(checkpoint)?))
    }
}

fn witnessed(member: Member, witnesses: &[bool], groups: &[bool]) -> bool {
    match member {
        Member::Witness(witness) => witnesses[witness],
        Member::Group(group) => groups[group],
    }
}

#[derive(Default)]
struct Reading {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    /// What each name stands for, and whether a group has it.
    names: HashMap<Vec<u8>, (Member, bool)>,
    /// `Some(None)` is `quorum none`.
    #[expect(clippy::option_option, reason = "no line, and a line that wants nobody")]
    quorum: Option<Option<Member>>,
}

impl Reading {
    fn line(&mut self, items: &[&[u8]]) -> Result<(), &'static str> {
        match items {
            [b"log", rest @ ..] => {
                let (key, url) = match rest {
                    [key] => (key, None),
                    [key, url] => (key, Some(text(url))),
                    _ => return Err("is not `log <vkey> [<url>]`"),
                };
                let key = vkey(key)?;
                if !key.algorithm().is_log() {
                    return Err("has a key that is not a log's");
                }
                if self.logs.iter().any(|log| log.key.public_key() == key.public_key()) {
                    return Err("has a key that another log has");
                }
                self.logs.push(Log { key, url });
            }
            [b"witness", rest @ ..] => {
                let (name, key, url) = match rest {
                    [name, key] => (name, key, None),
                    [name, key, url] => (name, key, Some(text(url))),
                    _ => return Err("is not `witness <name> <vkey> [<url>]`"),
                };
                let key = vkey(key)?;
                if !key.algorithm().is_witness() {
                    return Err("has a key that is not a witness's");
                }
                if self.witnesses.iter().any(|witness| witness.key.public_key() == key.public_key()) {
                    return Err("has a key that another witness has");
                }
                self.define(name, Member::Witness(self.witnesses.len()))?;
                self.witnesses.push(Witness { name: text(name), key, url });
            }
            [b"group", name, need, members @ ..] => {
                if members.is_empty() {
                    return Err("is a group without members");
                }
                let need = match *need {
                    b"all" => members.len(),
                    b"any" => 1,
                    number => std::str::from_utf8(number)
                        .ok()
                        .and_then(parse_decimal)
                        .and_then(|number| usize::try_from(number).ok())
                        .filter(|number| (1..=members.len()).contains(number))
                        .ok_or("wants a number of members that there cannot be")?,
                };
                let mut found = Vec::with_capacity(members.len());
                for &member in members {
                    let (member, taken) = self.names.get_mut(member).ok_or("names what no line before it defines")?;
                    if std::mem::replace(taken, true) {
                        return Err("names what is in a group already");
                    }
                    found.push(*member);
                }
                self.define(name, Member::Group(self.groups.len()))?;
                self.groups.push(Group { need, members: found });
            }
            [b"quorum", name] => {
                let member = match *name {
                    b"none" => None,
                    name => Some(self.names.get(name).ok_or("names what no line before it defines")?.0),
                };
                if self.quorum.replace(member).is_some() {
                    return Err("is a second quorum");
                }
            }
            _ => return Err("is no line of a policy"),
        }
        Ok(())
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), &'static str> {
        if name == b"none" {
            return Err("defines `none`");
        }
        if self.names.insert(name.to_vec(), (member, false)).is_some() {
            return Err("defines a name again");
        }
        Ok(())
    }
}

fn vkey(item: &[u8]) -> Result<VerifierKey, &'static str> {
    std::str::from_utf8(item)
        .ok()
        .and_then(|text| VerifierKey::parse(text).ok())
        .ok_or("has a key that cannot be read, or is of a kind that is not supported")
}

fn text(item: &[u8]) -> String {
    String::from_utf8_lossy(item).into_owned()
}
