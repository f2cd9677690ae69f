//! `standin-load`: a small closed-loop load client, for `bench/gateway`.
//!
//! N connections; each sends a chat completion, reads the whole answer, waits
//! `--pause-ms`, and sends the next. Each request's text is new, so that whoever
//! scans texts and remembers them has to scan this one. Times are from the first
//! byte written, so a stalled server delays later requests unmeasured: this
//! compares servers under the same load and is no capacity planner.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the measurements on standard output are this program's interface"
)]

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

/// A closed-loop load client for chat completions; prints JSON.
#[derive(Clone, Parser)]
struct Arguments {
    /// Where to post, such as `http://127.0.0.1:8600/v1/chat/completions`.
    #[arg(long)]
    url: Uri,
    #[arg(long, default_value_t = 8)]
    connections: usize,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Stop after so many requests, if that is earlier.
    #[arg(long)]
    requests: Option<usize>,
    /// How long a connection rests between an answer and its next request, on
    /// average.
    #[arg(long, default_value_t = 0)]
    pause_ms: u64,
    /// Ask for a streamed answer.
    #[arg(long)]
    stream: bool,
    #[arg(long, default_value = "gpt-4o-mini")]
    model: String,
    /// The `x-standin` header of each request.
    #[arg(long)]
    standin: Option<String>,
    /// About how large a request's body is.
    #[arg(long, default_value_t = 1800)]
    bytes: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One thread: the client should not take the server's processors.
    let ran = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    match ran {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("standin-load: {error}");
            ExitCode::from(3)
        }
    }
}

/// What one answer took.
struct Sample {
    first_byte: Duration,
    total: Duration,
    longest_gap: Duration,
    reads: usize,
}

#[derive(Default)]
struct Samples {
    done: Vec<Sample>,
    errors: usize,
    first_error: Option<String>,
}

async fn run(arguments: &Arguments) -> io::Result<serde_json::Value> {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |age| age.as_nanos());
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs_f64(arguments.seconds);
    let connections = arguments.connections.max(1);
    let tasks: Vec<_> = (0..connections)
        .map(|connection| {
            let texts = Texts {
                prefix: format!("{nanos:x}-{connection}"),
                serial: 0,
                random: u64::try_from(nanos & 0xffff_ffff).expect("32 bits") * 2 + 1 + connection as u64,
                bytes: arguments.bytes,
            };
            let quota = arguments.requests.map_or(usize::MAX, |all| all.div_ceil(connections));
            tokio::spawn(converse(arguments.clone(), texts, quota, deadline))
        })
        .collect();
    let mut all = Samples::default();
    for task in tasks {
        let samples = task.await.map_err(io::Error::other)?;
        all.done.extend(samples.done);
        all.errors += samples.errors;
        all.first_error = all.first_error.or(samples.first_error);
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(report(&all, seconds))
}

fn report(samples: &Samples, seconds: f64) -> serde_json::Value {
    let of = |pick: fn(&Sample) -> Duration| {
        let mut times: Vec<Duration> = samples.done.iter().map(pick).collect();
        times.sort_unstable();
        let at = |share: f64| {
            let rank = (times.len() as f64 * share).ceil() as usize;
            let time = times.get(rank.saturating_sub(1)).copied();
            time.map(|time| (time.as_secs_f64() * 1e6).round() / 1e3)
        };
        json!({"p50": at(0.50), "p99": at(0.99), "max": at(1.0)})
    };
    let reads: usize = samples.done.iter().map(|sample| sample.reads).sum();
    json!({
        "requests": samples.done.len(),
        "errors": samples.errors,
        "first_error": samples.first_error,
        "seconds": seconds,
        "requests_per_second": samples.done.len() as f64 / seconds,
        "total_ms": of(|sample| sample.total),
        "first_byte_ms": of(|sample| sample.first_byte),
        "longest_gap_ms": of(|sample| sample.longest_gap),
        "reads_per_answer": reads as f64 / samples.done.len().max(1) as f64,
    })
}

