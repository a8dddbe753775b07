//! `Workflow`: what is refused and what is accepted.

use crate::{
    case::{accepts, check, rejects, workflow, workflow_named},
    support::{install_crds, with_temp_namespace},
};

#[tokio::test]
async fn refuses_what_cannot_be_an_order_of_steps() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let step = |more: &str| workflow(&format!("steps: [{{name: fetch, taskRef: {{name: fetch}}}}, {{name: load, {more}}}]"));
        let many: Vec<String> = (0..201).map(|at| format!("{{name: s{at}, taskRef: {{name: t}}}}")).collect();
        let needs: Vec<String> = (0..17).map(|at| format!("{{step: s{at}}}")).collect();
        let item: Vec<String> = (0..1001).map(|at| at.to_string()).collect();
        let cases = vec![
            rejects("a name of 41 characters", workflow_named(&"a".repeat(41), "{}"), "metadata.name", "at most 40 characters"),
            rejects("a name with dots", workflow_named("nightly.import", "{}"), "metadata.name", "without dots"),
            rejects("no owner", workflow("owner: null"), "spec.owner", "Required"),
            rejects("no steps", workflow("steps: null"), "spec.steps", "Required"),
            rejects("an empty list of steps", workflow("steps: []"), "spec.steps", "at least 1"),
            rejects("201 steps", workflow(&format!("steps: [{}]", many.join(","))), "spec.steps", "at most 200"),
            rejects("a step without a name", workflow("steps: [{taskRef: {name: t}}]"), "spec.steps[0].name", "Required"),
            rejects(
                "a step with a name in capitals",
                workflow("steps: [{name: Load, taskRef: {name: t}}]"),
                "spec.steps[0].name",
                "lower case",
            ),
            rejects(
                "two steps of one name",
                workflow("steps: [{name: a, taskRef: {name: t}}, {name: a, taskRef: {name: t}}]"),
                "spec.steps[1]",
                "Duplicate value",
            ),
            rejects(
                "a step that runs nothing",
                workflow("steps: [{name: a}]"),
                "spec.steps[0]",
                "exactly one of taskRef, workflowRef, task and approval",
            ),
            rejects(
                "a step that runs two things",
                workflow("steps: [{name: a, taskRef: {name: t}, workflowRef: {name: w}}]"),
                "spec.steps[0]",
                "exactly one of taskRef, workflowRef, task and approval",
            ),
            rejects("a task of a step without an image", workflow("steps: [{name: a, task: {}}]"), "spec.steps[0].task.image", "Required"),
            rejects(
                "a task of a step that is also one of its own",
                workflow("steps: [{name: a, taskRef: {name: t}, task: {image: i}}]"),
                "spec.steps[0]",
                "exactly one of taskRef, workflowRef, task and approval",
            ),
            rejects(
                "a task of a step with an owner",
                workflow("steps: [{name: a, task: {image: i, owner: {team: x}}}]"),
                "task.owner",
                "unknown field",
            ),
            rejects("a task with dots", step("taskRef: {name: a.b}"), "spec.steps[1].taskRef.name", "must be the name of a task"),
            rejects("a workflow with dots", step("workflowRef: {name: a.b}"), "spec.steps[1].workflowRef.name", "name of a workflow"),
            rejects(
                "a step that depends on one that is not there",
                step("taskRef: {name: t}, dependsOn: [{step: fetsch}]"),
                "spec.steps",
                "names a step that is not in steps",
            ),
            rejects(
                "a step that depends on itself",
                step("taskRef: {name: t}, dependsOn: [{step: load}]"),
                "spec.steps[1].dependsOn",
                "cannot depend on itself",
            ),
            rejects(
                "a dependency twice",
                step("taskRef: {name: t}, dependsOn: [{step: fetch}, {step: fetch}]"),
                "spec.steps[1].dependsOn[1]",
                "Duplicate value",
            ),
            rejects(
                "a dependency by its name alone",
                step("taskRef: {name: t}, dependsOn: [fetch]"),
                "dependsOn[0]",
                "must be of type object",
            ),
            rejects(
                "17 dependencies",
                step(&format!("taskRef: {{name: t}}, dependsOn: [{}]", needs.join(","))),
                "spec.steps[1].dependsOn",
                "at most 16",
            ),
            rejects(
                "an outcome that no run has",
                step("taskRef: {name: t}, dependsOn: [{step: fetch, outcomes: [Success]}]"),
                "dependsOn[0].outcomes[0]",
                "supported values: \"Succeeded\"",
            ),
            rejects(
                "no outcome at all",
                step("taskRef: {name: t}, dependsOn: [{step: fetch, outcomes: []}]"),
                "dependsOn[0].outcomes",
                "at least 1",
            ),
            rejects("an empty when", step("taskRef: {name: t}, when: ''"), "spec.steps[1].when", "at least 1"),
            rejects("a when that is no text", step("taskRef: {name: t}, when: true"), "spec.steps[1].when", "must be of type string"),
            rejects("a NUL in when", step(r#"taskRef: {name: t}, when: "a\0""#), "spec.steps[1].when", "NUL character"),
            rejects(
                "a parameter without a value",
                step("taskRef: {name: t}, parameters: [{name: P}]"),
                "parameters[0]",
                "exactly one of value and expression",
            ),
            rejects(
                "a parameter with two values",
                step("taskRef: {name: t}, parameters: [{name: P, value: a, expression: b}]"),
                "parameters[0]",
                "exactly one of value and expression",
            ),
            rejects(
                "a parameter twice",
                step("taskRef: {name: t}, parameters: [{name: P, value: a}, {name: P, value: b}]"),
                "parameters[1]",
                "Duplicate value",
            ),
            rejects(
                "1001 items",
                step(&format!("taskRef: {{name: t}}, forEach: {{items: [{}]}}", item.join(","))),
                "forEach.items",
                "at most 1000",
            ),
            rejects("no room for an item", step("taskRef: {name: t}, forEach: {items: [1], parallelism: 0}"), "forEach.parallelism", "1"),
            rejects(
                "a step of finally with the name of a step",
                workflow("finally: [{name: load, taskRef: {name: t}}]"),
                "spec.finally",
                "same name; rename one",
            ),
            rejects(
                "a step of finally that depends on another",
                workflow("finally: [{name: notify, taskRef: {name: t}, dependsOn: [{step: load}]}]"),
                "spec.finally",
                "remove their dependsOn",
            ),
            rejects(
                "retries of a workflow",
                step("workflowRef: {name: w}, retry: {limit: 1}"),
                "spec.steps[1]",
                "retry and timeouts of a step go with taskRef",
            ),
            rejects(
                "retries beside a task that is written there",
                step("task: {image: i}, timeouts: {attemptSeconds: 1}"),
                "spec.steps[1]",
                "write them in task",
            ),
            rejects("an approval beside a task", step("approval: {}, taskRef: {name: t}"), "spec.steps[1]", "exactly one of taskRef"),
            rejects(
                "an approval with parameters",
                step("approval: {}, parameters: [{name: P, value: a}]"),
                "spec.steps[1].approval",
                "remove its parameters and forEach",
            ),
            rejects(
                "an approval for each item",
                step("approval: {}, forEach: {items: [1]}"),
                "spec.steps[1].approval",
                "remove its parameters and forEach",
            ),
            rejects("an approval without time", step("approval: {timeoutSeconds: 0}"), "approval.timeoutSeconds", "1"),
            rejects(
                "a question of 257 characters",
                step(&format!("approval: {{message: {}}}", "a".repeat(257))),
                "approval.message",
                "may not be more than 256",
            ),
            rejects(
                "an approval in finally",
                workflow("finally: [{name: ask, approval: {}}]"),
                "spec.finally",
                "wait for nobody; move the approval to steps",
            ),
            rejects("no parallelism", workflow("parallelism: 0"), "spec.parallelism", "1"),
            rejects("no time", workflow("timeouts: {runSeconds: 0}"), "spec.timeouts.runSeconds", "1"),
            rejects(
                "more time for finally than for all",
                workflow("timeouts: {runSeconds: 500}"),
                "spec.timeouts.finallySeconds",
                "must be less",
            ),
            rejects("no cron line", workflow("schedule: {cron: []}"), "spec.schedule.cron", "at least 1"),
            rejects(
                "a required parameter beside a schedule",
                workflow("{schedule: {cron: ['@daily']}, parameters: [{name: DAY, required: true}]}"),
                "spec.parameters",
                "nobody to ask",
            ),
            rejects(
                "a value from a slot without a schedule",
                workflow("parameters: [{name: DAY, fromSlot: \"format(slot, '%F')\"}]"),
                "spec.parameters",
                "need a schedule",
            ),
            rejects("51 runs to keep", workflow("history: {succeeded: 51}"), "spec.history.succeeded", "50"),
            rejects("an unknown field", workflow("stages: []"), "spec.stages", "unknown field"),
        ];
        check(&client, &namespace, cases).await;
    })
    .await;
}

