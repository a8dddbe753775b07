//! The operator dies after each single write of a story in turn, and starts again: the end must be the same.

use serde_json::json;

use crate::api::{Definition, SlotSelection};

use super::{
    caches::{Lag, Lags},
    people::Act,
    scenario::{Scenario, TASK},
    script::{End, Life, OnTerm},
    world::World,
};

fn nightly_with_back_off() -> Scenario {
    let spec = json!({
        "schedule": { "cron": ["*/10 * * * *"] },
        "slo": { "objective": "99.5%", "windowRuns": 30, "finishWithinSeconds": 40 },
        "retry": { "limit": 2, "backoff": { "initialSeconds": 20 } },
        "exitCodes": { "noData": [2], "fatal": [3] },
        "timeouts": { "attemptSeconds": 60, "pendingSeconds": 60 },
        "history": { "succeeded": 0, "failed": 0 },
    });
    Scenario::new(spec, vec![Life::exit(5, 1), Life::exit(5, 1), Life::exit(5, 2)]).during(300)
}

fn on_demand_and_cancelled() -> Scenario {
    let life = Life::of(End::Never).on_term(OnTerm::Exits { after: 2, code: 7 });
    Scenario::new(json!({ "retry": { "limit": 2 } }), vec![life]).on_demand().with(60, Act::Cancel(0)).during(300)
}

fn edited_and_made_by_hand() -> Scenario {
    let spec = json!({ "schedule": { "cron": ["*/2 * * * *"] }, "history": { "succeeded": 1 } });
    Scenario::new(spec, vec![Life::exit(5, 0)])
        .with(50, Act::JobFromCronJob { name: "by-hand".to_owned() })
        .with(70, Act::Reschedule("*/3 * * * *".to_owned()))
        .with(80, Act::EditCronJob)
        .with(190, Act::DeleteCronJob)
        .during(200)
}

fn two_lines_and_jobs_deleted() -> Scenario {
    let spec = json!({
        "schedule": { "cron": ["*/4 * * * *", "1-59/4 * * * *"], "concurrencyPolicy": "Allow" },
        "retry": { "limit": 1, "backoff": { "initialSeconds": 5 } },
        "history": { "succeeded": 0, "failed": 1 },
    });
    let create = |name: &str| Act::CreateRun { name: name.to_owned(), parameters: Vec::new() };
    Scenario::new(spec, vec![Life::exit(5, 1)])
        .on_demand()
        .with(5, Act::DeleteJob(0))
        .with(60, create("r2"))
        .with(74, Act::DeleteJob(0))
        .during(200)
}

/// The Jobs' watch tells late what the runs' watch has told: what is recorded and deleted seems to be there still.
fn jobs_are_seen_late() -> Scenario {
    let lag = |seconds| Lag { seconds, silent: None };
    let spec = json!({ "schedule": { "cron": ["*/2 * * * *"] }, "history": { "succeeded": 0 } });
    let scenario = Scenario::new(spec, vec![Life::exit(5, 0)]).with(28, Act::StopOperator(10)).during(160);
    Scenario { lags: Lags { jobs: lag(7), pods: lag(3), ..Lags::default() }, ..scenario }
}

fn queued_by_the_operator() -> Scenario {
    let spec = json!({
        "schedule": { "cron": ["*/2 * * * *"], "concurrencyPolicy": "Queue", "catchUp": { "policy": "All", "limit": 2 } },
        "slo": { "objective": "50%", "windowDays": 30, "finishWithinSeconds": 200 },
        "history": { "succeeded": 1, "failed": 1 },
        "timeouts": { "attemptSeconds": 600 },
    });
    Scenario::new(spec, vec![Life::exit(150, 0)]).with(200, Act::ChangeImage).during(300)
}