async fn converse(arguments: Arguments, mut texts: Texts, quota: usize, deadline: Instant) -> Samples {
    let mut samples = Samples::default();
    let mut sender = None;
    // Connections in step would queue behind each other and measure that.
    texts.rest(arguments.pause_ms).await;
    while Instant::now() < deadline && samples.done.len() + samples.errors < quota {
        match ask(&arguments, &mut texts, &mut sender).await {
            Ok(sample) => samples.done.push(sample),
            Err(error) => {
                samples.errors += 1;
                samples.first_error.get_or_insert(error);
                sender = None;
                // A server that refuses at once must not be asked in a tight loop.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        texts.rest(arguments.pause_ms).await;
    }
    samples
}

type Sender = SendRequest<Full<Bytes>>;

async fn connect(url: &Uri) -> Result<Sender, String> {
    let authority = url.authority().ok_or("the URL has no host")?;
    let address = (authority.host(), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn ask(arguments: &Arguments, texts: &mut Texts, sender: &mut Option<Sender>) -> Result<Sample, String> {
    let mut kept = sender.take();
    if let Some(sender) = &mut kept
        && sender.ready().await.is_err()
    {
        kept = None;
    }
    let mut ready = match kept {
        Some(sender) => sender,
        None => connect(&arguments.url).await?,
    };
    let body = texts.body(&arguments.model, arguments.stream);
    let mut request = Request::post(arguments.url.path())
        .header("host", arguments.url.authority().map_or("", |authority| authority.as_str()))
        .header("authorization", "Bearer sk-standin")
        .header("content-type", "application/json")
        .header("accept", "application/json");
    if let Some(standin) = &arguments.standin {
        request = request.header("x-standin", standin);
    }
    let request = request.body(Full::new(body.into())).map_err(|error| error.to_string())?;

    let begun = Instant::now();
    ready.ready().await.map_err(|error| error.to_string())?;
    let response = ready.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let closes = response.headers().get("connection").is_some_and(|value| value == "close");
    let mut body = response.into_body();
    let mut first_byte = None;
    let mut last = begun;
    let mut longest_gap = Duration::ZERO;
    let mut reads = 0;
    let mut end = Vec::new();
    while let Some(frame) = body.frame().await {
        let now = Instant::now();
        let frame = frame.map_err(|error| error.to_string())?;
        if first_byte.is_none() {
            first_byte = Some(now - begun);
        } else {
            longest_gap = longest_gap.max(now - last);
        }
        last = now;
        reads += 1;
        if let Ok(data) = frame.into_data() {
            // A proxy cuts where its buffer ends, so the last read may be less
            // than the last event.
            end.extend_from_slice(&data[data.len().saturating_sub(DONE.len())..]);
            end.drain(..end.len().saturating_sub(DONE.len()));
        }
    }
    let total = begun.elapsed();
    if status != StatusCode::OK {
        return Err(format!("status {status}"));
    }
    if arguments.stream && end != DONE {
        return Err("the stream has no end".to_owned());
    }
    if !closes {
        *sender = Some(ready);
    }
    Ok(Sample { first_byte: first_byte.ok_or("the answer is empty")?, total, longest_gap, reads })
}

const DONE: &[u8] = b"data: [DONE]\n\n";

/// Request bodies that do not repeat.
struct Texts {
    prefix: String,
    serial: u64,
    random: u64,
    bytes: usize,
}

const SYSTEM: &str = "You are a support assistant of a utility company. Answer in the customer's language, \
in at most five sentences. Never promise a refund. If the customer asks about an outage, give the number of \
the hotline. If you do not know, say so and open a ticket.";

const WORDS: [&str; 32] = [
    "the", "meter", "reading", "of", "last", "month", "was", "not", "sent", "because", "I", "moved", "to", "another",
    "flat", "in", "spring", "and", "your", "letter", "says", "that", "my", "contract", "ends", "soon", "please",
    "explain", "invoice", "again", "with", "details",
];

impl Texts {
    fn next(&mut self) -> u64 {
        // xorshift64: any order of words will do, so long as it is another.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Waits between half of the pause and one and a half of it.
    async fn rest(&mut self, pause_ms: u64) {
        if pause_ms > 0 {
            let pause_us = pause_ms * 500 + self.next() % (pause_ms * 1000);
            tokio::time::sleep(Duration::from_micros(pause_us)).await;
        }
    }

    fn body(&mut self, model: &str, stream: bool) -> String {
        self.serial += 1;
        let mut text = format!("Ticket {}-{}. ", self.prefix, self.serial);
        // One in eight names somebody, about as a support desk sees it.
        if self.serial.is_multiple_of(8) {
            let number = self.next() % 9000 + 1000;
            let _ = write!(text, "Write to anna.{number}@nordwind-bank.de or call +1 650 253 {number}. ");
        }
        // 600: the system message, the field names, the quotes.
        while text.len() + 600 < self.bytes {
            let mut random = self.next();
            for _ in 0..10 {
                text.push_str(WORDS[usize::try_from(random & 31).expect("five bits")]);
                text.push(' ');
                random >>= 5;
            }
            text.push_str(". ");
        }
        json!({
            "model": model,
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}],
            "temperature": 0.2,
            "stream": stream,
        })
        .to_string()
    }
}
