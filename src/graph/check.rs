//! Whether a workflow fits what it refers to, told before anything runs.

use std::collections::{BTreeMap, BTreeSet};

use super::{Given, Graph, Items, Node, sample};
use crate::{
    api::{Output, OutputType, Parameter, Step, WorkflowSpec},
    build,
    expression::{Expression, Use, uses, with_room},
};

/// CEL's names of types, as in `type(item) == string`.
const TYPES: [&str; 10] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];
/// How many problems are told at once.
const MOST: usize = 10;

/// What a step's task or workflow declares.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// How it is called in messages: `task fetch`.
    pub name: String,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// Its outputs; a workflow has none.
    pub outputs: Vec<Output>,
}

/// Checks a workflow against what its steps refer to. A step whose target is not there is told by whoever looked for it, and
/// what uses its outputs is not looked into.
///
/// # Errors
/// Tells what is wrong, each with the field and the fix; at most ten things.
pub fn check(spec: &WorkflowSpec, target: impl Fn(&Step) -> Option<Target>) -> Result<Graph, Vec<String>> {
    let mut graph = Graph::of(spec).map_err(few)?;
    let targets: Vec<Option<Target>> = spec.steps.iter().chain(&spec.finally).map(target).collect();
    for (node, target) in graph.nodes.iter_mut().zip(&targets) {
        let outputs = target.iter().flat_map(|target| &target.outputs);
        node.numbers = outputs.filter(|output| output.kind == Some(OutputType::Number)).map(|output| output.name.clone()).collect();
    }
    let problems = with_room(|| {
        let check = Check { graph: &graph, spec, upstream: graph.upstream(), targets };
        Ok((0..graph.nodes.len()).flat_map(|node| check.step(node)).collect::<Vec<_>>())
    });
    let problems = problems.unwrap_or_else(|problem| vec![problem]);
    if problems.is_empty() { Ok(graph) } else { Err(few(problems)) }
}

fn few(mut problems: Vec<String>) -> Vec<String> {
    let more = problems.len().saturating_sub(MOST);
    problems.truncate(MOST);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    problems
}

impl Graph {
    /// The steps that each one depends on, directly or not. Those of `finally` come after all of `steps`.
    fn upstream(&self) -> Vec<BTreeSet<usize>> {
        let mut upstream = vec![BTreeSet::new(); self.nodes.len()];
        for node in &self.order {
            let mut all: BTreeSet<usize> = self.nodes[*node].needs.iter().map(|edge| edge.node).collect();
            for edge in &self.nodes[*node].needs {
                all.extend(upstream[edge.node].iter().copied());
            }
            upstream[*node] = all;
        }
        upstream.iter_mut().skip(self.regular).for_each(|all| *all = (0..self.regular).collect());
        upstream
    }
}

struct Check<'a> {
    graph: &'a Graph,
    spec: &'a WorkflowSpec,
    upstream: Vec<BTreeSet<usize>>,
    targets: Vec<Option<Target>>,
}

