//! The operator as a process of its own: the release build, started and stopped by its id.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use crate::{cluster::Cluster, process::Process};

const LISTEN: &str = "127.0.0.1:18080";

pub struct Operator {
    binary: PathBuf,
    kubeconfig: PathBuf,
    log: PathBuf,
    pid_file: PathBuf,
    running: Option<Child>,
}

impl Operator {
    pub fn new(cluster: &Cluster) -> Self {
        // Another build can be measured in the place of this tree's, to compare the two.
        let binary = std::env::var_os("NIGHTSHIFT_BENCH_OPERATOR").map_or_else(|| env!("CARGO_BIN_EXE_nightshift").into(), PathBuf::from);
        Self {
            binary,
            kubeconfig: cluster.kubeconfig_of_operator(),
            log: cluster.operator_log(),
            pid_file: cluster.operator_pid(),
            running: None,
        }
    }

    /// Starts it, without waiting for anything. Its log is appended to.
    pub fn spawn(&mut self) -> anyhow::Result<Process> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.binary)
            .args(["operator", "--listen", LISTEN])
            .env("KUBECONFIG", &self.kubeconfig)
            // As the processes of the cluster are marked, so that `run.sh` knows it should we be killed.
            .env("NIGHTSHIFT_LOCAL_CLUSTER", "bench-operator process")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        let process = Process::new(child.id());
        fs::write(&self.pid_file, format!("{}\n", process.pid))?;
        self.running = Some(child);
        Ok(process)
    }

    /// Starts it unless it runs, and waits until its caches are filled.
    pub async fn up(&mut self) -> anyhow::Result<Process> {
        if let Some(process) = self.process() {
            return Ok(process);
        }
        let process = self.spawn()?;
        self.ready().await?;
        Ok(process)
    }

    pub fn process(&self) -> Option<Process> {
        self.running.as_ref().map(|child| Process::new(child.id()))
    }

    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            if get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Ok(());
            }
            if let Some(ended) = self.running.as_mut().context("it was not started")?.try_wait()? {
                bail!("the operator ended: {ended}; its log: {}", self.log.display());
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!("the operator is not ready after 60 s; its log: {}", self.log.display())
    }

    /// Stops it as Kubernetes would, and kills it where it does not end within ten seconds.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.running.take() else { return };
        // The standard library has no call for SIGTERM.
        let _ = Command::new("kill").arg(child.id().to_string()).status();
        let end = Instant::now() + Duration::from_secs(10);
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
            sleep(Duration::from_millis(20)).await;
        }
        let _ = child.kill();
        let _ = child.wait();
        let _ = fs::remove_file(&self.pid_file);
    }

    /// The operator's own counters, by name and labels.
    pub fn counters(&self) -> Vec<(String, f64)> {
        let text = self.process().and_then(|_| get("/metrics")).unwrap_or_default();
        let lines = text.lines().filter(|line| line.starts_with("nightshift_"));
        lines.filter_map(|line| line.rsplit_once(' ')).filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One request to the operator's own port; `None` where nobody answers within a second.
fn get(path: &str) -> Option<String> {
    let limit = Some(Duration::from_secs(1));
    let mut stream = TcpStream::connect_timeout(&LISTEN.parse().ok()?, limit?).ok()?;
    stream.set_read_timeout(limit).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
