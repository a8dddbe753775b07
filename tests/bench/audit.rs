//! The API server's audit log: who wrote what, and when, to the microsecond.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

/// The name that the operator's writes bear.
pub const OPERATOR: &str = "nightshift";

/// One request, as the audit log tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    pub verb: String,
    user: User,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    /// When the API server got it.
    #[serde(rename = "requestReceivedTimestamp")]
    pub received: Timestamp,
    /// When the API server had answered it.
    #[serde(rename = "stageTimestamp")]
    pub answered: Timestamp,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    namespace: String,
    name: String,
    subresource: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl Request {
    /// Who sent it, in short.
    pub fn user(&self) -> &str {
        self.user.username.rsplit(':').next().unwrap_or_default()
    }

    /// `jobs`, `automationruns/status` …
    pub fn resource(&self) -> String {
        let ObjectRef { resource, subresource, .. } = &self.object_ref;
        if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") }
    }

    pub fn namespace(&self) -> &str {
        &self.object_ref.namespace
    }

    pub fn name(&self) -> &str {
        &self.object_ref.name
    }

    pub fn is_read(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list")
    }

    pub fn is_event(&self) -> bool {
        self.object_ref.resource == "events"
    }

    /// Whether it was refused.
    pub fn code(&self) -> u16 {
        self.response_status.code
    }

    fn is_write_of_operator(&self) -> bool {
        !self.is_read() && self.user() == OPERATOR
    }
}

/// Reads the log from where it was when measuring began.
pub struct Audit {
    path: PathBuf,
}

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

impl Audit {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The present end of the log, once the API server has written what it holds back.
    pub async fn mark(&self) -> anyhow::Result<Mark> {
        sleep(Duration::from_millis(1200)).await;
        Ok(Mark(std::fs::metadata(&self.path).context("the audit log")?.len()))
    }

    /// Everything since `mark`. What the API server still holds back (for half a second) is not in it.
    pub fn since(&self, mark: Mark) -> anyhow::Result<Vec<Request>> {
        let mut file = File::open(&self.path).context("the audit log")?;
        file.seek(SeekFrom::Start(mark.0))?;
        let mut requests = Vec::new();
        for line in BufReader::new(file).lines() {
            // The last line may be half written.
            if let Ok(request) = serde_json::from_str(&line?) {
                requests.push(request);
            }
        }
        Ok(requests)
    }

    /// Everything since `mark`, once the operator has written nothing for two seconds; or what there is after `limit`.
    pub async fn settled(&self, mark: Mark, limit: Duration) -> anyhow::Result<Vec<Request>> {
        let end = Instant::now() + limit;
        let mut quiet = 0;
        let mut known = usize::MAX;
        loop {
            sleep(Duration::from_millis(700)).await;
            let requests = self.since(mark)?;
            let writes = requests.iter().filter(|request| request.is_write_of_operator()).count();
            quiet = if writes == known { quiet + 1 } else { 0 };
            known = writes;
            if quiet >= 3 || Instant::now() >= end {
                return Ok(requests);
            }
        }
    }
}

/// How many requests there are of each user, verb and resource.
pub fn by_kind<'a>(requests: impl IntoIterator<Item = &'a Request>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        let refused = if request.code() >= 400 { format!(" ({})", request.code()) } else { String::new() };
        *counts.entry(format!("{} {} {}{refused}", request.user(), request.verb, request.resource())).or_default() += 1;
    }
    counts
}

/// The operator's part of the requests in a namespace: its writes, its events, and its reads.
pub struct OfOperator {
    pub writes: usize,
    pub events: usize,
    pub reads: usize,
}

impl OfOperator {
    pub fn read(requests: &[Request]) -> Self {
        let count = |wanted: fn(&Request) -> bool| requests.iter().filter(|r| r.user() == OPERATOR && wanted(r)).count();
        Self {
            writes: count(|r| !r.is_read() && !r.is_event()),
            events: count(|r| !r.is_read() && r.is_event()),
            reads: count(Request::is_read),
        }
    }
}

/// Seconds between two times.
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}
