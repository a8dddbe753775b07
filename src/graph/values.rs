//! Values of a step's expressions, from what has been seen so far.

use std::{collections::BTreeMap, sync::Arc};

use cel::{Context, Value};
use serde_json::Value as Json;

use super::{Facts, Given, Graph, Items, Node, StepFacts};
use crate::{
    api::{Outcome, ParameterValue},
    expression::{self, Expression, Unresolved, Use, from_json, uses},
};

/// What can be named, for whoever named something else.
pub(super) const KNOWN: &str = "known are parameters.NAME, steps.NAME.outcome, steps.NAME.outputs and steps.NAME.results of steps that it depends on, item and index in a step with forEach, slot in a run of a slot, workflow.outcome in finally, format(time, '%Y-%m-%d') and CEL's standard functions, without macros";

/// Works out expressions of one pass.
pub(super) struct Values<'a> {
    pub(super) graph: &'a Graph,
    pub(super) facts: &'a Facts<'a>,
}

/// The item that a run is for.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) value: &'a Value,
    pub(super) index: usize,
}

impl Values<'_> {
    /// Whether a step is to be run, as its `when` says.
    pub(super) fn when(&self, node: &Node, outcomes: &Outcomes) -> Result<bool, Unresolved> {
        let Some(when) = &node.when else { return Ok(true) };
        let in_field = |problem: Unresolved| problem.within(&format!("{}.when", node.field));
        match self.value(when, outcomes, None).map_err(in_field)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(in_field(Unresolved::of_kind(format!("is {}; want true or false", expression::kind(&other))))),
        }
    }

    /// The items of a step.
    pub(super) fn items(&self, node: &Node, items: &Items, outcomes: &Outcomes) -> Result<Arc<Vec<Value>>, Unresolved> {
        let in_field = |problem: Unresolved| problem.within(&format!("{}.forEach.expression", node.field));
        match items {
            Items::List(items) => Ok(Arc::new(items.iter().map(from_json).collect())),
            Items::Expression(expression) => match self.value(expression, outcomes, None).map_err(in_field)? {
                Value::List(items) => Ok(items),
                other => Err(in_field(Unresolved::of_kind(format!("is {}; want a list", expression::kind(&other))))),
            },
        }
    }

    /// The values that a run of the step is given.
    pub(super) fn parameters(&self, node: &Node, outcomes: &Outcomes, item: Option<Item>) -> Result<Vec<ParameterValue>, Unresolved> {
        (0..node.parameters.len()).map(|at| self.parameter(node, at, outcomes, item)).collect()
    }

    /// One of them.
    pub(super) fn parameter(&self, node: &Node, at: usize, outcomes: &Outcomes, item: Option<Item>) -> Result<ParameterValue, Unresolved> {
        let (name, given) = &node.parameters[at];
        let value = match given {
            Given::Value(value) => value.clone(),
            Given::Expression(expression) => {
                let worked_out = self.value(expression, outcomes, item);
                let text = worked_out.and_then(|value| expression::text(&value, true).map_err(Unresolved::of_kind));
                text.map_err(|problem| problem.within(&format!("{}.parameters[{at}].expression", node.field)))?
            }
        };
        Ok(ParameterValue { name: name.clone(), value })
    }

    fn value(&self, expression: &Expression, outcomes: &Outcomes, item: Option<Item>) -> Result<Value, Unresolved> {
        let mut context = expression::context(self.facts.zone).map_err(Unresolved::other)?;
        let uses = uses(expression);
        let named = |name: &str| uses.iter().any(|one| one.path[0] == name);
        if named("parameters") {
            let parameters = self.facts.parameters.iter().map(|(name, value)| (name.as_str(), Value::String(Arc::new(value.clone()))));
            context.add_variable_from_value("parameters", expression::map(parameters));
        }
        if named("steps") {
            context.add_variable_from_value("steps", self.steps(&uses, outcomes)?);
        }
        // A run that is for no slot does not know the name: an expression may go another way then.
        if let Some(slot) = self.facts.slot.filter(|_| named("slot")) {
            let far = || Unresolved::other("the slot is out of the range of years that CEL knows");
            let slot = expression::in_zone(slot, self.facts.zone).ok_or_else(far)?;
            context.add_variable_from_value("slot", Value::Timestamp(slot));
        }
        if let Some(outcome) = outcomes.workflow.filter(|_| named("workflow")) {
            context.add_variable_from_value("workflow", expression::map([("outcome", word(outcome))]));
        }
        if let Some(item) = item {
            add_item(&mut context, item);
        }
        expression.evaluate(&context, KNOWN)
    }

    /// What is named of the steps, and no more: a list of a thousand results is not made for whoever asks for an outcome.
    fn steps(&self, uses: &[Use], outcomes: &Outcomes) -> Result<Value, Unresolved> {
        let mut wanted: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
        for one in uses.iter().filter(|one| one.path[0] == "steps") {
            let Some(name) = one.path.get(1) else { continue };
            let of = wanted.entry(name).or_default();
            let part = one.path.get(2).map(String::as_str);
            of.0 |= part.is_none_or(|part| part == "outputs");
            of.1 |= part.is_none_or(|part| part == "results");
        }
        let mut steps = Vec::with_capacity(wanted.len());
        for (name, (outputs, results)) in wanted {
            if let Some(members) = self.members(name, outputs, results, outcomes)? {
                steps.push((name, expression::map(members)));
            }
        }
        Ok(expression::map(steps))
    }

    fn members(
        &self,
        name: &str,
        outputs: bool,
        results: bool,
        outcomes: &Outcomes,
    ) -> Result<Option<Vec<(&'static str, Value)>>, Unresolved> {
        let Some(node) = self.graph.nodes.iter().position(|node| node.name == name) else { return Ok(None) };
        let facts = self.facts.steps.get(name);
        let each = self.graph.nodes[node].each.is_some();
        let numbers = &self.graph.nodes[node].numbers;
        let mut members = Vec::new();
        members.extend(outcomes.steps.get(node).copied().flatten().map(|outcome| ("outcome", word(outcome))));
        if outputs && !each {
            let run = facts.and_then(|facts| facts.runs.get(&0));
            members.extend(run.and_then(|run| run.outputs).map(|outputs| ("outputs", self::outputs(outputs, numbers))));
        }
        if let Some(facts) = facts.filter(|_| results && each) {
            members.push(("results", self::results(name, facts, numbers)?));
        }
        Ok(Some(members))
    }
}

