//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The notary for AI systems: records every prompt and response, redacted, in a log that anybody can verify.
#[derive(Debug, Parser)]
#[command(name = "tabellion", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway: applications change one base URL, and every exchange is recorded
    Serve(LogArgs),
    /// Play the three scenarios through a real gateway with a stand-in for the model
    Demo(DemoArgs),
    /// Find personal data and secrets in text; prints findings as JSON lines
    Detect(DetectArgs),
    /// Print text with personal data and secrets replaced by tokens
    Redact(RedactArgs),
    /// Recompute everything and compare; exits with 1 if the evidence says no
    Verify(VerifyArgs),
    /// Find exchanges
    Search(SearchArgs),
    /// Show an exchange, with the state of its proofs
    Show(ShowArgs),
    /// Write the proof that an exchange is in the log
    Prove(ProveArgs),
    /// Write an evidence bundle: what an examiner checks without trusting whoever ran the log
    Export(ExportArgs),
    /// Issue, revoke and list keys: who may do what
    Key(KeyArgs),
    /// Place, lift and list legal holds: nothing that they cover is erased or expires
    Hold(HoldArgs),
    /// Open, close and list cases, and print what was done with one
    Case(CaseArgs),
    /// Approve, by a signature, an act that another one asked for
    Approve(ApproveArgs),
    /// Open a sealed original, for an officer; recorded before the first byte is shown
    Reveal(RevealArgs),
    /// Destroy what opens originals, for good; the entries and all proofs stay as they are
    Erase(EraseArgs),
    /// Have what is no longer to be kept expire, as the configuration says; a running server does it every day
    Expire(ExpireArgs),
    /// Keep the keys of sealed originals safe
    Keyring {
        #[command(subcommand)]
        what: Keyring,
    },
    /// Write the page that shows and checks any bundle, in a browser, without a network
    Page(PageArgs),
    /// Cosign other people's logs, as long as they only grow
    Witness(WitnessArgs),
    /// Have the newest checkpoint anchored now, by every configured authority
    Anchor(AnchorArgs),
    /// Bring a second copy of the log up to date, in a directory or a bucket that nobody can delete from
    Mirror(MirrorArgs),
    /// Check the configuration and the surroundings; of a bucket, that it really refuses to delete
    Doctor(DoctorArgs),
    /// Measure this machine
    Bench(BenchArgs),
    /// Print a script that completes commands and options
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where the log is.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogArgs {
    /// The configuration file; without it the built-in defaults
    #[arg(long, value_name = "F")]
    pub(crate) config: Option<PathBuf>,
    /// The data directory [default: ./tabellion-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep the data here; without it, in a directory that is removed at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Stop at the end instead of leaving the servers up
    #[arg(long)]
    pub(crate) exit: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Offsets {
    Chars,
    Bytes,
    Utf16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Recognizers {
    Default,
    All,
}

/// How far detection goes, over what the policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Depth {
    Fast,
    Text,
    Tagger,
    Model,
}

impl From<Depth> for tabellion_detect::Depth {
    fn from(depth: Depth) -> Self {
        match depth {
            Depth::Fast => Self::Fast,
            Depth::Text => Self::Text,
            Depth::Tagger => Self::Tagger,
            Depth::Model => Self::Model,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct DetectArgs {
    /// Files; standard input without any
    pub(crate) files: Vec<PathBuf>,
    /// Each line is a JSON object with `id`, `text` and perhaps `entities`
    #[arg(long)]
    pub(crate) jsonl: bool,
    /// What `start` and `end` count
    #[arg(long, value_enum, default_value = "chars")]
    pub(crate) offsets: Offsets,
    /// Leave findings below this score alone, 0.0 to 1.0 [default: the policy's]
    #[arg(long, value_name = "S")]
    pub(crate) threshold: Option<f32>,
    /// Which recognizers run
    #[arg(long, value_enum, default_value = "default", conflicts_with = "policy")]
    pub(crate) recognizers: Recognizers,
    /// Those of a policy, its own among them: a built-in one or a file
    #[arg(long, value_name = "F")]
    pub(crate) policy: Option<String>,
    /// How far detection goes: what patterns describe, addresses too, names too, or the configured model too [default: the
    /// policy's]
    #[arg(long, value_enum)]
    pub(crate) depth: Option<Depth>,
    /// The configuration file that names the model
    #[arg(long, value_name = "F")]
    pub(crate) config: Option<PathBuf>,
    /// Say why, with each finding
    #[arg(long)]
    pub(crate) explain: bool,
    /// Exit with 1 if anything was found
    #[arg(long)]
    pub(crate) fail: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
    Jsonl,
}

#[derive(Debug, Args)]
pub(crate) struct RedactArgs {
    /// Files; standard input without any
    pub(crate) files: Vec<PathBuf>,
    /// What the input is; of JSON, string values are redacted and the structure is kept
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// The policy: a built-in one (default, all, gdpr, hipaa-safe-harbor, pci-dss, secrets) or a file [default: the configured one]
    #[arg(long, value_name = "F")]
    pub(crate) policy: Option<String>,
    /// How far detection goes: what patterns describe, addresses too, names too, or the configured model too [default: the
    /// policy's]
    #[arg(long, value_enum)]
    pub(crate) depth: Option<Depth>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A data directory or a mirror's, a bucket (s3://bucket/prefix), a log's URL, a bundle, a proof file or a COSE receipt
    /// [default: the configured data directory]
    pub(crate) target: Option<String>,
    /// The log's public key, from elsewhere than the log itself: the key or a file that holds it
    #[arg(long, value_name = "K")]
    pub(crate) vkey: Option<String>,
    /// The public key of a witness whose cosignature is looked for
    #[arg(long, value_name = "VKEY")]
    pub(crate) witness: Vec<String>,
    /// How many of the witnesses must have cosigned
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) quorum: usize,
    /// A C2SP tlog-policy file: which logs are known, and whose cosignatures are enough
    #[arg(long, value_name = "F", conflicts_with_all = ["witness", "quorum"])]
    pub(crate) policy: Option<PathBuf>,
    /// An older checkpoint, or a proof that holds one, that the log must extend; any number of them
    #[arg(long, value_name = "F")]
    pub(crate) checkpoint: Vec<PathBuf>,
    /// Roots that timestamp authorities' certificates must lead to, in PEM
    #[arg(long, value_name = "F")]
    pub(crate) tsa_roots: Option<PathBuf>,
    /// The policy that their tokens must be given under
    #[arg(long, value_name = "OID")]
    pub(crate) tsa_policy: Option<String>,
    /// The header of a Bitcoin block, from elsewhere than the log: 160 hexadecimal digits
    #[arg(long, value_name = "F")]
    pub(crate) bitcoin_header: Vec<PathBuf>,
    /// A Bitcoin node, asked for headers by JSON-RPC: http://user:password@host:port
    #[arg(long, value_name = "URL")]
    pub(crate) bitcoin_node: Option<String>,
    /// How much work a block's header must show, as a power of two
    #[arg(long, value_name = "BITS", default_value_t = tabellion_evidence::ots::WORK_BITS_MIN)]
    pub(crate) bitcoin_work_min: u32,
    /// A copy of an original: hold it against the commitment in the proof or the entry that is verified
    #[arg(long, value_name = "F", requires = "salt")]
    pub(crate) original: Option<PathBuf>,
    /// The salt of that commitment, as `tabellion reveal --salt` gives it out
    #[arg(long, value_name = "HEX", requires = "original")]
    pub(crate) salt: Option<String>,
    /// The copy is of this part of the original only, counted from 0
    #[arg(long, value_name = "N", requires = "original")]
    pub(crate) part: Option<usize>,
    /// The entry that a COSE receipt is about; a statement holds its own
    #[arg(long, value_name = "F")]
    pub(crate) entry: Option<PathBuf>,
    /// Recompute only the entries from A up to, not including, B
    #[arg(long, value_name = "A..B")]
    pub(crate) range: Option<String>,
    /// The longest time, in seconds, that the record may be silent within a session
    #[arg(long, value_name = "S")]
    pub(crate) max_quiet: Option<u64>,
    /// Go on from what this file says was verified before, and keep in it how far this run came
    #[arg(long, value_name = "F", conflicts_with_all = ["range", "foreign"])]
    pub(crate) state: Option<PathBuf>,
    /// The entries are not Tabellion's: check the tree, and not what they say
    #[arg(long)]
    pub(crate) foreign: bool,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Words, "quoted phrases", -excluded words, prefixes*
    #[arg(allow_hyphen_values = true)]
    pub(crate) query: Option<String>,
    /// The case
    #[arg(long)]
    pub(crate) case: Option<String>,
    /// A value that was redacted: searched by its token, never stored
    #[arg(long, value_name = "VALUE")]
    pub(crate) subject: Option<String>,
    /// An entity that was found
    #[arg(long)]
    pub(crate) entity: Option<String>,
    /// The model
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Who called
    #[arg(long)]
    pub(crate) actor: Option<String>,
    /// Not before this time (RFC 3339, or a date)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Before this time (RFC 3339, or a date)
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    /// Print a line of JSON a hit
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The exchange, as the header x-tabellion-exchange named it
    pub(crate) id: String,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cose {
    Statement,
    Receipt,
}

#[derive(Debug, Args)]
pub(crate) struct ProveArgs {
    /// The exchange, as the header x-tabellion-exchange named it
    #[arg(required_unless_present = "extends")]
    pub(crate) id: Option<String>,
    /// Write COSE instead (RFC 9942): the entry in a Signed Statement with its receipt, or the receipt alone
    #[arg(long, value_enum, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "statement")]
    pub(crate) cose: Option<Cose>,
    /// Write a COSE receipt that the newest tree extends this older checkpoint
    #[arg(long, value_name = "F", conflicts_with_all = ["id", "cose", "response", "original"])]
    pub(crate) extends: Option<PathBuf>,
    /// Prove the response instead of the request
    #[arg(long)]
    pub(crate) response: bool,
    /// Also check that this file has exactly the bytes that were received (with --response, sent)
    #[arg(long, value_name = "F")]
    pub(crate) original: Option<PathBuf>,
    /// Write the proof here [default: standard output]
    #[arg(short, long, value_name = "F")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Words that the exchanges must have, as for `search`
    #[arg(allow_hyphen_values = true)]
    pub(crate) query: Option<String>,
    /// The exchanges of this case
    #[arg(long, conflicts_with = "query")]
    pub(crate) case: Option<String>,
    /// This exchange; may be given more than once
    #[arg(long, value_name = "ID", conflicts_with_all = ["query", "case"])]
    pub(crate) id: Vec<String>,
    /// The bundle, a zip file
    #[arg(short, long, value_name = "F.zip")]
    pub(crate) output: PathBuf,
    /// Why it is handed out; it goes on the record
    #[arg(long, value_name = "WHY")]
    pub(crate) reason: Option<String>,
    /// Prove against this older checkpoint instead of the newest
    #[arg(long, value_name = "F")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Also prove that the log extends this older checkpoint (or that of a proof, or of an earlier bundle); may be repeated
    #[arg(long, value_name = "F")]
    pub(crate) older: Vec<PathBuf>,
    /// Also hand out the sealed originals: closed, as age files that an officer's key opens
    #[arg(long)]
    pub(crate) sealed: bool,
    /// Also hand out the originals that this age identity file opens, with their salts: personal data, in the clear.
    /// Each is recorded as a reveal
    #[arg(long, value_name = "F", requires = "reason")]
    pub(crate) identity: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RevealArgs {
    /// The exchange, as the header x-tabellion-exchange named it
    pub(crate) id: String,
    /// An age identity file that opens it, or one that names a plugin
    #[arg(long, value_name = "F", required_unless_present = "salt")]
    pub(crate) identity: Option<PathBuf>,
    /// Why; it goes on the record
    #[arg(long, value_name = "WHY")]
    pub(crate) reason: String,
    /// The response instead of the request
    #[arg(long)]
    pub(crate) response: bool,
    /// Only this message or other part, counted from 0, as in the entry's original.parts
    #[arg(long, value_name = "N")]
    pub(crate) part: Option<u64>,
    /// Give out the salt of the commitment too, so that others can check the bytes; without --identity, the salt alone
    #[arg(long)]
    pub(crate) salt: bool,
    /// Write the bytes here [default: standard output]
    #[arg(short, long, value_name = "F", requires = "identity")]
    pub(crate) output: Option<PathBuf>,
    /// Do not do it yet: ask for the approval, and print what to approve
    #[arg(long, conflicts_with = "approval")]
    pub(crate) ask: bool,
    /// The approval, as `approve` prints it
    #[arg(long, value_name = "N")]
    pub(crate) approval: Option<u64>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["id", "case", "subject"]))]
pub(crate) struct EraseArgs {
    /// This exchange; may be given more than once
    #[arg(long, value_name = "ID")]
    pub(crate) id: Vec<String>,
    /// The exchanges of this case
    #[arg(long)]
    pub(crate) case: Option<String>,
    /// The exchanges in which this value was redacted: found by its token, never stored
    #[arg(long, value_name = "VALUE")]
    pub(crate) subject: Option<String>,
    /// Why; it goes on the record
    #[arg(long, value_name = "WHY")]
    pub(crate) reason: String,
    /// The law that it is done under, such as "GDPR Art. 17(1)(b)"
    #[arg(long, value_name = "LAW")]
    pub(crate) basis: Option<String>,
    /// Do not do it yet: ask for the approval, and print what to approve
    #[arg(long, conflicts_with = "approval")]
    pub(crate) ask: bool,
    /// The approval, as `approve` prints it
    #[arg(long, value_name = "N")]
    pub(crate) approval: Option<u64>,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keyring {
    /// Write the keyring, encrypted to the officers, as an age file
    Backup {
        /// The file
        #[arg(long, value_name = "F")]
        to: PathBuf,
        #[command(flatten)]
        log: LogArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// This exchange alone
    #[arg(long, value_name = "ID", conflicts_with_all = ["case", "upstream"])]
    pub(crate) id: Option<String>,
    /// The exchanges of this case
    #[arg(long)]
    pub(crate) case: Option<String>,
    /// All exchanges of this upstream
    #[arg(long, value_name = "NAME")]
    pub(crate) upstream: Option<String>,
    /// Of these only those of this operation, such as "POST /v1/chat/completions"
    #[arg(long)]
    pub(crate) operation: Option<String>,
    /// Of these only those that asked for this model
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Requests not before this time (RFC 3339, or a date)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Requests before this time (RFC 3339, or a date)
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// A new directory for the report
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Why it is made; it goes on the record
    #[arg(long, value_name = "WHY")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Write it here [default: standard output]
    #[arg(short, long, value_name = "F.html")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct AnchorArgs {
    /// Only this one of the configured anchors
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Print a line of JSON an anchor
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WitnessArgs {
    /// Where the witness's keys lie, and what it knows of the logs
    #[arg(long, value_name = "DIR", default_value = "./tabellion-witness")]
    pub(crate) data: PathBuf,
    /// The name in its keys, such as witness.example/w1; needed once, and kept
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A log to cosign: its public key, or a file that holds its keys, as log.vkey does
    #[arg(long, value_name = "VKEY")]
    pub(crate) log: Vec<String>,
    /// A file of such keys, one a line; empty lines and those that begin with # are left out
    #[arg(long, value_name = "F")]
    pub(crate) logs: Option<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8602")]
    pub(crate) listen: SocketAddr,
    /// Something else (a proxy) provides TLS in front of it, so it may listen elsewhere than on the loopback
    #[arg(long)]
    pub(crate) protected_by_others: bool,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) connections_max: usize,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: Bench,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Appends a second, beside this machine's own bare write and fdatasync
    Ledger {
        /// Where to measure; a directory below it is made and removed [default: here]
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// Seconds for each number of callers
        #[arg(long, default_value_t = 4)]
        seconds: u64,
        /// Also measure appends to logs that have so many entries (such as 10000,1000000,10000000)
        #[arg(long, value_name = "N,…", value_delimiter = ',')]
        sizes: Vec<u64>,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Verifying a log, beside bare SHA-256 of the same bytes on all cores
    Verify {
        /// Where to measure; a directory below it is made and removed [default: here]
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// How many entries the log has
        #[arg(long, value_name = "N", default_value_t = 1_000_000)]
        entries: u64,
        /// How long an entry is at least
        #[arg(long, value_name = "BYTES", default_value_t = 512)]
        entry_bytes: usize,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MirrorArgs {
    /// A directory, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix [default: the configured one]
    #[arg(long, value_name = "TARGET")]
    pub(crate) to: Option<String>,
    /// Go on, and look for something new every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) every: Option<u64>,
    /// Print a line of JSON a round
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Issue a key, and show it, this once
    Issue(KeyIssueArgs),
    /// Revoke a key: nothing takes it from then on
    Revoke {
        /// The key's ID: k_ and 32 hexadecimal digits
        key: String,
        /// Why; it goes on the record
        #[arg(long, value_name = "WHY")]
        reason: String,
        #[command(flatten)]
        log: LogArgs,
    },
    /// List the keys that were issued
    List {
        /// Print a line of JSON a key
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        log: LogArgs,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyRole {
    /// Applications: they are recorded, and read nothing
    Writer,
    /// Reads and searches redacted content
    Reader,
    /// Opens cases, places holds, exports, reveals, erases, approves
    Officer,
    /// Reads proofs and custody, and no content
    Auditor,
    /// Issues keys, and reads no content
    Admin,
}

impl From<KeyRole> for tabellion_evidence::custody::Role {
    fn from(role: KeyRole) -> Self {
        match role {
            KeyRole::Writer => Self::Writer,
            KeyRole::Reader => Self::Reader,
            KeyRole::Officer => Self::Officer,
            KeyRole::Auditor => Self::Auditor,
            KeyRole::Admin => Self::Admin,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct KeyIssueArgs {
    /// What it is for
    #[arg(long, value_enum)]
    pub(crate) role: KeyRole,
    /// Whose it is
    #[arg(long, value_name = "NAME")]
    pub(crate) holder: String,
    /// Until when: a time, or from now on as long as 90d or 12h [default: until it is revoked]
    #[arg(long, value_name = "WHEN")]
    pub(crate) expires: Option<String>,
    /// Only for this upstream; may be given more than once [default: all]
    #[arg(long, value_name = "NAME", conflicts_with = "public_key")]
    pub(crate) upstream: Vec<String>,
    /// Not a secret text, but this Ed25519 public key in PEM: its holder signs approvals with the private one
    #[arg(long, value_name = "F")]
    pub(crate) public_key: Option<PathBuf>,
    /// Why; it goes on the record
    #[arg(long, value_name = "WHY")]
    pub(crate) reason: Option<String>,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExpireArgs {
    /// Only say what would expire now
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Why now; it goes on the record
    #[arg(long, value_name = "WHY", conflicts_with = "dry_run")]
    pub(crate) reason: Option<String>,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    #[command(subcommand)]
    pub(crate) command: HoldCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Place a hold, and print its ID
    Place(HoldPlaceArgs),
    /// Lift a hold
    Lift(HoldLiftArgs),
    /// List the holds in force
    List {
        /// Print a line of JSON a hold
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        log: LogArgs,
    },
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("about").required(true)))]
pub(crate) struct HoldPlaceArgs {
    /// The exchanges that these words find today
    #[arg(group = "about", allow_hyphen_values = true)]
    pub(crate) query: Option<String>,
    /// Everything of this case, also what is recorded later
    #[arg(long, group = "about")]
    pub(crate) case: Option<String>,
    /// This exchange; may be given more than once
    #[arg(long, value_name = "ID", group = "about")]
    pub(crate) id: Vec<String>,
    /// Whatever has this value, also what is recorded later: by its token, the value is never stored
    #[arg(long, value_name = "VALUE", group = "about")]
    pub(crate) subject: Option<String>,
    /// Why; it goes on the record
    #[arg(long, value_name = "WHY")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HoldLiftArgs {
    /// The hold, as `hold place` and `hold list` print it
    pub(crate) hold: String,
    /// Why; it goes on the record
    #[arg(long, value_name = "WHY")]
    pub(crate) reason: String,
    /// Do not lift it yet: ask for the approval, and print what to approve
    #[arg(long, conflicts_with = "approval")]
    pub(crate) ask: bool,
    /// The approval, as `approve` prints it
    #[arg(long, value_name = "N")]
    pub(crate) approval: Option<u64>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CaseArgs {
    #[command(subcommand)]
    pub(crate) command: CaseCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaseCommand {
    /// Report on one decision of a model, or on all of a route and period, with rows for a statistician
    Report(ReportArgs),
    /// Open a case
    Open {
        /// What it is called, as in the header x-tabellion-case
        case: String,
        /// Why; it goes on the record
        #[arg(long, value_name = "WHY")]
        reason: Option<String>,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Close a case
    Close {
        /// What it is called
        case: String,
        /// Why; it goes on the record
        #[arg(long, value_name = "WHY")]
        reason: Option<String>,
        #[command(flatten)]
        log: LogArgs,
    },
    /// List the cases that were opened
    List {
        /// Print a line of JSON a case
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Print a case's chain of custody: who did what, when, why, with which key and whose approval
    Custody {
        /// What it is called
        case: String,
        /// Print a line of JSON a step
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        log: LogArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// What is asked for: the number that `--ask` printed
    pub(crate) request: u64,
    /// Sign it with this Ed25519 private key in PEM, whose public key was issued
    #[arg(long, value_name = "F", conflicts_with_all = ["write", "statement"])]
    pub(crate) key: Option<PathBuf>,
    /// Why; it is signed and goes on the record
    #[arg(long, value_name = "WHY")]
    pub(crate) reason: Option<String>,
    /// Until when it may be used: a time, or from now on as long as 1h or 7d, at most 31d
    #[arg(long, value_name = "WHEN", default_value = "1d")]
    pub(crate) expires: String,
    /// Only write what is to be signed, to be signed elsewhere, with the key of --key-id
    #[arg(long, value_name = "F", requires = "key_id", conflicts_with = "statement")]
    pub(crate) write: Option<PathBuf>,
    /// The ID of the key that will sign it
    #[arg(long, value_name = "ID")]
    pub(crate) key_id: Option<String>,
    /// What was written and signed
    #[arg(long, value_name = "F", requires = "signature")]
    pub(crate) statement: Option<PathBuf>,
    /// The signature, as `openssl pkeyutl -sign -rawin` writes it
    #[arg(long, value_name = "F", requires = "statement")]
    pub(crate) signature: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}