impl Check<'_> {
    fn step(&self, node: usize) -> Vec<String> {
        let of = &self.graph.nodes[node];
        let mut problems = Vec::new();
        let mut expression = |field: String, expression: &Expression, with_item: bool| {
            for one in uses(expression) {
                problems.extend(self.of_use(node, &one, with_item).map(|problem| format!("{}.{field}: {problem}", of.field)));
            }
        };
        if let Some(when) = &of.when {
            expression("when".to_owned(), when, false);
        }
        if let Some(Items::Expression(items)) = of.each.as_ref().map(|each| &each.items) {
            expression("forEach.expression".to_owned(), items, false);
        }
        for (at, (_, given)) in of.parameters.iter().enumerate() {
            if let Given::Expression(given) = given {
                expression(format!("parameters[{at}].expression"), given, of.each.is_some());
            }
        }
        if let Some((each, Items::List(items))) = of.each.as_ref().map(|each| (each, &each.items)) {
            problems.extend(super::each::too_long(of, each, items.len()).map(|ended| ended.message));
        }
        if problems.is_empty() {
            let fits = |one: &Use| self.has_sample(one);
            problems.extend(sample::try_out(self.graph, of, &self.targets, &self.spec.parameters, fits));
        }
        if let Some(target) = &self.targets[node] {
            problems.extend(parameters(of, target));
        }
        problems
    }

    /// Whether a sample can stand for what the name will be: its kind is known as a whole.
    fn has_sample(&self, one: &Use) -> bool {
        let step = |name: &String| self.graph.nodes.iter().position(|other| other.name == *name);
        match (one.path[0].as_str(), one.path.get(2).map(String::as_str)) {
            ("steps", Some("outputs")) => {
                let declared = one.path.get(1).and_then(step).and_then(|used| self.targets[used].as_ref());
                let output = declared.and_then(|target| target.outputs.iter().find(|output| Some(&output.name) == one.path.get(3)));
                let whole = one.path.len() == 4 && !one.computed;
                let open = |output: &Output| matches!(output.kind, Some(OutputType::List | OutputType::Object));
                output.is_some_and(|output| whole || !open(output))
            }
            ("item", _) | ("steps", Some("outcome")) => true,
            ("steps", _) => false,
            _ => !one.computed,
        }
    }

    /// What is wrong with a name that an expression uses.
    fn of_use(&self, node: usize, one: &Use, with_item: bool) -> Option<String> {
        let member = |index: usize| one.path.get(index).map(String::as_str);
        match one.path[0].as_str() {
            "parameters" => {
                let Some(name) = member(1) else { return Some("parameters has to be followed by a name: parameters.NAME".to_owned()) };
                let known = self.spec.parameters.iter().map(|parameter| parameter.name.as_str());
                unknown("the workflow has no parameter", name, known)
            }
            "steps" => self.of_step(node, one),
            "item" | "index" if with_item => None,
            name @ ("item" | "index") => Some(format!("{name} is known in parameters of a step with forEach only")),
            "workflow" if node >= self.graph.regular => match member(1) {
                Some("outcome") => None,
                _ => Some("workflow has one member only: write workflow.outcome".to_owned()),
            },
            "workflow" => Some("workflow.outcome is known in finally only, when the steps have ended".to_owned()),
            name if name == "slot" || TYPES.contains(&name) => None,
            name => Some(format!("there is no {name}; {}", super::values::KNOWN)),
        }
    }

    fn of_step(&self, node: usize, one: &Use) -> Option<String> {
        let (Some(name), Some(part)) = (one.path.get(1), one.path.get(2)) else {
            let way = "write steps.NAME.outcome, steps.NAME.outputs.OUTPUT or steps.NAME.results, with the name as it stands";
            return Some(format!("steps has to be followed by a name and a member; {way}"));
        };
        let Some(used) = self.graph.nodes.iter().position(|other| other.name == *name) else {
            let known = self.upstream[node].iter().map(|other| self.graph.nodes[*other].name.as_str());
            return unknown("there is no step", name, known);
        };
        if used == node {
            return Some(format!("step {name} cannot use itself: it has not run yet"));
        }
        if !self.upstream[node].contains(&used) {
            let fix = if used >= self.graph.regular || node >= self.graph.regular {
                "steps of finally cannot use one another".to_owned()
            } else {
                format!("add {{ step: {name} }} to dependsOn, or use a step that is there")
            };
            return Some(format!("step {name} may not have ended by then: this step does not depend on it; {fix}"));
        }
        let each = self.graph.nodes[used].each.is_some();
        match part.as_str() {
            "outputs" if each => Some(format!("step {name} has forEach and so a list: use steps['{name}'].results")),
            "results" if !each => Some(format!("step {name} has no forEach: use steps['{name}'].outputs")),
            "outcome" | "results" => None,
            "outputs" => {
                let target = self.targets[used].as_ref()?;
                // All of them, or one that is worked out: seen when it runs.
                let output = one.path.get(3)?;
                if target.outputs.is_empty() {
                    return Some(format!("{} declares no outputs; add {output} to its spec.outputs", target.name));
                }
                unknown(&format!("{} has no output", target.name), output, target.outputs.iter().map(|output| output.name.as_str()))
            }
            other => Some(format!("steps.{name} has no member {other}; it has outcome, outputs and, with forEach, results")),
        }
    }
}

/// What is wrong with the parameters that a step gives.
fn parameters(of: &Node, target: &Target) -> Vec<String> {
    let mut problems = Vec::new();
    let given: BTreeMap<&str, &Given> = of.parameters.iter().map(|(name, given)| (name.as_str(), given)).collect();
    for (at, (name, given)) in of.parameters.iter().enumerate() {
        let field = format!("{}.parameters[{at}]", of.field);
        let Some(parameter) = target.parameters.iter().find(|parameter| parameter.name == *name) else {
            let known = target.parameters.iter().map(|parameter| parameter.name.as_str());
            problems.extend(unknown(&format!("{} has no parameter", target.name), name, known).map(|told| format!("{field}: {told}")));
            continue;
        };
        if let Given::Value(value) = given {
            problems.extend(build::parameters::check(parameter, value).err().map(|problem| format!("{field}.value: {problem}")));
        }
    }
    for parameter in &target.parameters {
        if parameter.default.is_some() || given.contains_key(parameter.name.as_str()) {
            continue;
        }
        if parameter.required == Some(true) {
            problems.push(format!("{}.parameters: {} requires {}; give it a value", of.field, target.name, parameter.name));
        } else if parameter.from_slot.is_some() {
            problems.push(format!(
                "{}.parameters: {} makes {} from the slots of its own schedule, which a step has not; give it a value, such as the expression format(slot, '%Y-%m-%d')",
                of.field, target.name, parameter.name
            ));
        }
    }
    problems
}

/// Tells that a name is not among the known ones, where it is not.
fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    if known.clone().any(|one| one == name) {
        return None;
    }
    let names: Vec<&str> = known.take(12).collect();
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Some(format!("{what} {name}; known: {known}"))
}
