//! Values of the kinds that are declared, with which expressions are tried before anything runs.
//!
//! CEL knows no types before it runs. What is tried here finds an expression that fits no values of the declared kinds, in
//! the branches that the samples take; that a value is missing, or too large, is seen when it runs.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::{
    Each, Facts, Graph, Items, Node, RunFacts, StepFacts, Target,
    values::{Item, Outcomes, Values},
};
use crate::{
    api::{Outcome, OutputType, Parameter},
    expression::{Unresolved, Use, from_json},
};

/// How many items are tried.
const SAMPLES: usize = 5;
/// Slot of a sample: a day in the middle of a year.
const SLOT: i64 = 1_845_633_600;

/// Tries the expressions of a step, whose names are known to be right. Returns what is wrong, at most one thing for each
/// field.
pub(super) fn try_out(
    graph: &Graph,
    node: &Node,
    targets: &[Option<Target>],
    parameters: &[Parameter],
    fits: impl Fn(&Use) -> bool,
) -> Vec<String> {
    let mut problems: Vec<String> = Vec::new();
    for (text, outcome) in [("1", Outcome::Succeeded), ("", Outcome::Failed)] {
        let parameters: BTreeMap<String, String> = parameters.iter().map(|parameter| (parameter.name.clone(), text.to_owned())).collect();
        let outputs: Vec<Option<Value>> = targets.iter().map(|target| target.as_ref().map(|target| outputs(target, text))).collect();
        let steps = graph.nodes.iter().zip(&outputs).filter(|(of, _)| of.each.is_none()).map(|(of, outputs)| {
            let run = RunFacts { outcome: Some(outcome), told: ("", ""), outputs: outputs.as_ref(), kept: false };
            (of.name.as_str(), StepFacts { runs: BTreeMap::from([(0, run)]), recorded: None })
        });
        let zone = TimeZone::UTC;
        let slot = Timestamp::from_second(SLOT).ok();
        let facts =
            Facts { parameters: &parameters, slot, zone: &zone, steps: steps.collect(), stop: None, steps_end: None, finally_over: false };
        let outcomes = Outcomes { steps: vec![Some(outcome); graph.nodes.len()], workflow: Some(outcome) };
        let values = Values { graph, facts: &facts };
        for problem in with(&values, node, &outcomes, &fits).filter(|problem| problem.of_kind) {
            // The second sample finds what the first one found.
            let field = problem.message.split(": ").next().unwrap_or_default();
            if problems.iter().all(|known| known.split(": ").next() != Some(field)) {
                problems.push(problem.message);
            }
        }
    }
    problems
}

/// What is wrong with each expression of the step that samples fit.
fn with<'a>(
    values: &'a Values<'a>,
    node: &'a Node,
    outcomes: &'a Outcomes,
    fits: &'a impl Fn(&Use) -> bool,
) -> impl Iterator<Item = Unresolved> + 'a {
    let fit = move |expression: &crate::expression::Expression| crate::expression::uses(expression).iter().all(fits);
    let when = node.when.as_ref().filter(|when| fit(when)).and_then(|_| values.when(node, outcomes).err());
    let list = node.each.as_ref().and_then(|each: &Each| match &each.items {
        Items::Expression(list) if fit(list) => values.items(node, &each.items, outcomes).err(),
        _ => None,
    });
    // Items that are written down are their own samples, the first of them; what an expression will give is not known.
    let items: Option<Vec<cel::Value>> = match node.each.as_ref().map(|each| &each.items) {
        Some(Items::List(items)) => Some(items.iter().take(SAMPLES).map(from_json).collect()),
        _ => None,
    };
    let of_parameters = (0..node.parameters.len()).filter_map(move |at| {
        let tried = |item: Option<Item>| values.parameter(node, at, outcomes, item).err();
        let expression = match &node.parameters[at].1 {
            super::Given::Expression(expression) if fit(expression) => expression,
            _ => return None,
        };
        let named = crate::expression::uses(expression).iter().any(|one| one.path[0] == "item" || one.path[0] == "index");
        match &items {
            _ if !named => tried(None),
            Some(items) => {
                let problems = items.iter().enumerate().filter_map(|(index, value)| tried(Some(Item { value, index })));
                problems.into_iter().find(|problem| problem.of_kind)
            }
            None => None,
        }
    });
    when.into_iter().chain(list).chain(of_parameters)
}

/// Outputs as declared.
fn outputs(target: &Target, text: &str) -> Value {
    let value = |kind: OutputType| match kind {
        OutputType::String => json!(text),
        OutputType::Integer => json!(1),
        OutputType::Number => json!(1.5),
        OutputType::Boolean => json!(true),
        OutputType::List => json!([]),
        OutputType::Object => json!({}),
    };
    target.outputs.iter().map(|output| (output.name.clone(), value(output.kind.unwrap_or_default()))).collect()
}
