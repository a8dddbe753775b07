//! The operator.

use std::net::SocketAddr;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use nightshift::{
    clock::Clock,
    controller::Operator,
    metrics::Metrics,
    probe,
    telemetry::{self, LogFormat},
};
use tokio::signal::unix::{SignalKind, signal};

/// Scripts and cron lines as owned, recorded automation on Kubernetes
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator until it is stopped
    Operator(OperatorArgs),
}

#[derive(Args)]
struct OperatorArgs {
    /// Namespace to look after; repeat for several [default: all]
    #[arg(long = "namespace", value_name = "NAMESPACE", env = "NIGHTSHIFT_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Address that answers /livez, /readyz and /metrics
    #[arg(long, default_value = "0.0.0.0:8080", env = "NIGHTSHIFT_LISTEN")]
    listen: SocketAddr,
    /// How log lines look
    #[arg(long, value_enum, default_value = "text", env = "NIGHTSHIFT_LOG_FORMAT")]
    log_format: LogFormat,
    /// Log level: error, warn, info, debug or trace; or target=level pairs
    #[arg(long, default_value = "info", env = "NIGHTSHIFT_LOG")]
    log: String,
}

// One thread: reconciling is waiting for the API server, and threads that hand over to one another at each answer cost
// more than all the rest.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Cli { command: Command::Operator(args) } = Cli::parse();
    telemetry::start(args.log_format, &args.log)?;
    let client =
        kube::Client::try_default().await.context("finding the cluster: inside one by the service account, outside by KUBECONFIG")?;
    let operator = Operator::new(client, &args.namespaces, Clock::system(), Metrics::new()?);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespaces = ?args.namespaces, "nightshift operator");
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        served = probe::serve(args.listen, operator.context.clone()) => served,
        () = operator.run() => anyhow::bail!("the watches ended"),
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("waiting for a signal"),
    }
}
