//! From what has been seen of the steps to what is to be done.

use super::{
    At, Counts, Decision, Ended, Facts, Graph, Node, Recorded, Start, StepFacts, Stop, is_bad, reason,
    values::{Outcomes, Values},
};
use crate::{api::Outcome, expression::with_room};

/// How many steps a message names.
const NAMED: usize = 3;

impl Graph {
    /// Says which runs to create and to cancel, how each step stands, and what the workflow came to.
    ///
    /// The same facts give the same decision, and facts that only grow (runs are added, runs end) never take back that a step
    /// has ended, where that it has is on record.
    ///
    /// # Errors
    /// Where expressions cannot be worked out at all now, and may be later.
    pub fn decide(&self, facts: &Facts) -> Result<Decision, String> {
        with_room(|| Ok(Pass::new(self, facts).decide()))
    }
}

/// One look at everything.
pub(super) struct Pass<'a> {
    pub(super) graph: &'a Graph,
    facts: &'a Facts<'a>,
    pub(super) values: Values<'a>,
    states: Vec<At>,
    pub(super) items: Vec<Option<Counts>>,
    pub(super) outcomes: Outcomes,
    pub(super) start: Vec<Start>,
    ask: Vec<String>,
    pub(super) stop: Vec<(String, usize)>,
    /// How many more runs may go on.
    pub(super) room: usize,
    /// A step ended badly, nothing takes care of it, and nothing is to be started any more.
    pub(super) failed_fast: Option<usize>,
    /// Runs go on of steps that are on record to have ended: they came into view late.
    late: bool,
}

/// Nothing is known of a step that has not begun.
static NOTHING: StepFacts<'static> = StepFacts { runs: std::collections::BTreeMap::new(), recorded: None };

impl<'a> Pass<'a> {
    fn new(graph: &'a Graph, facts: &'a Facts<'a>) -> Self {
        // Who asks runs nothing.
        let runs = graph.nodes.iter().filter(|node| !node.asks).filter_map(|node| facts.steps.get(node.name.as_str()));
        let go_on = runs.flat_map(|step| step.runs.values()).filter(|run| run.outcome.is_none()).count();
        let nodes = graph.nodes.len();
        Self {
            graph,
            facts,
            values: Values { graph, facts },
            states: vec![At::Waiting(String::new()); nodes],
            items: vec![None; nodes],
            outcomes: Outcomes { steps: vec![None; nodes], workflow: None },
            start: Vec::new(),
            ask: Vec::new(),
            stop: Vec::new(),
            room: graph.parallelism.saturating_sub(go_on),
            failed_fast: None,
            late: false,
        }
    }

    fn decide(mut self) -> Decision {
        let graph = self.graph;
        // What has ended by its own run comes first: it tells the others whether anything may still begin.
        for node in 0..graph.regular {
            if let Some(at) = self.on_record(node).or_else(|| self.of_run(node)) {
                self.settle(node, at);
            }
        }
        for node in &graph.order {
            if self.outcomes.steps[*node].is_none() {
                let at = self.step(*node, self.facts.stop);
                self.settle(*node, at);
            }
        }
        let steps_ended = self.states[..graph.regular].iter().all(|at| at.outcome().is_some());
        let known = self.facts.steps_end.clone();
        let steps = steps_ended.then(|| known.unwrap_or_else(|| graph.end_of_steps(&self.states, self.facts.stop)));
        self.outcomes.workflow = steps.as_ref().map(|ended| ended.outcome);
        for node in graph.regular..graph.nodes.len() {
            let at = match &steps {
                None => At::Waiting("waits for all steps to end".to_owned()),
                Some(_) => {
                    let over = self.facts.finally_over.then_some(Stop::TimedOut);
                    self.on_record(node).or_else(|| self.of_run(node)).unwrap_or_else(|| self.step(node, over))
                }
            };
            self.settle(node, at);
        }
        let all_ended = !self.late && self.states.iter().all(|at| at.outcome().is_some());
        let end = steps.clone().filter(|_| all_ended).map(|steps| graph.end(steps, &self.states, self.facts.finally_over));
        Decision { steps: graph.named(self.states, self.items), start: self.start, ask: self.ask, stop: self.stop, steps_end: steps, end }
    }

    fn settle(&mut self, node: usize, at: At) {
        let ended = at.outcome();
        self.states[node] = at;
        self.outcomes.steps[node] = ended;
        if node < self.graph.regular && self.graph.fail_fast && self.failed_fast.is_none() {
            // One that is skipped takes care of nothing any more.
            let given_up = self.graph.nodes[node].needs.iter().map(|edge| edge.node).filter(|_| ended == Some(Outcome::Skipped));
            let unhandled = |other: &usize| {
                let outcome = self.outcomes.steps[*other].filter(|outcome| is_bad(*outcome));
                outcome.is_some_and(|outcome| !self.graph.is_handled(*other, outcome, &self.states))
            };
            self.failed_fast = std::iter::once(node).chain(given_up).find(unhandled);
        }
    }

    pub(super) fn seen(&self, node: usize) -> &'a StepFacts<'a> {
        self.facts.steps.get(self.graph.nodes[node].name.as_str()).unwrap_or(&NOTHING)
    }

    /// The end of a step without `forEach` that its run tells.
    fn of_run(&self, node: usize) -> Option<At> {
        let run = self.seen(node).runs.get(&0).filter(|_| self.graph.nodes[node].each.is_none())?;
        let (reason, message) = run.told;
        Some(At::Ended(Ended::new(run.outcome?, reason, message)))
    }

