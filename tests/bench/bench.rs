//! `make bench`: what a run costs, side by side with bare Jobs on the same cluster. See `cases` for what is measured.
//!
//! The cluster has a real API server and real controllers; kwok plays nodes and pods. It is started by
//! `deploy/bench/run.sh`, the operator by this process. Times come from the API server's audit log (microseconds, one
//! clock for all writers), since the timestamps of objects tell whole seconds only.

mod audit;
mod cases;
mod cluster;
mod figures;
mod load;
mod machine;
mod namespace;
mod objects;
mod operator;
mod process;
mod report;
mod seed;

use anyhow::{Context, bail};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // `cargo bench` adds `--bench`; and `cargo test --all-targets` runs this too, where there is nothing to measure on.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--") && !argument.is_empty()).collect();
    if wanted.iter().any(|case| case == "list") {
        for case in cases::ALL {
            println!("  {:<12} {}", case.name, case.what);
        }
        return Ok(());
    }
    let Some(cluster) = cluster::Cluster::of_environment().await? else {
        println!("nothing to measure on: make bench starts a cluster");
        return Ok(());
    };
    let chosen: Vec<&cases::Case> =
        cases::ALL.iter().filter(|case| wanted.is_empty() || wanted.iter().any(|name| name == case.name)).collect();
    if chosen.is_empty() {
        bail!("there is no case {}; make bench CASE=list names them", wanted.join(", "));
    }
    let mut bench = cases::Bench::new(cluster).await.context("preparing the cluster")?;
    for case in chosen {
        println!("{} — {}", case.name, case.what);
        let began = tokio::time::Instant::now();
        if let Err(error) = case.run(&mut bench).await {
            bench.report.failed(case.name, &error);
        }
        println!("       took {:.0} s", began.elapsed().as_secs_f64());
        // What was measured so far is on disk whatever happens next.
        bench.report.write(&bench.cluster.results)?;
    }
    bench.operator.stop().await;
    bench.report.print();
    Ok(())
}
