//! What the containers of a run do, pod by pod, and what the cluster does to them.

/// The life of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub start: Start,
    pub end: End,
    pub on_term: OnTerm,
}

/// How a pod gets on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Its container begins after so many seconds.
    After(i64),
    /// No node takes it: the kubelet never accepts it, so its deadline never counts.
    Unschedulable,
    /// The kubelet has it, and its image cannot be pulled.
    NoImage,
    /// The kubelet has it, and a Secret is missing.
    NoSecret,
    /// The kubelet has it, and a volume cannot be mounted: only an Event says so.
    NoMount,
}

/// How it ends by itself, so many seconds after its container began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exit { after: i64, code: i32 },
    OutOfMemory { after: i64 },
    CannotStart,
    Evicted { after: i64 },
    NodeLost { after: i64 },
    Never,
}

/// What the container does with SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTerm {
    Dies,
    Exits { after: i64, code: i32 },
    Ignores,
}

impl Life {
    /// Begins at once, ends with the code after so many seconds, dies of SIGTERM.
    pub fn exit(after: i64, code: i32) -> Self {
        Self { start: Start::After(1), end: End::Exit { after, code }, on_term: OnTerm::Dies }
    }

    pub fn of(end: End) -> Self {
        Self { end, ..Self::exit(1, 0) }
    }

    pub fn stuck(start: Start) -> Self {
        Self { start, ..Self::exit(1, 0) }
    }

    pub fn on_term(self, on_term: OnTerm) -> Self {
        Self { on_term, ..self }
    }
}

/// What the pods of each run do: a run takes one of these, by its name; its n-th pod does what stands at n, and those
/// after the last what the last does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script(pub Vec<Vec<Life>>);

impl Script {
    pub fn of_run(&self, run: &str) -> &[Life] {
        let index = super::hash(run) % u64::try_from(self.0.len()).unwrap_or(1);
        &self.0[usize::try_from(index).unwrap_or(0)]
    }

    pub fn life(&self, run: &str, nth: usize) -> &Life {
        let lives = self.of_run(run);
        &lives[nth.min(lives.len() - 1)]
    }
}
