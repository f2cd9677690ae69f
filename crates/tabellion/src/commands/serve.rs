//! `tabellion serve`

use std::process::ExitCode;

use crate::cli::LogArgs;
use crate::config::Config;
use crate::failure::Failure;
use crate::serve::Server;
use crate::{Ended, ui};

pub(crate) fn run(args: &LogArgs) -> Ended {
    let config = Config::load(args.config.as_deref(), args.data.as_deref())?;
    runtime()?.block_on(async {
        // Listened for before anybody can know that the server is there, and may want to stop it.
        let told = signals()?;
        let server = Server::start(&config).await?;
        greet(&config, &server);
        told.await;
        tracing::info!("stopping");
        server.stop().await?;
        Ok(ExitCode::SUCCESS)
    })
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::environment("cannot start threads").because(error))
}

fn greet(config: &Config, server: &Server) {
    let log = &server.log;
    ui::note(format!("log       {} ({} entries) in {}", log.origin, log.size, config.data.display()));
    if log.interrupted > 0 {
        ui::note(format!("          {} exchanges had been interrupted and are closed now", log.interrupted));
    }
    ui::note(format!("gateway   {}", server.urls.gateway));
    ui::note(format!("console   {}", server.urls.console));
    ui::note("");
    ui::note("Point an application at it, and nothing else changes:");
    if config.upstream.iter().any(|upstream| upstream.default) {
        ui::note(format!("  OPENAI_BASE_URL={}/v1", server.urls.gateway));
    }
    for upstream in &config.upstream {
        let name = &upstream.name;
        let variable = if name == "anthropic" { "ANTHROPIC_BASE_URL=" } else { "" };
        ui::note(format!("  {variable}{}/{name}", server.urls.gateway));
    }
}

/// Returns when the process is told to stop.
pub(super) async fn wait_for_signal() -> Result<(), Failure> {
    signals()?.await;
    Ok(())
}

/// From now on the process is not ended by being told to stop; this is.
pub(super) fn signals() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| Failure::environment("cannot wait for signals").because(error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
