//! From a definition to a graph.

use std::collections::BTreeMap;

use super::{Each, Edge, Given, Graph, Items, Node};
use crate::{
    api::{ForEach, Outcome, Step, WorkflowSpec},
    expression::{Expression, with_room},
};

/// What an expression of a step looks like, for whoever wrote none.
const EXAMPLE: &str = "steps.fetch.outputs.rows > 0";
/// `forEach.maxItems` where it is unset.
const MAX_ITEMS: i32 = 100;

impl Graph {
    /// Makes it.
    ///
    /// # Errors
    /// Tells each thing that is wrong with the fields that it is in: a circle of steps, a step that is not there, a text that
    /// is no expression.
    pub fn of(spec: &WorkflowSpec) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let index: BTreeMap<&str, usize> = spec.steps.iter().enumerate().map(|(index, step)| (step.name.as_str(), index)).collect();
        let parsed = with_room(|| {
            let mut nodes = Vec::with_capacity(spec.steps.len() + spec.finally.len());
            for (list, steps) in [("steps", &spec.steps), ("finally", &spec.finally)] {
                for (at, step) in steps.iter().enumerate() {
                    nodes.push(node(format!("{list}[{at}]"), step, &index, &mut problems));
                }
            }
            Ok(nodes)
        });
        let nodes = parsed.map_err(|problem| vec![problem])?;
        let order = order(&nodes[..spec.steps.len()]).map_err(|circle| problems.push(circle)).unwrap_or_default();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            nodes,
            regular: spec.steps.len(),
            order,
            fail_fast: spec.fail_fast.unwrap_or(true),
            parallelism: limit(spec.parallelism),
        })
    }

    /// How many steps it has, `finally` included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

fn limit(given: Option<i32>) -> usize {
    given.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

fn node(field: String, step: &Step, index: &BTreeMap<&str, usize>, problems: &mut Vec<String>) -> Node {
    if step.for_each.as_ref().is_some_and(|each| each.items.is_some() == each.expression.is_some()) {
        problems.push(format!("{field}.forEach: needs exactly one of items and expression"));
    }
    let mut parse = |of: String, text: &str| match Expression::parse(text, EXAMPLE) {
        Ok(expression) => Some(expression),
        Err(problem) => {
            problems.push(format!("{field}.{of}: {problem}"));
            None
        }
    };
    let when = step.when.as_ref().and_then(|text| parse("when".to_owned(), text));
    let mut parameters = Vec::new();
    for (at, parameter) in step.parameters.iter().enumerate() {
        let given = match (&parameter.expression, &parameter.value) {
            (Some(text), _) => parse(format!("parameters[{at}].expression"), text).map(Given::Expression),
            (None, value) => Some(Given::Value(value.clone().unwrap_or_default())),
        };
        parameters.extend(given.map(|given| (parameter.name.clone(), given)));
    }
    let each = step.for_each.as_ref().and_then(|each| {
        let items = match &each.expression {
            Some(text) => Items::Expression(parse("forEach.expression".to_owned(), text)?),
            None => Items::List(each.items.clone().unwrap_or_default()),
        };
        Some(self::each(each, items))
    });
    let mut needs = Vec::new();
    for (at, dependency) in step.depends_on.iter().enumerate() {
        match index.get(dependency.step.as_str()) {
            Some(node) => {
                let outcomes = dependency.outcomes.clone().unwrap_or_else(|| vec![Outcome::Succeeded]);
                needs.push(Edge { node: *node, outcomes });
            }
            None => problems.push(format!("{field}.dependsOn[{at}]: there is no step {} in steps; correct the name", dependency.step)),
        }
    }
    Node { name: step.name.clone(), field, needs, when, parameters, each, asks: step.approval.is_some(), numbers: Vec::new() }
}

fn each(each: &ForEach, items: Items) -> Each {
    Each {
        items,
        parallelism: limit(each.parallelism),
        max_items: limit(each.max_items.or(Some(MAX_ITEMS))),
        max_failed: limit(each.max_failed.or(Some(0))),
        fail_fast: each.fail_fast.unwrap_or(false),
    }
}

/// The nodes, each after those that it needs, otherwise as they are written.
///
/// # Errors
/// Tells the circle, where there is one.
fn order(nodes: &[Node]) -> Result<Vec<usize>, String> {
    let mut order = Vec::with_capacity(nodes.len());
    let mut placed = vec![false; nodes.len()];
    while order.len() < nodes.len() {
        let ready = |node: &usize| !placed[*node] && nodes[*node].needs.iter().all(|edge| placed[edge.node]);
        let next: Vec<usize> = (0..nodes.len()).filter(ready).collect();
        if next.is_empty() {
            return Err(circle(nodes, &placed));
        }
        for node in &next {
            placed[*node] = true;
        }
        order.extend(next);
    }
    Ok(order)
}

/// One circle among the nodes that could not be placed. Each of them needs another one of them, so whoever goes from need
/// to need comes back.
fn circle(nodes: &[Node], placed: &[bool]) -> String {
    let mut path: Vec<usize> = (0..nodes.len()).find(|node| !placed[*node]).into_iter().collect();
    while let Some(next) = path.last().and_then(|last| nodes[*last].needs.iter().find(|edge| !placed[edge.node])) {
        if let Some(begin) = path.iter().position(|node| *node == next.node) {
            path.drain(..begin);
            path.push(next.node);
            break;
        }
        path.push(next.node);
    }
    let names: Vec<&str> = path.iter().map(|node| nodes[*node].name.as_str()).collect();
    format!("steps: dependsOn goes in a circle: {}; remove one of these", names.join(" → "))
}
