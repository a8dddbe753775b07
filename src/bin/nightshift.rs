//! The operator.

use std::{future::pending, net::SocketAddr};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use kube::{Config, client::ClientBuilder};
use nightshift::{
    clock::Clock,
    controller::Operator,
    leader::{Election, Leadership, LeaseName},
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
    /// Lease by which several operators agree on one that writes, as NAMESPACE/NAME; the others stand by and take over
    /// within 15 seconds. All that serve the same namespaces must name the same [default: none, this is the only one]
    #[arg(long, value_name = "NAMESPACE/NAME", env = "NIGHTSHIFT_LEASE")]
    leader_election_lease: Option<LeaseName>,
    /// Name in the Lease that no other process has at the same time, such as pod name and UID; whoever starts under the
    /// name that holds the Lease takes it for its own [default: the host's name and random digits]
    #[arg(long, value_name = "NAME", env = "NIGHTSHIFT_IDENTITY", requires = "leader_election_lease")]
    identity: Option<String>,
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
    let config = Config::infer().await.context("finding the cluster: inside one by the service account, outside by KUBECONFIG")?;
    let (clock, metrics) = (Clock::system(), Metrics::new()?);
    let mut election = args
        .leader_election_lease
        .map(|lease| Election::new(config.clone(), lease, args.identity, clock, metrics.clone()))
        .transpose()
        .context("making a client for the Lease")?;
    let leadership = election.as_ref().map_or_else(Leadership::always, Election::leadership);
    metrics.leads(leadership.is_held());
    let client = ClientBuilder::try_from(config).context("making a client")?.with_layer(&leadership.gate()).build();
    let operator = Operator::elected(client, &args.namespaces, clock, metrics, leadership);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespaces = ?args.namespaces, "nightshift operator");
    let ended = until_ended(args.listen, operator, election.as_mut()).await;
    // The operator is dropped by now: nobody plans any more, and the next one may.
    if let Some(election) = election {
        election.release().await;
    }
    ended
}

/// Runs until somebody stops it, which is good, or it cannot go on.
async fn until_ended(listen: SocketAddr, operator: Operator, election: Option<&mut Election>) -> anyhow::Result<()> {
    let lost = async {
        match election {
            Some(election) => election.run().await,
            None => pending().await,
        }
    };
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        served = probe::serve(listen, operator.context.clone()) => served,
        () = operator.run() => anyhow::bail!("the watches ended"),
        why = lost => anyhow::bail!("lost the lease: {why}"),
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("waiting for a signal"),
    }
}
