//! `tabellion-standin --listen 127.0.0.1:PORT`: the stand-in as a process.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the address on standard output is this program's interface"
)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;

/// A stand-in for OpenAI and Anthropic, for demos, tests and benchmarks.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 picks a free one. Printed once it listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tabellion-standin: {error}");
            ExitCode::from(3)
        }
    }
}

async fn run(arguments: Arguments) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(arguments.listen).await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    tokio::select! {
        served = tabellion_standin::serve(listener) => served,
        stopped = tokio::signal::ctrl_c() => stopped,
    }
}
