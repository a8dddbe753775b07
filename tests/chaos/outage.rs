//! The API server itself is killed, or does not answer, under a workflow's run: its end is the same as without.

use std::{fs, path::Path, process::Command, time::Duration};

use k8s_openapi::api::{batch::v1::Job, coordination::v1::Lease};
use kube::{Api, ResourceExt, api::ListParams};
use nightshift::api::{AutomationRun, Phase, Workflow, label};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    failover::installed::{SYSTEM, signal},
    support::{Scene, client, eventually, install_crds, operator_alone, status, with_temp_namespace},
};

/// Where the local cluster keeps the ids of its processes.
const PIDS: &str = "/run/nightshift/pids";
/// Longer than a leader may be silent: the operators lose their lease, and begin anew.
const SILENCE: Duration = Duration::from_secs(20);

/// The API server's process: by its record, and by the mark that it was started with.
fn api_server() -> u32 {
    let pid = fs::read_to_string(format!("{PIDS}/kube-apiserver")).expect("the local cluster's record of its API server");
    let pid: u32 = pid.trim().parse().expect("a process id");
    let environment = fs::read(format!("/proc/{pid}/environ")).expect("its environment");
    let marked = |variable: &[u8]| variable.starts_with(b"NIGHTSHIFT_LOCAL_CLUSTER=kube-apiserver ");
    assert!(environment.split(|byte| *byte == 0).any(marked), "process {pid} is the local cluster's API server");
    pid
}

/// Starts what is missing of the local cluster, as `make cluster` does.
async fn start_again() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local/up.sh");
    let started = tokio::task::spawn_blocking(move || Command::new("timeout").arg("180").arg(script).output());
    let output = started.await.expect("it does not panic").expect("the script is there");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

async fn kill() {
    signal("KILL", api_server());
    start_again().await;
}

/// A process that goes on when this is dropped, whatever becomes of the story.
struct Frozen(u32);

impl Frozen {
    fn new(pid: u32) -> Self {
        signal("STOP", pid);
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("CONT", self.0);
    }
}

