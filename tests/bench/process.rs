//! What a process has used, from `/proc`.

use std::{fs, time::Duration};

/// `/proc` counts in hundredths of a second, on every Linux that we run on.
const TICK: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub pid: u32,
}

impl Process {
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// User and system time so far; zero where the process is gone.
    pub fn cpu(self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // After the name, which is in parentheses and may hold anything: fields 14 and 15 of all, 12 and 13 of the rest.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u32 = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
        TICK * ticks
    }

    /// A line of `/proc/PID/status` in KiB: `VmHWM`, the most memory that it ever had, or `VmRSS`, what it has now.
    pub fn memory_kib(self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let value = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
        value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }
}
