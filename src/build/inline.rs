//! What the API server checks of a task, for one that is written inside a step: two hundred of them would be more than it has
//! time to check with its own rules.

use std::collections::BTreeSet;

use regex::Regex;

use crate::api::{AutomationTaskSpec, ExitCodes, Retry, Timeouts};

const NAME: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
const PATH: &str = r"^(/[A-Za-z0-9._-]+)+$";

/// What is wrong with the task, each with its field below `field`.
#[must_use]
pub fn check_inline(field: &str, spec: &AutomationTaskSpec) -> Vec<String> {
    let mut check = Check { field, problems: Vec::new() };
    let image = spec.image.as_deref().unwrap_or_default();
    check.that(
        matches("^[!-~]+$", image),
        "image",
        "must be the name of an image, without blanks, such as registry.example.com/import:1.4",
    );
    let commands = spec.command.is_some() || spec.args.is_some();
    check.that(
        spec.script.is_none() || !commands,
        "script",
        "cannot stand beside command or args: the script is the command; remove one of them",
    );
    check.texts(spec);
    check.variables(spec);
    check.secrets(spec);
    check.exit_codes(spec.exit_codes.as_ref());
    if let Some(account) = &spec.service_account_name {
        check.that(matches("^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", account), "serviceAccountName", "must be the name of an object");
    }
    check.limits(spec.retry.as_ref(), spec.timeouts.as_ref());
    check.problems
}

/// What is wrong with the limits of a task as a step would have them, where each by itself is right.
#[must_use]
pub fn check_adjusted(spec: &AutomationTaskSpec) -> Vec<String> {
    let mut check = Check { field: "", problems: Vec::new() };
    check.limits(spec.retry.as_ref(), spec.timeouts.as_ref());
    check.problems
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

fn no_nul<'a>(texts: impl IntoIterator<Item = &'a String>) -> bool {
    texts.into_iter().all(|text| !text.contains('\0'))
}

struct Check<'a> {
    field: &'a str,
    problems: Vec<String>,
}

