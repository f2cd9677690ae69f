//! `tabellion witness`

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tabellion_evidence::note::VerifierKey;
use tabellion_gateway::{Limits, listen};
use tokio::net::TcpListener;

use super::serve::{runtime, signals};
use crate::cli::WitnessArgs;
use crate::failure::Failure;
use crate::witness::Witness;
use crate::{Ended, ui};

pub(crate) fn run(args: &WitnessArgs) -> Ended {
    let mut logs = Vec::new();
    for text in &args.log {
        logs.extend(super::verify::keys(text)?);
    }
    if let Some(path) = &args.logs {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::environment(format!("cannot read {}", path.display())).because(error))?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let key = VerifierKey::parse(line);
                logs.push(key.map_err(|error| {
                    Failure::usage(format!("line {} of the file of logs", number + 1)).because(error)
                })?);
            }
        }
    }
    if logs.is_empty() {
        return Err(Failure::usage("a witness needs a log").hint("name one with --log, or a file of them with --logs"));
    }
    if let Some(key) = logs.iter().find(|key| !key.algorithm().is_log() || key.name().len() > 255) {
        return Err(Failure::usage(format!("{} is not a key whose log can be cosigned", ui::plain(key.name()))));
    }
    if !args.listen.ip().is_loopback() && !args.protected_by_others {
        return Err(Failure::usage("--listen is not a loopback address")
            .hint("say --protected-by-others if a proxy in front of it provides TLS"));
    }
    let witness = Arc::new(Witness::open(&args.data, args.name.as_deref(), logs)?);
    runtime()?.block_on(async {
        let told = signals()?;
        let failed = |error| Failure::environment(format!("cannot listen on {}", args.listen)).because(error);
        let listener = TcpListener::bind(args.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        ui::note(format!("witness   http://{address}/add-checkpoint, of {} logs", witness.logs()));
        for key in witness.vkeys() {
            ui::note(format!("          {key}"));
        }
        let limits = Limits {
            connections_max: args.connections_max,
            header_timeout: Duration::from_secs(10),
            grace: Duration::from_secs(5),
        };
        listen(listener, limits, None, told, move |request, _| witness.clone().handle(request)).await;
        Ok(ExitCode::SUCCESS)
    })
}