fn run_again_and_backfilled() -> Scenario {
    let backfill = Act::Backfill { name: "b1".to_owned(), seconds: 420, select: SlotSelection::MissingOrFailed, concurrency: 2 };
    let again = |name: &str, definition| Act::Rerun { name: name.to_owned(), of: 0, definition };
    let spec = json!({ "schedule": { "cron": ["*/2 * * * *"], "exclude": ["2000-01-01"] }, "history": { "succeeded": 2, "failed": 2 } });
    Scenario::new(spec, vec![Life::exit(5, 1)])
        .with(60, again("r4", Definition::Original))
        .with(62, again("r5", Definition::Current))
        .with(70, Act::ChangeImage)
        .with(170, again("r6", Definition::Original))
        .with(180, backfill)
        .during(330)
}

fn kept_by_one_clock_after_the_other() -> Scenario {
    let slo = json!({ "objective": "99%", "windowRuns": 100 });
    let spec = json!({ "schedule": { "cron": ["*/2 * * * *"], "concurrencyPolicy": "Replace" }, "slo": slo });
    Scenario::new(spec, vec![Life::exit(100, 0)])
        .with(148, Act::NeedOperator(true))
        .with(275, Act::Suspend(true))
        .with(400, Act::Suspend(false))
        .with(515, Act::NeedOperator(false))
        .during(700)
}

fn a_workflow_backfilled() -> Scenario {
    let workflow = json!({
        "schedule": { "cron": ["*/2 * * * *"], "concurrencyPolicy": "Allow" },
        "steps": [
            { "name": "fetch", "taskRef": { "name": TASK } },
            { "name": "load", "taskRef": { "name": TASK }, "dependsOn": [{ "step": "fetch" }] },
        ],
        "slo": { "objective": "90%", "windowRuns": 10, "finishWithinSeconds": 8 },
        "history": { "succeeded": 3 },
    });
    let backfill = Act::BackfillWorkflow { name: "b1".to_owned(), seconds: 420, select: SlotSelection::Missing, concurrency: 2 };
    Scenario::new(json!({}), vec![Life::exit(5, 0)])
        .with_workflow(workflow)
        .with(40, backfill)
        .with(50, Act::ChangeImage)
        .with(55, Act::StepRuns("none".to_owned()))
        .with(100, Act::StepRuns(TASK.to_owned()))
        .during(200)
}

/// Stories in which much happens.
pub fn known_stories() -> [Scenario; 9] {
    [
        nightly_with_back_off(),
        on_demand_and_cancelled(),
        edited_and_made_by_hand(),
        two_lines_and_jobs_deleted(),
        jobs_are_seen_late(),
        queued_by_the_operator(),
        run_again_and_backfilled(),
        kept_by_one_clock_after_the_other(),
        a_workflow_backfilled(),
    ]
}

/// Sweeps all writes of the story.
fn dies_after_each_write(story: &Scenario) {
    let whole = World::ended(story);
    let writes = whole.operator.writes.len();
    assert!(writes > 5, "{:#?}", whole.operator.writes);
    for nth in 1..=writes {
        let cut = World::ended(&story.clone().crash(nth, 0));
        let after = &whole.operator.writes[nth - 1];
        assert_eq!(cut.end(), whole.end(), "the operator died after write {nth}, {after:?}");
    }
}

#[test]
fn a_scheduled_run_with_back_off_ends_the_same_wherever_the_operator_dies() {
    dies_after_each_write(&nightly_with_back_off());
}

#[test]
fn a_cancelled_run_ends_the_same_wherever_the_operator_dies() {
    dies_after_each_write(&on_demand_and_cancelled());
}

#[test]
fn edits_and_jobs_made_by_hand_end_the_same_wherever_the_operator_dies() {
    dies_after_each_write(&edited_and_made_by_hand());
}

#[test]
fn what_the_operator_queues_ends_the_same_wherever_it_dies() {
    dies_after_each_write(&queued_by_the_operator());
}

#[test]
fn reruns_and_backfills_end_the_same_wherever_the_operator_dies() {
    dies_after_each_write(&run_again_and_backfilled());
}

#[test]
fn a_workflow_and_its_backfill_end_the_same_wherever_the_operator_dies() {
    dies_after_each_write(&a_workflow_backfilled());
}

#[test]
fn a_change_of_clocks_ends_the_same_wherever_the_operator_dies() {
    dies_after_each_write(&kept_by_one_clock_after_the_other());
}