    /// The end of a step that is on record. It stays so; a run that comes into view after it is stopped.
    fn on_record(&mut self, node: usize) -> Option<At> {
        let seen = self.seen(node);
        let ended = seen.recorded.as_ref()?.ended.clone()?;
        let name = &self.graph.nodes[node].name;
        let live = seen.runs.iter().filter(|(_, run)| run.outcome.is_none() && !self.graph.nodes[node].asks);
        let before = self.stop.len();
        self.stop.extend(live.map(|(index, _)| (name.clone(), *index)));
        self.late |= self.stop.len() > before;
        Some(At::Ended(ended))
    }

    /// How a step stands that has not been found to have ended.
    fn step(&mut self, node: usize, stop: Option<Stop>) -> At {
        let of = &self.graph.nodes[node];
        let seen = self.seen(node);
        let recorded = seen.recorded.as_ref().map_or(0, |recorded: &Recorded| recorded.started);
        let begun = recorded > 0 || seen.runs.values().any(|run| !run.kept);
        if let Some(at) = if begun { None } else { self.before_it_begins(node, stop) } {
            return at;
        }
        match &of.each {
            Some(each) => self.each(node, each, begun, stop),
            None if of.asks => self.asking(of, begun, stop),
            None => self.single(of, seen, recorded, stop),
        }
    }

    /// Why a step that has not begun does not begin now.
    fn before_it_begins(&self, node: usize, stop: Option<Stop>) -> Option<At> {
        let of = &self.graph.nodes[node];
        let skipped = |reason: &str, message: String| Some(At::Ended(Ended::new(Outcome::Skipped, reason, message)));
        match stop {
            Some(Stop::Cancelled) => {
                return skipped(reason::WORKFLOW_CANCELLED, "the run was cancelled before the step started".to_owned());
            }
            Some(Stop::TimedOut) => {
                return skipped(reason::WORKFLOW_TIMED_OUT, "the run's time was over before the step started".to_owned());
            }
            None => {}
        }
        let name = |node: usize| self.graph.nodes[node].name.as_str();
        let outcome = |node: usize| self.outcomes.steps[node];
        let waits: Vec<&str> = of.needs.iter().filter(|edge| outcome(edge.node).is_none()).map(|edge| name(edge.node)).collect();
        for edge in of.needs.iter().filter(|_| waits.is_empty()) {
            let Some(ended) = outcome(edge.node).filter(|ended| !edge.outcomes.contains(ended)) else { continue };
            let why = match ended {
                Outcome::NoData => reason::UPSTREAM_NO_DATA,
                Outcome::Skipped => reason::UPSTREAM_SKIPPED,
                Outcome::Succeeded => reason::UPSTREAM_SUCCEEDED,
                _ => reason::UPSTREAM_FAILED,
            };
            let wants: Vec<String> = edge.outcomes.iter().map(|outcome| format!("{outcome:?}")).collect();
            return skipped(why, format!("step {} ended {ended:?}, and this step wants {}", name(edge.node), wants.join(" or ")));
        }
        if let Some(failed) = self.failed_fast.filter(|_| node < self.graph.regular) {
            let message = format!("step {} ended badly, and failFast starts nothing after that", self.graph.nodes[failed].name);
            return skipped(reason::FAIL_FAST, message);
        }
        if !waits.is_empty() {
            return Some(At::Waiting(waits_for(&waits)));
        }
        match self.values.when(of, &self.outcomes) {
            Ok(true) => None,
            Ok(false) => skipped(reason::WHEN_FALSE, "its when gave false".to_owned()),
            Err(problem) => Some(invalid(problem.message)),
        }
    }

    /// A step that asks somebody, who has not answered: the question is taken back once nothing can come of it.
    fn asking(&mut self, of: &Node, begun: bool, stop: Option<Stop>) -> At {
        let taken_back =
            |reason: &str, words: &str| At::Ended(Ended::new(Outcome::Cancelled, reason, format!("{words} before anybody answered")));
        match (stop, self.failed_fast) {
            (Some(Stop::Cancelled), _) => taken_back(reason::WORKFLOW_CANCELLED, "the run was cancelled"),
            (Some(Stop::TimedOut), _) => taken_back(reason::WORKFLOW_TIMED_OUT, "the run's time was over"),
            (None, Some(failed)) => {
                taken_back(reason::FAIL_FAST, &format!("step {} ended badly, and failFast ended this one", self.graph.nodes[failed].name))
            }
            (None, None) => {
                if !begun {
                    self.ask.push(of.name.clone());
                }
                At::Running
            }
        }
    }

    /// A step with one run, which has not ended.
    fn single(&mut self, of: &'a Node, seen: &StepFacts, recorded: usize, stop: Option<Stop>) -> At {
        if seen.runs.contains_key(&0) {
            if stop.is_some() {
                self.stop.push((of.name.clone(), 0));
            }
            return At::Running;
        }
        if recorded > 0 {
            return At::Ended(Ended::new(Outcome::Cancelled, reason::RUN_DELETED, "its run was deleted before it ended"));
        }
        if self.room == 0 {
            return At::Waiting(format!("could start; {} runs go on at once already, as parallelism allows", self.graph.parallelism));
        }
        match self.values.parameters(of, &self.outcomes, None) {
            Ok(parameters) => {
                self.room -= 1;
                self.start.push(Start { step: of.name.clone(), index: None, parameters });
                At::Running
            }
            Err(problem) => invalid(problem.message),
        }
    }
}

pub(super) fn invalid(problem: String) -> At {
    At::Ended(Ended::new(Outcome::Failed, reason::INVALID_EXPRESSION, problem))
}

fn waits_for(names: &[&str]) -> String {
    let first = &names[..names.len().min(NAMED)];
    let more = names.len() - first.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("waits for {}{more}", first.join(", "))
}
