//! `tabellion reveal`

use std::io::{BufRead as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path as FilePath;
use std::process::ExitCode;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use tabellion_evidence::content;
use tabellion_evidence::custody as rules;
use tabellion_evidence::entry::{self, Entry, Kind, Manifest, Original, Reveal};
use tabellion_evidence::salt::{Node, Path};
use tabellion_ledger::Catalog;
use tabellion_vault::secrecy::SecretString;
use tabellion_vault::{Callbacks, Identities, Reading, open};
use zeroize::Zeroizing;

use super::Log;
use crate::cli::RevealArgs;
use crate::custody::{self, Act, What};
use crate::failure::Failure;
use crate::{Ended, pipeline, ui};

/// Shows an original, or gives its salt out.
///
/// 1. It is opened in memory, and held against the commitment. Nobody has seen it yet.
/// 2. That it is shown is recorded, and waited for until that is published. A crash from here on: the log says that
///    something was shown that nobody has seen, which is the right way to be wrong.
/// 3. It is shown.
pub(crate) fn run(args: &RevealArgs) -> Ended {
    let log = Log::open(&args.log)?;
    let catalog = log.catalog()?;
    let exchange = log.exchange(&catalog, &args.id)?;
    let index = if args.response { exchange.response } else { exchange.request };
    let index = index.ok_or_else(|| {
        Failure::evidence(if args.response { "the exchange is still open" } else { "the request is not in the log" })
    })?;
    let (entry, original) = original(&log, &catalog, index)?;
    let keyring = Reading::open(&log.config.keys())?;
    let leaf = leaf(&keyring, &entry)?.ok_or_else(|| erased(&args.id))?;
    let commitment = match args.part {
        None => original.commitment,
        Some(part) => *usize::try_from(part).ok().and_then(|part| original.parts.get(part)).ok_or_else(|| {
            Failure::usage(format!("the original has {} parts, counted from 0", original.parts.len()))
        })?,
    };
    let salt = leaf.salt(number(args.part));
    let bytes = match &args.identity {
        None => None,
        Some(path) => {
            let identities = Identities::read(path, Officer)?;
            let opening = Opening { log: &log, catalog: &catalog, keyring: &keyring, identities: &identities };
            Some(opening.open(args, &entry, &original, &leaf)?)
        }
    };
    if let Some(bytes) = &bytes
        && (entry::commitment(&salt, bytes) != commitment
            || (args.part.is_none() && bytes.len() as u64 != original.bytes))
    {
        return Err(Failure::evidence("what was opened is not what the entry commits to, and is not shown")
            .hint("the keyring was changed, or the log: run `tabellion verify`"));
    }

    let what = Reveal {
        entry: index,
        part: args.part,
        bytes: bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
        salt: args.salt,
    };
    let (actor, why) = (custody::operator(), Some(args.reason.clone()));
    if args.ask {
        return custody::ask_approval(&log, actor, why, &Kind::Reveal, rules::reveal_details(&what));
    }
    let act = Act { actor, why, approval: args.approval, what: What::Reveal(what) };
    let recorded = custody::record(&log.config, &log.reader, act)?;

    if let Some(bytes) = &bytes {
        show(bytes, args.output.as_deref())?;
        let what = args.part.map_or_else(|| "the whole body".to_owned(), |part| format!("part {part}"));
        ui::note(format!("exact     {} bytes, {what} of entry {index}, as the entry commits to them", bytes.len()));
    }
    if args.salt {
        let salt = format!("salt      {}", hex::encode(salt));
        // Beside bytes on standard output it would be taken for some of them.
        if bytes.is_some() && args.output.is_none() { ui::note(salt) } else { ui::result(salt)? }
    }
    ui::note(format!("          commitment {commitment}"));
    ui::note(format!("          on the record as entry {}", recorded.entry));
    Ok(ExitCode::SUCCESS)
}

fn erased(id: &str) -> Failure {
    Failure::evidence(format!("the original of {id} was erased: nobody can open it, or prove it, any more"))
        .hint("`tabellion show` says more; the log's custody.erase entries say when and why")
}

/// The number of a commitment's salt.
pub(super) fn number(part: Option<u64>) -> u32 {
    part.map_or(0, |part| u32::try_from(part).unwrap_or(u32::MAX - 1) + 1)
}

/// The key that an entry's salts follow from; `None` if it was erased.
pub(super) fn leaf(keyring: &Reading, entry: &Entry) -> Result<Option<Node>, Failure> {
    let path = Path::of(&entry.id).ok_or_else(|| Failure::evidence("the entry's id is none of ours"))?;
    Ok(keyring.leaf(&path)?)
}

/// An entry, and its lists, wherever they are.
pub(super) fn original(log: &Log, catalog: &Catalog, index: u64) -> Result<(Entry, Original), Failure> {
    let bytes = log.reader.entry(index, log.reader.checkpoint()?.size)?;
    let entry = Entry::parse(&bytes).map_err(|error| Failure::evidence("the entry cannot be read").because(error))?;
    let mut original = entry
        .original
        .clone()
        .ok_or_else(|| Failure::evidence("the entry commits to no original: its body was empty"))?;
    if let Some(manifest) = entry.content.as_ref().and_then(|content| content.manifest) {
        let bytes = catalog.part(&log.reader, &manifest)?;
        let manifest = bytes.and_then(|bytes| Manifest::parse(&bytes).ok());
        let manifest = manifest.ok_or_else(|| Failure::evidence("the entry's lists are missing from the log"))?;
        original.parts.extend(manifest.original);
        original.sealed.extend(manifest.sealed);
    }
    Ok((entry, original))
}

struct Opening<'a> {
    log: &'a Log,
    catalog: &'a Catalog,
    keyring: &'a Reading,
    identities: &'a Identities,
}