impl Check<'_> {
    fn that(&mut self, holds: bool, of: &str, otherwise: &str) {
        if !holds {
            let dot = if self.field.is_empty() { "" } else { "." };
            self.problems.push(format!("{}{dot}{of}: {otherwise}", self.field));
        }
    }

    fn limits(&mut self, retry: Option<&Retry>, timeouts: Option<&Timeouts>) {
        if let Some(retry) = retry {
            let backoff = retry.backoff.as_ref();
            self.that(
                backoff.is_none() || retry.limit.is_some_and(|limit| limit > 0),
                "retry.backoff",
                "has no effect without retries; set retry.limit to at least 1",
            );
            let reaches = backoff.is_none_or(|backoff| backoff.max_seconds.is_none_or(|most| most >= backoff.initial_seconds));
            self.that(reaches, "retry.backoff.maxSeconds", "must be at least initialSeconds");
        }
        if let Some(timeouts) = timeouts {
            let fits = timeouts.run_seconds.is_none_or(|run| run >= timeouts.attempt_seconds.unwrap_or(3600));
            self.that(
                fits,
                "timeouts.runSeconds",
                "must be at least attemptSeconds (3600 where unset): one attempt has to fit into the run",
            );
        }
    }

    fn texts(&mut self, spec: &AutomationTaskSpec) {
        const NUL: &str = "contains a NUL character, which no program can be given; remove it";
        self.that(no_nul(spec.command.iter().flatten()), "command", NUL);
        self.that(no_nul(spec.args.iter().flatten()), "args", NUL);
        self.that(no_nul(spec.env.iter().map(|variable| &variable.value)), "env", NUL);
        let script = spec.script.iter().flat_map(|script| script.interpreter.iter().flatten().chain([&script.source]));
        self.that(no_nul(script), "script", NUL);
        let long = spec.script.as_ref().is_some_and(|script| script.source.len() > 65_536);
        self.that(!long, "script.source", "must be at most 64 KiB (65536 bytes); put a longer script into the image");
    }

    /// All that becomes an environment variable has a name of its own.
    fn variables(&mut self, spec: &AutomationTaskSpec) {
        let mut known = BTreeSet::new();
        let parameters = spec.parameters.iter().map(|parameter| ("parameters", &parameter.name));
        let env = spec.env.iter().map(|variable| ("env", &variable.name));
        let secrets = spec.secrets.iter().map(|secret| ("secrets", &secret.name));
        for (list, name) in parameters.chain(env).chain(secrets) {
            let named = format!("{list} {name}");
            self.that(
                matches(NAME, name),
                &named,
                "must be letters, digits and '_', not starting with a digit: it becomes an environment variable",
            );
            self.that(
                !name.starts_with("NIGHTSHIFT_"),
                &named,
                "names starting with NIGHTSHIFT_ are given by Nightshift; use another name",
            );
            self.that(known.insert(name), &named, "another parameter, variable or secret has that name; rename one");
        }
    }

    fn secrets(&mut self, spec: &AutomationTaskSpec) {
        let paths: Vec<&String> = spec.secrets.iter().filter_map(|secret| secret.mount_path.as_ref()).collect();
        for (at, path) in paths.iter().enumerate() {
            let proper = matches(PATH, path) && path.split('/').all(|part| part != "." && part != "..");
            self.that(proper, "secrets", &format!("mountPath {path} must be the absolute path of a file, such as /etc/partner/token"));
            let apart =
                paths.iter().enumerate().all(|(other, there)| other == at || *there != *path && !there.starts_with(&format!("{path}/")));
            self.that(apart, "secrets", &format!("mountPath {path} is that of another secret, or above it; change one"));
        }
        for secret in &spec.secrets {
            let of = &secret.secret_key_ref;
            let proper = matches("^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", &of.name) && matches("^[-._a-zA-Z0-9]+$", &of.key);
            self.that(proper, "secrets", &format!("secretKeyRef of {} must name a Secret and a key in it", secret.name));
        }
    }

    fn exit_codes(&mut self, codes: Option<&ExitCodes>) {
        let Some(codes) = codes else { return };
        let lists = [("noData", &codes.no_data), ("retryable", &codes.retryable), ("fatal", &codes.fatal)];
        for (at, (one, list)) in lists.iter().enumerate() {
            for (other, there) in &lists[at + 1..] {
                let apart = list.iter().all(|code| !there.contains(code));
                self.that(apart, "exitCodes", &format!("a code stands in both {one} and {other}; keep it in one"));
            }
        }
        let kept = codes.no_data.iter().any(|code| [128, 137, 143].contains(code));
        self.that(
            !kept,
            "exitCodes.noData",
            "128, 137 and 143 are what Kubernetes itself reports for a command that cannot start, a kill and a stop; use another code",
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{InlineTask, Owner};

    fn told(task: &Value, parameters: &[&str]) -> Vec<String> {
        let task: InlineTask = serde_json::from_value(task.clone()).unwrap();
        check_inline("steps[0].task", &task.spec(&Owner::default(), parameters.iter().copied()))
    }

    #[test]
    fn what_a_task_may_be_is_taken() {
        let task = json!({
            "image": "i", "script": { "source": "exit 0" }, "env": [{ "name": "A", "value": "" }],
            "secrets": [{ "name": "B", "secretKeyRef": { "name": "s", "key": "k" } }, { "name": "C", "mountPath": "/etc/a", "secretKeyRef": { "name": "s", "key": "k" } }],
            "exitCodes": { "noData": [2], "retryable": [1], "fatal": [3] }, "retry": { "limit": 1, "backoff": { "initialSeconds": 1 } },
            "timeouts": { "attemptSeconds": 60, "runSeconds": 60 }, "serviceAccountName": "import",
        });
        assert_eq!(told(&task, &["P"]), [] as [&str; 0]);
    }

    #[test]
    fn what_a_task_may_not_be_is_told_with_the_field() {
        let secret = |name: &str, path: &str| json!({ "name": name, "mountPath": path, "secretKeyRef": { "name": "s", "key": "k" } });
        for (more, parameters, field) in [
            (json!({ "image": "a b" }), &[][..], "steps[0].task.image: "),
            (json!({ "script": { "source": "x" }, "command": ["y"] }), &[], "steps[0].task.script: cannot stand beside"),
            (json!({ "args": ["a\0"] }), &[], "steps[0].task.args: contains a NUL"),
            (json!({ "script": { "source": "a\0" } }), &[], "steps[0].task.script: contains a NUL"),
            (json!({ "env": [{ "name": "A-B", "value": "" }] }), &[], "steps[0].task.env A-B: must be letters"),
            (json!({}), &["1A"], "steps[0].task.parameters 1A: must be letters"),
            (json!({ "env": [{ "name": "NIGHTSHIFT_RUN", "value": "" }] }), &[], "steps[0].task.env NIGHTSHIFT_RUN: names starting"),
            (json!({ "env": [{ "name": "P", "value": "" }] }), &["P"], "steps[0].task.env P: another"),
            (json!({ "secrets": [secret("A", "etc")] }), &[], "steps[0].task.secrets: mountPath etc must be"),
            (json!({ "secrets": [secret("A", "/a/../b")] }), &[], "steps[0].task.secrets: mountPath /a/../b must be"),
            (json!({ "secrets": [secret("A", "/a"), secret("B", "/a/b")] }), &[], "steps[0].task.secrets: mountPath /a is that"),
            (
                json!({ "exitCodes": { "noData": [2], "fatal": [2] } }),
                &[],
                "steps[0].task.exitCodes: a code stands in both noData and fatal",
            ),
            (json!({ "exitCodes": { "noData": [137] } }), &[], "steps[0].task.exitCodes.noData: 128"),
            (json!({ "retry": { "backoff": { "initialSeconds": 5 } } }), &[], "steps[0].task.retry.backoff: has no effect"),
            (
                json!({ "retry": { "limit": 1, "backoff": { "initialSeconds": 5, "maxSeconds": 1 } } }),
                &[],
                "steps[0].task.retry.backoff.maxSeconds: ",
            ),
            (json!({ "timeouts": { "runSeconds": 60 } }), &[], "steps[0].task.timeouts.runSeconds: "),
            (json!({ "serviceAccountName": "A" }), &[], "steps[0].task.serviceAccountName: "),
        ] {
            let mut task = json!({ "image": "i" });
            task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let problems = told(&task, parameters);
            assert!(problems.iter().any(|problem| problem.starts_with(field)), "{more}: {problems:?}");
        }
    }
}
