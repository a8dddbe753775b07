//! One of several operators, as a process that can be killed, stopped and frozen. What it says goes over a wire.

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::json;

use super::wire::Wire;
use crate::support::{eventually, operator_client, unique};

/// A process, which is killed when this is dropped.
pub struct Replica {
    pub name: &'static str,
    pub wire: Wire,
    child: Child,
    /// Where it tells whether it is ready.
    listens: SocketAddr,
    files: PathBuf,
}

impl Replica {
    /// Starts one that serves the namespace, and takes part in the election that is held there.
    pub async fn start(name: &'static str, namespace: &str) -> Self {
        // Admission lets nobody else write what is the operator's.
        let wire = Wire::new(operator_client().await).await;
        let files = env::temp_dir().join(format!("nightshift-replica-{}", unique()));
        fs::create_dir_all(&files).expect("a folder");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "wire",
            "clusters": [{ "name": "wire", "cluster": { "server": format!("http://{}", wire.address) } }],
            "contexts": [{ "name": "wire", "context": { "cluster": "wire", "user": "wire" } }],
            "users": [{ "name": "wire", "user": {} }],
        });
        fs::write(files.join("kubeconfig"), config.to_string()).expect("a file");
        // Free a moment ago. Its own choice would be known to nobody.
        let listens = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port of this machine");
        let log = fs::File::create(files.join("log")).expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_nightshift"))
            .args(["operator", "--listen", &listens.to_string(), "--log", "info,nightshift=debug", "--identity", name])
            .args(["--namespace", namespace, "--leader-election-lease", &format!("{namespace}/election")])
            .env("KUBECONFIG", files.join("kubeconfig"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the operator starts");
        Self { name, wire, child, listens, files }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.files.join("log")).unwrap_or_default()
    }

    /// Awaits that it has said so.
    pub async fn says(&self, words: &str) {
        eventually(&format!("{} says {words:?}", self.name), Duration::from_secs(60), async || {
            let log = self.log();
            if log.contains(words) { Ok(()) } else { Err(log) }
        })
        .await;
    }

    /// Awaits that it has read all that there is.
    pub async fn ready(&self) {
        eventually(&format!("{} is ready", self.name), Duration::from_secs(60), async || {
            let answer = self.ask("/readyz").map_err(|error| format!("{error}\n{}", self.log()))?;
            if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
        })
        .await;
    }

    fn ask(&self, path: &str) -> std::io::Result<String> {
        let limit = Duration::from_secs(1);
        let mut stream = TcpStream::connect_timeout(&self.listens, limit)?;
        stream.set_read_timeout(Some(limit))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    pub fn kill(&self) {
        self.signal("KILL");
    }

    pub fn stop(&self) {
        self.signal("TERM");
    }

    /// Freezes it, and returns when it is frozen.
    pub async fn freeze(&self) {
        self.signal("STOP");
        let stat = format!("/proc/{}/stat", self.child.id());
        eventually("it is frozen", Duration::from_secs(5), async || {
            let stat = fs::read_to_string(&stat).expect("it is there");
            let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
            if state == Some("T") { Ok(()) } else { Err(stat) }
        })
        .await;
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Awaits its end.
    pub async fn ended(&mut self) -> ExitStatus {
        for _ in 0..200 {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} does not end; its log:\n{}", self.name, self.log());
    }

    fn signal(&self, name: &str) {
        // The standard library knows no other signal than KILL.
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {}", self.child.id());
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        if let Ok(status) = self.child.wait()
            && std::thread::panicking()
        {
            eprintln!(
                "--- {}: {status} (signal {:?}); writes: {:#?}; log:\n{}",
                self.name,
                status.signal(),
                self.wire.writes(),
                self.log()
            );
        }
        let _ = fs::remove_dir_all(&self.files);
    }
}
