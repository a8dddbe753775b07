//! Tells a story once for each write and each thing that can go wrong with it.

use std::{any::Any, panic::AssertUnwindSafe, sync::Mutex, time::Duration};

use futures::{FutureExt, future::join_all};
use kube::Client;
use nightshift::api::AutomationTask;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    fault::{Fault, Line, What, When},
    process::Process,
    story::Story,
    support::{Down, Scene, client, install_crds, operator_down, with_temp_namespace},
};

/// Namespaces in which stories are told one after the other, for each sweep.
const LANES: usize = 12;
/// Stories that are told at once, in all sweeps together.
static STAGE: Semaphore = Semaphore::const_new(14);
/// An operator that writes nothing for so long has nothing left to do.
const QUIET: Duration = Duration::from_millis(1500);

/// Tells the story without a fault, then with a fault at each write that there was, and at all of them.
pub async fn sweep(story: &impl Story) {
    let client = client().await;
    install_crds(&client).await;
    let down: Down = operator_down(&client).await;
    let started = Instant::now();
    let mut writes = 0;
    let mut wrong = Vec::new();
    with_temp_namespace(async |client: Client, namespace| {
        let told = tell(story, &Scene::new(&client, &namespace), "world-000", None).await;
        let (count, _) = told.unwrap_or_else(|wrong| panic!("without a fault: {wrong}"));
        writes = count;
    })
    .await;
    let faults = faults(writes);
    let (mut told, mut struck) = (0, 0);
    for (fault, result) in tell_all(story, &faults).await {
        told += 1;
        match result {
            Ok((_, hits)) => struck += usize::from(hits > 0),
            Err(why) => wrong.push(format!("- {fault:?}: {why}")),
        }
    }
    eprintln!("{writes} writes; {told} stories, {struck} with a fault that struck; {:.0?}", started.elapsed());
    down.end(&client).await;
    assert!(wrong.is_empty(), "{} of {told} stories ended otherwise:\n{}", wrong.len(), wrong.join("\n"));
    // Not all: the last faults lie beyond the last write, since the number of writes varies a little.
    assert!(struck * 10 >= told * 7, "only {struck} of {told} faults struck");
}

fn faults(writes: usize) -> Vec<Fault> {
    let at_each = |what: fn(usize) -> What| (1..=writes + 1).map(move |nth| Fault { what: what(nth), when: When::At(nth) });
    let lost = |nth| if nth % 2 == 0 { What::GatewayTimeout } else { What::ConnectionLost };
    let refused = |nth: usize| What::Refused([409, 429, 500][nth % 3]);
    let at_all = [What::Refused(409), What::Refused(429), What::Refused(500), What::ConnectionLost, What::GatewayTimeout, What::SentTwice];
    let at_all = at_all.map(|what| Fault { what, when: When::FirstTries });
    let swept = at_each(|_| What::KilledAfter).chain(at_each(|_| What::KilledBefore)).chain(at_each(lost)).chain(at_each(refused));
    at_all.into_iter().chain(swept).collect()
}

type Result = std::result::Result<(usize, usize), String>;

async fn tell_all(story: &impl Story, faults: &[Fault]) -> Vec<(Fault, Result)> {
    let queue = Mutex::new(faults.iter().enumerate());
    let lanes = (0..LANES).map(async |_| {
        let mut told = Vec::new();
        with_temp_namespace(async |client: Client, namespace| {
            let scene = Scene::new(&client, &namespace);
            loop {
                let next = queue.lock().expect("not poisoned").next();
                let Some((number, fault)) = next else { return };
                let turn = STAGE.acquire().await.expect("never closed");
                let result = tell(story, &scene, &format!("world-{:03}", number + 1), Some(*fault)).await;
                drop(turn);
                told.push((*fault, result));
            }
        })
        .await;
        told
    });
    join_all(lanes).await.into_iter().flatten().collect()
}

/// Tells the story once. Returns how many writes there were and how often something went wrong, or what ended otherwise.
async fn tell(story: &impl Story, scene: &Scene, task: &str, fault: Option<Fault>) -> Result {
    let line = Line::new(fault);
    let process = Process::start(&scene.namespace, line.clone());
    let told = AssertUnwindSafe(story.tell(scene, task)).catch_unwind().await;
    if let Err(panic) = told {
        return Err(format!("after {} writes: {}", line.writes(), words(&*panic)));
    }
    line.quiet(QUIET).await;
    let mut differences = story.end().differences(scene, task).await;
    for _ in 0..20 {
        if differences.is_empty() {
            break;
        }
        // What follows a failure may be due a little later than that.
        tokio::time::sleep(Duration::from_millis(500)).await;
        differences = story.end().differences(scene, task).await;
    }
    drop(process);
    if !differences.is_empty() {
        return Err(format!("after {} writes: {}", line.writes(), differences.join("; ")));
    }
    scene.delete::<AutomationTask>(task).await;
    Ok((line.writes(), line.hits()))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}
