//! What the end of one pod means.

use super::{ContainerSeen, PodPhase, PodSeen, StopReason, reason};
use crate::api::{AttemptClass, ExitCodes, Otherwise};

/// What the end of an attempt means, and the rule or fact that decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its class.
    pub class: AttemptClass,
    /// Why, in one word.
    pub reason: String,
    /// The same in a sentence.
    pub message: String,
}

fn ended(class: AttemptClass, reason: &str, message: String) -> Ended {
    Ended { class, reason: reason.to_owned(), message }
}

/// Says what the end of a pod means; `None` while it has not ended.
///
/// The order matters: a timeout stays a timeout, and a stop a stop, whatever code the container answers the signal
/// with; a pod that the cluster took away is not the script's failure; only then does the exit code speak.
#[must_use]
pub fn classify(pod: &PodSeen, codes: &ExitCodes, stopped: Option<StopReason>) -> Option<Ended> {
    if pod.is_live() {
        return None;
    }
    let code = match &pod.main {
        Some(ContainerSeen::Terminated { code, .. }) => Some(*code),
        _ => None,
    };
    let with_code = code.map_or(String::new(), |code| format!("; the container ended with exit code {code}"));
    if pod.phase == PodPhase::Succeeded {
        let disturbed = match &pod.disruption {
            Some(why) => Some(format!("the cluster took the pod away ({why})")),
            None => ended_after_deletion(pod).then(|| "somebody deleted the pod".to_owned()),
        };
        return Some(match disturbed {
            Some(what) => ended(
                AttemptClass::Success,
                reason::COMPLETED_DURING_DISRUPTION,
                format!("exit code 0 after SIGTERM, while {what}: check that the work was done"),
            ),
            None => ended(AttemptClass::Success, reason::COMPLETED, "exit code 0".to_owned()),
        });
    }
    if pod.reason.as_deref() == Some("DeadlineExceeded") {
        return Some(match stopped {
            Some(stop) => ended(AttemptClass::Stopped, stop.as_str(), format!("stopped by the operator{with_code}")),
            None => ended(
                AttemptClass::TimedOut,
                reason::ATTEMPT_TIMEOUT,
                format!("ran longer than timeouts.attemptSeconds ({} s){with_code}", pod.deadline_seconds.unwrap_or(0)),
            ),
        });
    }
    if let Some(why) = &pod.disruption {
        return Some(ended(AttemptClass::Disrupted, reason::DISRUPTED, format!("the cluster took the pod away: {why}{with_code}")));
    }
    Some(match &pod.main {
        Some(ContainerSeen::Terminated { code, reason: why, message, .. }) => by_container(*code, why, message, pod, codes),
        _ => before_main(pod),
    })
}

/// The pod failed and `main` never ran.
fn before_main(pod: &PodSeen) -> Ended {
    let told = pod.message.clone();
    match (by_node(pod), &pod.other_failed) {
        (Some(why), _) => ended(AttemptClass::Retryable, why, told.unwrap_or_else(|| "the node ended the pod".to_owned())),
        (None, Some((name, code))) => {
            let message = format!("container {name} failed with exit code {code}, so container main never ran");
            ended(AttemptClass::Retryable, reason::OTHER_CONTAINER_FAILED, message)
        }
        (None, None) => {
            let message = told.unwrap_or_else(|| "the pod failed before its container ran".to_owned());
            ended(AttemptClass::Retryable, reason::POD_GONE, message)
        }
    }
}

/// Why the node ended the pod, for example `Evicted` where it used more disk than it may.
fn by_node(pod: &PodSeen) -> Option<&str> {
    pod.reason.as_deref().filter(|why| !why.is_empty())
}

/// Whether `main` ended only when somebody had asked for the pod's deletion.
fn ended_after_deletion(pod: &PodSeen) -> bool {
    let finished = match &pod.main {
        Some(ContainerSeen::Terminated { finished, .. }) => *finished,
        _ => None,
    };
    pod.delete_requested.is_some_and(|asked| finished.is_none_or(|finished| finished >= asked))
}

fn by_container(code: i32, why: &str, message: &str, pod: &PodSeen, codes: &ExitCodes) -> Ended {
    if let Some(why) = by_node(pod) {
        // The Job controller goes by the code here too; 0 matches none of its rules.
        let class = if code == 0 { AttemptClass::Retryable } else { of_kill(by_code(code, codes).0) };
        let told = pod.message.as_deref().unwrap_or("the node ended the pod");
        return ended(class, why, format!("{told}; the container ended with exit code {code}"));
    }
    if code == 0 {
        let (name, other) = pod.other_failed.clone().unwrap_or_else(|| ("another container".to_owned(), 0));
        let message = format!("container main ended with exit code 0, but {name} failed with exit code {other}");
        return ended(AttemptClass::Retryable, reason::OTHER_CONTAINER_FAILED, message);
    }
    let (class, rule, sentence) = by_code(code, codes);
    let class_of_kill = of_kill(class);
    match why {
        "OOMKilled" => {
            ended(class_of_kill, why, "the container used more memory than resources.limits.memory allows and was killed".to_owned())
        }
        "StartError" | "ContainerCannotRun" => {
            ended(class_of_kill, "StartError", format!("the command cannot be started: {}", first_line(message)))
        }
        "ContainerStatusUnknown" => ended(class_of_kill, why, "the node lost the container; its exit code is not known".to_owned()),
        _ if ended_after_deletion(pod) => ended(
            class_of_kill,
            reason::POD_DELETED,
            format!("somebody deleted the pod while it ran; the container ended with exit code {code}"),
        ),
        _ => ended(class, rule, sentence),
    }
}

/// Kubernetes' own kills are no message from the script, so they are never "no data"; whether they are retried is for the
/// lists to say, because that is what the Job controller goes by.
fn of_kill(class: AttemptClass) -> AttemptClass {
    if class == AttemptClass::NoData { AttemptClass::Retryable } else { class }
}

/// What an exit code other than 0 means.
#[must_use]
pub(super) fn by_code(code: i32, codes: &ExitCodes) -> (AttemptClass, &'static str, String) {
    let listed = |list: &str| format!("exit code {code} is listed in exitCodes.{list}");
    if codes.no_data.contains(&code) {
        (AttemptClass::NoData, reason::EXIT_CODE_NO_DATA, listed("noData"))
    } else if codes.fatal.contains(&code) {
        (AttemptClass::Fatal, reason::EXIT_CODE_FATAL, listed("fatal"))
    } else if codes.retryable.contains(&code) {
        (AttemptClass::Retryable, reason::EXIT_CODE_RETRYABLE, listed("retryable"))
    } else {
        let otherwise = codes.otherwise.unwrap_or_default();
        let class = if otherwise == Otherwise::Fatal { AttemptClass::Fatal } else { AttemptClass::Retryable };
        let signal = match code {
            137 => " (killed by SIGKILL)",
            143 => " (ended by SIGTERM)",
            129..=159 => " (ended by a signal)",
            _ => "",
        };
        (
            class,
            reason::EXIT_CODE_OTHERWISE,
            format!("exit code {code}{signal} is in no list of exitCodes, so exitCodes.otherwise ({otherwise:?}) applies"),
        )
    }
}

pub(super) fn first_line(text: &str) -> &str {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("").trim()
}