fn add_item(context: &mut Context<'_, '_>, item: Item) {
    context.add_variable_from_value("item", item.value.clone());
    context.add_variable_from_value("index", Value::Int(i64::try_from(item.index).unwrap_or(i64::MAX)));
}

/// Most text that the results of a step may have in an expression, in bytes. The engine copies what it works with.
const MOST_RESULTS: usize = 128 << 10;

/// Outputs for CEL, with a fraction where one is declared.
fn outputs(outputs: &Json, numbers: &[String]) -> Value {
    let Json::Object(members) = outputs else { return from_json(outputs) };
    expression::map(members.iter().map(|(name, member)| {
        let number = member.as_f64().filter(|_| numbers.contains(name));
        (name.as_str(), number.map_or_else(|| from_json(member), Value::Float))
    }))
}

/// The outputs of the items, in order; null where there are none.
fn results(step: &str, facts: &StepFacts, numbers: &[String]) -> Result<Value, Unresolved> {
    let bytes: usize = facts.runs.values().filter_map(|run| run.outputs).map(size).sum();
    if bytes > MOST_RESULTS {
        let message = format!("the results of step {step} are {bytes} bytes; at most {MOST_RESULTS} can be used: let its runs write less");
        return Err(Unresolved::other(message));
    }
    let recorded = facts.recorded.as_ref().map_or(0, |recorded| recorded.items.unwrap_or(recorded.started));
    let count = facts.runs.keys().next_back().map_or(0, |last| last + 1).max(recorded);
    let of = |index: usize| facts.runs.get(&index).and_then(|run| run.outputs).map_or(Value::Null, |of_item| outputs(of_item, numbers));
    Ok(Value::List(Arc::new((0..count).map(of).collect())))
}

/// About how much text a value is.
fn size(value: &Json) -> usize {
    match value {
        Json::String(text) => text.len() + 8,
        Json::Array(items) => 8 + items.iter().map(size).sum::<usize>(),
        Json::Object(members) => 8 + members.iter().map(|(name, member)| name.len() + size(member)).sum::<usize>(),
        _ => 8,
    }
}

fn word(outcome: Outcome) -> Value {
    Value::String(Arc::new(format!("{outcome:?}")))
}

/// How the steps have ended so far, for expressions.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcomes {
    /// By node.
    pub(super) steps: Vec<Option<Outcome>>,
    /// What the steps came to, once all have ended.
    pub(super) workflow: Option<Outcome>,
}