#[tokio::test]
async fn accepts_workflows_as_large_as_they_may_be() {
    with_temp_namespace(async |client, namespace| {
        install_crds(&client).await;
        let many: Vec<String> = (0..200).map(|at| format!("{{name: s{at}, taskRef: {{name: t}}}}")).collect();
        let last: Vec<String> = (0..16).map(|at| format!("{{step: s{at}}}")).collect();
        let fan_in = format!("{{name: s200, taskRef: {{name: t}}, dependsOn: [{}]}}", last.join(","));
        let items: Vec<String> = (0..1000).map(|at| format!("{{region: r{at}, n: {at}}}")).collect();
        let cases = vec![
            accepts("the least", workflow("{}")),
            accepts("200 steps, the last of which waits for 16", workflow(&format!("steps: [{}, {fan_in}]", many[..199].join(",")))),
            accepts(
                "1000 items that are objects",
                workflow(&format!("steps: [{{name: a, taskRef: {{name: t}}, forEach: {{maxItems: 1000, items: [{}]}}}}]", items.join(","))),
            ),
            accepts(
                "200 tasks in its steps",
                workflow(&format!(
                    "steps: [{}]",
                    (0..200).map(|at| format!("{{name: s{at}, task: {{image: i, script: {{source: 'exit 0'}}}}}}")).collect::<Vec<_>>().join(",")
                )),
            ),
            accepts("items of all kinds", workflow("steps: [{name: a, taskRef: {name: t}, forEach: {items: [1, a, [b], {c: d}, true, null]}}]")),
            accepts("limits of a step's own", workflow("steps: [{name: a, taskRef: {name: t}, retry: {backoff: {initialSeconds: 5}}, timeouts: {runSeconds: 60}}]")),
            accepts("a question", workflow("steps: [{name: ask, approval: {message: 'to production?', timeoutSeconds: 3600}}, {name: go, taskRef: {name: t}, dependsOn: [{step: ask}]}]")),
            accepts(
                "everything",
                workflow(
                    "{description: d, schedule: {cron: ['H 2 * * *'], timeZone: Europe/Berlin, concurrencyPolicy: Queue, catchUp: {policy: All, limit: 3}}, failFast: false, parallelism: 4, timeouts: {runSeconds: 3600, finallySeconds: 60}, history: {succeeded: 1, failed: 1},
                      parameters: [{name: MODE, default: full}], finally: [{name: notify, workflowRef: {name: tell}, parameters: [{name: P, expression: workflow.outcome}]}]}",
                ),
            ),
        ];
        check(&client, &namespace, cases).await;
    })
    .await;
}