impl Opening<'_> {
    fn open(
        &self,
        args: &RevealArgs,
        entry: &Entry,
        original: &Original,
        leaf: &Node,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let limit = original.bytes;
        let piece = |n: usize| self.piece(args, original, n, limit);
        match (original.sealed.len(), args.part) {
            (0, _) => Err(Failure::evidence("the original was not sealed")
                .hint("who has a copy of the bytes can prove them all the same: `tabellion prove --original F`")),
            // One message, while the others stay closed.
            (2.., Some(part)) => piece(part as usize + 1),
            (1, None) => piece(0),
            (count, None) => {
                let pieces = (0..count).map(piece).collect::<Result<Vec<_>, _>>()?;
                let parts: Vec<&[u8]> = pieces[1..].iter().map(|piece| &piece[..]).collect();
                let body = content::assemble(&pieces[0], &parts)
                    .ok_or_else(|| Failure::evidence("the sealed pieces do not make a body"))?;
                Ok(Zeroizing::new(body))
            }
            // A stream, or a body with a content encoding, is one piece. What its message was is found again by reading
            // it as the gateway did; the commitment says whether that is right.
            (1, Some(part)) => {
                let whole = piece(0)?;
                let (salt, commitment) = (leaf.salt(number(Some(part))), original.parts[part as usize]);
                pipeline::parts_again(&whole, entry, part as usize, self.log.config.gateway.response_bytes_max)
                    .map(Zeroizing::new)
                    .find(|bytes| entry::commitment(&salt, bytes) == commitment)
                    .ok_or_else(|| {
                        Failure::evidence("the part cannot be found again in the original").hint("reveal the whole")
                    })
            }
        }
    }

    fn piece(
        &self,
        args: &RevealArgs,
        original: &Original,
        n: usize,
        limit: u64,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let name = original.sealed.get(n).ok_or_else(|| Failure::evidence("the part was not sealed"))?;
        let header = self.keyring.header(name)?.ok_or_else(|| erased(&args.id))?;
        let payload = self.catalog.sealed(&self.log.reader, name)?.ok_or_else(|| {
            Failure::evidence("a sealed piece is missing from the log").hint("`tabellion verify` says more")
        })?;
        Ok(open(&header, &payload, self.identities, limit)?)
    }
}

fn show(bytes: &[u8], output: Option<&FilePath>) -> Result<(), Failure> {
    let Some(path) = output else { return ui::raw(bytes) };
    let mut options = std::fs::OpenOptions::new();
    // Its owner's alone, as what it holds is.
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .map_err(|error| Failure::environment(format!("cannot write {}", path.display())).because(error))
}

/// Whoever sits at the terminal, for plugins that ask for a PIN or a touch.
#[derive(Clone)]
struct Officer;

impl Callbacks for Officer {
    fn display_message(&self, message: &str) {
        ui::note(ui::plain(message));
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let no = no.map_or_else(String::new, |no| format!(", or n for {}", ui::plain(no)));
        let question = format!("{} (y for {}{no})", ui::plain(message), ui::plain(yes));
        ask(&question, true).map(|answer| answer.trim_start().to_ascii_lowercase().starts_with('y'))
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        ask(description, true).map(|answer| answer.to_string())
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        ask(description, false).map(|answer| SecretString::from(answer.to_string()))
    }
}

/// Asks at the terminal; `None` without one. What is secret is not echoed.
fn ask(question: &str, echo: bool) -> Option<Zeroizing<String>> {
    let mut terminal = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
    write!(terminal, "{}: ", ui::plain(question)).ok()?;
    let before = tcgetattr(&terminal).ok()?;
    if !echo {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &silent).ok()?;
    }
    let mut answer = Zeroizing::new(String::new());
    let read = std::io::BufReader::new(&terminal).read_line(&mut answer);
    if !echo {
        let _ = tcsetattr(&terminal, OptionalActions::Flush, &before);
        let _ = writeln!(terminal);
    }
    read.ok()?;
    Some(Zeroizing::new(answer.trim_end_matches(['\r', '\n']).to_owned()))
}
