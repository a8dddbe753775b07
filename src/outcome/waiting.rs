//! Why a pod that should run does not.

use jiff::Timestamp;

use super::{ContainerSeen, JobSeen, PodSeen, classify::first_line};

/// Something that an Event says about the Job or one of its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The Event's reason, for example `FailedCreate` or `FailedMount`.
    pub reason: String,
    /// The Event's message.
    pub message: String,
    /// When that was last so, where the Event tells.
    pub last: Option<Timestamp>,
}

const MEND_SECRET: &str = "; create it, or correct secrets[].secretKeyRef";
const MEND_IMAGE: &str = "; correct the image, or give the pod its pull secret";
const MEND_CONTAINER: &str = "; most often a ConfigMap is missing, or the image wants to run as root";

fn unschedulable(why: &str) -> (String, String) {
    let fix = "; lower resources.requests, correct the node selector, or add nodes";
    ("Unschedulable".to_owned(), format!("no node can take the pod: {why}{fix}"))
}

/// A pod that starts in the usual way is said to be this, and nothing finer: its steps pass faster than it pays to write.
pub(crate) fn starting() -> (&'static str, &'static str) {
    ("Starting", "waiting for the pod to be scheduled and its container to start")
}

/// Says what a Job that ended without having begun had waited on, from its Events, which outlive its pods.
#[must_use]
pub fn waited(job: &JobSeen, troubles: &[Trouble]) -> Option<(String, String)> {
    if job.pods.iter().any(|pod| pod.begun) {
        return None;
    }
    let last = |reasons: &[&str]| troubles.iter().rev().find(|t| reasons.contains(&t.reason.as_str()));
    if let Some(trouble) = last(&["FailedScheduling"]) {
        return Some(unschedulable(first_line(&trouble.message)));
    }
    // One Event of a failed pull names the image and the cause; those after it say "Error: ErrImagePull", and no more.
    let pull = troubles.iter().rev().find(|t| t.reason == "Failed" && t.message.starts_with("Failed to pull image"));
    if let Some(trouble) = pull.or_else(|| last(&["Failed"])) {
        let (reason, fix) = if pull.is_none() && names_secret(&trouble.message) {
            ("SecretMissing", MEND_SECRET)
        } else if about_image(&trouble.message) {
            ("ImagePullBackOff", MEND_IMAGE)
        } else {
            ("CreateContainerConfigError", MEND_CONTAINER)
        };
        return Some((reason.to_owned(), format!("the container cannot start: {}{fix}", first_line(&trouble.message))));
    }
    by_mount(troubles).or_else(|| by_refusal(troubles))
}

/// Whether the kubelet's words are about a Secret or a key of one, and not about a volume or image that is called so.
fn names_secret(message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    ["secret \"", "secret key", "in secret "].iter().any(|words| lower.contains(words))
}

/// Whether they are about the image itself, and not about how it would run ("image will run as root").
fn about_image(message: &str) -> bool {
    ["ErrImage", "ImagePull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable", "pull image", "image tag"]
        .iter()
        .any(|words| message.contains(words))
}

/// Says what a Job that has not begun waits on: the reason in one word, and a sentence to act on.
#[must_use]
pub fn waiting(job: &JobSeen, troubles: &[Trouble]) -> (String, String) {
    let told = match job.pods.iter().rev().find(|pod| pod.is_live()) {
        Some(pod) => by_pod(pod, troubles),
        None if job.suspended => {
            Some(("Suspended".to_owned(), "its Job is suspended, by hand or by a queue; set spec.suspend of the Job to false".to_owned()))
        }
        None => by_refusal(troubles),
    };
    told.unwrap_or_else(|| (starting().0.to_owned(), starting().1.to_owned()))
}

fn by_pod(pod: &PodSeen, troubles: &[Trouble]) -> Option<(String, String)> {
    if let Some(why) = &pod.unschedulable {
        return Some(unschedulable(why));
    }
    let (container, reason, message) = match (&pod.init_waiting, &pod.main) {
        (Some((name, reason, message)), _) => (name.as_str(), reason.as_str(), message.as_str()),
        (None, Some(ContainerSeen::Waiting { reason, message })) => ("main", reason.as_str(), message.as_str()),
        _ => ("main", "", ""),
    };
    let detail = first_line(message);
    match reason {
        // The kubelet goes to and fro between these; one word for all keeps the status still.
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "RegistryUnavailable" | "ImageInspectError" => {
            Some(("ImagePullBackOff".to_owned(), format!("the image of container {container} cannot be pulled: {detail}{MEND_IMAGE}")))
        }
        "CreateContainerConfigError" if names_secret(detail) => {
            Some(("SecretMissing".to_owned(), format!("container {container} cannot start: {detail}{MEND_SECRET}")))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some((reason.to_owned(), format!("container {container} cannot start: {detail}{MEND_CONTAINER}")))
        }
        _ => by_mount(troubles),
    }
}

fn by_mount(troubles: &[Trouble]) -> Option<(String, String)> {
    let mut told = troubles.iter().rev().filter(|t| t.reason == "FailedMount" || t.reason == "FailedAttachVolume");
    let last = told.clone().next()?;
    // Of a pod that is on its way out the kubelet says "not registered", whatever it was that it had waited for.
    let trouble = told.find(|t| !t.message.ends_with("not registered")).unwrap_or(last);
    let secret = names_secret(&trouble.message);
    let reason = if secret { "SecretMissing" } else { trouble.reason.as_str() };
    let fix = if secret { MEND_SECRET } else { "; look at the claim, the ConfigMap or the volume's driver" };
    Some((reason.to_owned(), format!("a volume cannot be mounted: {}{fix}", first_line(&trouble.message))))
}

/// Why there is no pod at all: the API server refuses it, and only Events say so.
fn by_refusal(troubles: &[Trouble]) -> Option<(String, String)> {
    let message = &troubles.iter().rev().find(|t| t.reason == "FailedCreate")?.message;
    Some(refusal(message))
}

/// Names what the API server's refusal of a Job or pod is about.
#[must_use]
pub(crate) fn refusal(message: &str) -> (String, String) {
    let detail = first_line(message);
    let lower = detail.to_ascii_lowercase();
    let (reason, fix) = if lower.contains("exceeded quota") {
        ("QuotaExceeded", "; wait for others to end, or raise the namespace's ResourceQuota")
    } else if lower.contains("violates podsecurity") {
        ("PodSecurityDenied", "; make the template conform, or relax the namespace's Pod Security level")
    } else if lower.contains("serviceaccount") || lower.contains("service account") {
        ("ServiceAccountMissing", "; create it, or correct serviceAccountName")
    } else if lower.contains("namespace") && lower.contains("terminated") {
        ("NamespaceTerminating", "")
    } else if lower.contains("failed calling webhook") {
        ("WebhookFailed", "; an admission webhook of the cluster does not answer: mend it, or ask who runs it")
    } else {
        ("Refused", "")
    };
    (reason.to_owned(), format!("the API server refuses it: {detail}{fix}"))
}
