//! Where and when it was measured.

use std::{fs, process::Command, thread};

use serde_json::{Value, json};

pub fn describe(versions: &str) -> Value {
    let line = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .map(|value| value.trim_matches([' ', '\t', ':']).to_owned())
            .unwrap_or_default()
    };
    let commit = Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    json!({
        "date": nightshift::clock::Clock::system().now_in_seconds().to_string(),
        "commit": commit,
        "nightshift": env!("CARGO_PKG_VERSION"),
        "cluster": versions,
        "cores": thread::available_parallelism().map_or(0, usize::from),
        "cpu": line("/proc/cpuinfo", "model name"),
        "memory": line("/proc/meminfo", "MemTotal"),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "loadBefore": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
    })
}