async fn freeze(scene: &Scene) {
    let transitions = async || {
        let leases = Api::<Lease>::namespaced(scene.client.clone(), SYSTEM);
        let lease = leases.get("nightshift").await.map_err(|error| error.to_string())?;
        Ok::<_, String>(lease.spec.and_then(|spec| spec.lease_transitions))
    };
    let before = transitions().await;
    let frozen = Frozen::new(api_server());
    // The time is the fault itself, and no condition to wait for.
    let asked = timeout(SILENCE, scene.api::<AutomationRun>().list(&ListParams::default())).await;
    assert!(asked.is_err(), "nobody is answered");
    drop(frozen);
    eventually("the operators have led anew", Duration::from_secs(60), async || match transitions().await {
        Ok(now) if Ok(now) != before => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
}

/// Two seconds' work, which tells of three files; `load` fails at first.
const WORK: &str =
    r#"sleep 2; printf '{"files": ["a", "b", "c"]}' > /dev/termination-log; [ "${FAILS:-no}" = no ] || [ "$NIGHTSHIFT_RETRY" -gt 0 ]"#;

async fn import(scene: &Scene) {
    let task = json!({
        "script": { "source": WORK }, "parameters": [{ "name": "FAILS" }], "outputs": [{ "name": "files", "type": "List" }],
    });
    scene.task("work", &task.to_string()).await;
    let step = |name: &str, more: Value| {
        let mut step = json!({ "name": name, "taskRef": { "name": "work" } });
        step.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        step
    };
    let after = |step: &str| json!([{ "step": step }]);
    let fails = json!([{ "name": "FAILS", "value": "yes" }]);
    let steps = [
        step("fetch", json!({})),
        step("each", json!({ "dependsOn": after("fetch"), "forEach": { "expression": "steps.fetch.outputs.files", "parallelism": 2 } })),
        step(
            "load",
            json!({ "dependsOn": after("each"), "parameters": fails, "retry": { "limit": 1, "backoff": { "initialSeconds": 1 } } }),
        ),
        step("quiet", json!({ "dependsOn": [{ "step": "load", "outcomes": ["NoData"] }] })),
    ];
    let workflow = json!({
        "apiVersion": "nightshift.dev/v1alpha1", "kind": "Workflow", "metadata": { "name": "import" },
        "spec": { "owner": { "team": "tests" }, "steps": steps, "finally": [step("notify", json!({}))] },
    });
    scene.create::<Workflow>(&serde_json::from_value(workflow).expect("a workflow")).await;
}

async fn begin(scene: &Scene, run: &str) {
    let object = json!({
        "apiVersion": "nightshift.dev/v1alpha1", "kind": "AutomationRun",
        "metadata": { "name": run }, "spec": { "workflowRef": { "name": "import" } },
    });
    scene.create::<AutomationRun>(&serde_json::from_value(object).expect("a run")).await;
}

/// Awaits that a Job of the step's run is there, and has begun to run.
async fn step_runs(scene: &Scene, run: &str, step: &str) {
    eventually(&format!("step {step} of {run} runs"), Duration::from_secs(90), async || {
        let runs = scene.runs().await;
        let of = |one: &&AutomationRun| one.spec.step.as_ref().is_some_and(|of| of.workflow_run == run && of.name == step);
        let going = runs.iter().filter(of).any(|one| status(one).phase == Some(Phase::Running));
        if going { Ok(()) } else { Err(format!("{} runs", runs.len())) }
    })
    .await;
}

/// All that is to be the same: how the run and its steps ended, each attempt of each run of a step, and each Job.
async fn end(scene: &Scene, run: &str) -> Vec<String> {
    let told = status(
        &eventually("the run is over", Duration::from_secs(180), async || {
            let run = scene.api::<AutomationRun>().get(run).await.map_err(|error| error.to_string())?;
            if status(&run).phase == Some(Phase::Finished) { Ok(run) } else { Err(format!("{:?}", status(&run).message)) }
        })
        .await,
    );
    let mut lines = vec![format!("{:?} {:?} {:?}", told.outcome, told.reason, told.message)];
    lines.extend(
        told.steps.iter().map(|step| format!("{} {:?} {:?} {} {:?}", step.name, step.outcome, step.reason, step.started, step.items)),
    );
    let jobs = scene.ours::<Job>().await;
    let mut children: Vec<String> = Vec::new();
    for child in scene.runs().await {
        let Some(of) = child.spec.step.as_ref().filter(|of| of.workflow_run == run) else { continue };
        let attempts: Vec<_> = status(&child).attempts.iter().map(|attempt| (attempt.class, attempt.exit_code)).collect();
        let name = child.name_any();
        let count = jobs.iter().filter(|job| job.labels().get(label::RUN) == Some(&name)).count();
        children.push(format!("{} {:?}: {:?} {attempts:?}, {count} Jobs", of.name, of.item, status(&child).outcome));
    }
    children.sort();
    lines.extend(children);
    lines
}

#[tokio::test]
async fn a_workflow_outlives_an_api_server_that_is_killed_and_one_that_does_not_answer() {
    let client = client().await;
    install_crds(&client).await;
    let alone = operator_alone(&client).await;
    with_temp_namespace(async |client, namespace| {
        let scene = Scene::new(&client, &namespace);
        import(&scene).await;
        begin(&scene, "import-undisturbed").await;
        let wanted = end(&scene, "import-undisturbed").await;
        assert!(wanted[0].contains("Succeeded"), "{wanted:?}");
        assert!(wanted.iter().any(|line| line.contains("load None") && line.contains("2 Jobs")), "{wanted:?}");

        begin(&scene, "import-killed").await;
        for step in ["fetch", "each", "load", "notify"] {
            step_runs(&scene, "import-killed", step).await;
            kill().await;
        }
        assert_eq!(end(&scene, "import-killed").await, wanted, "the API server was killed in each step");

        begin(&scene, "import-frozen").await;
        step_runs(&scene, "import-frozen", "each").await;
        freeze(&scene).await;
        assert_eq!(end(&scene, "import-frozen").await, wanted, "the API server did not answer for {SILENCE:?}");
    })
    .await;
    drop(alone);
}
