//! What the steps of a workflow come to together.

use super::{At, Ended, Graph, StepState, Stop, is_bad, reason};
use crate::api::Outcome;

/// How many steps a message names.
const NAMED: usize = 3;

impl Graph {
    /// Whether some step goes on from this end of that one, or still may.
    pub(super) fn is_handled(&self, node: usize, outcome: Outcome, states: &[At]) -> bool {
        let wants = |edge: &super::Edge| edge.node == node && edge.outcomes.contains(&outcome);
        let steps = self.nodes[..self.regular].iter().zip(states);
        steps.into_iter().any(|(other, at)| at.outcome() != Some(Outcome::Skipped) && other.needs.iter().any(wants))
    }

    /// What `steps` came to, all of them being over.
    pub(super) fn end_of_steps(&self, states: &[At], stop: Option<Stop>) -> Ended {
        let steps = &states[..self.regular];
        let ended = |at: &At| match at {
            At::Ended(ended) => Some((ended.outcome, ended.reason.clone())),
            _ => None,
        };
        // A stop that came when all was over has stopped nothing.
        let stopped = |at: &At| {
            ended(at).is_some_and(|(outcome, why)| {
                outcome == Outcome::Cancelled || why == reason::WORKFLOW_CANCELLED || why == reason::WORKFLOW_TIMED_OUT
            })
        };
        if let Some(stop) = stop.filter(|_| steps.iter().any(stopped)) {
            let (outcome, why, words) = match stop {
                Stop::Cancelled => (Outcome::Cancelled, crate::outcome::reason::CANCELLED, "spec.cancel was set"),
                Stop::TimedOut => (Outcome::TimedOut, crate::outcome::reason::RUN_TIMEOUT, "timeouts.runSeconds passed"),
            };
            let left = steps.iter().filter(|at| stopped(at)).count();
            return Ended::new(outcome, why, format!("{words}; {left} of {} steps were stopped or not started", self.regular));
        }
        let bad = self.nodes.iter().zip(steps).enumerate().filter_map(|(node, (of, at))| {
            let outcome = at.outcome().filter(|outcome| is_bad(*outcome) && !self.is_handled(node, *outcome, states))?;
            // What another one's failure cut short is no news.
            if ended(at).is_some_and(|(_, why)| why == reason::FAIL_FAST) {
                return None;
            }
            Some(format!("{} ({outcome:?})", of.name))
        });
        if let Some(message) = listed("step", "ended badly", &bad.collect::<Vec<_>>()) {
            return Ended::new(Outcome::Failed, reason::STEP_FAILED, message);
        }
        let count = |wanted: Outcome| steps.iter().filter(|at| at.outcome() == Some(wanted)).count();
        let (succeeded, no_data, skipped) = (count(Outcome::Succeeded), count(Outcome::NoData), count(Outcome::Skipped));
        // Nothing went on from it.
        let ran = |at: &At| at.outcome() != Some(Outcome::Skipped);
        let follows = |node: usize| move |other: &super::Node| other.needs.iter().any(|edge| edge.node == node);
        let is_leaf = |node: usize| !self.nodes.iter().zip(steps).any(|(other, at)| ran(at) && follows(node)(other));
        let leaf_succeeded = (0..self.regular).any(|node| is_leaf(node) && states[node].outcome() == Some(Outcome::Succeeded));
        if no_data > 0 && !leaf_succeeded {
            let first =
                self.nodes.iter().zip(steps).find(|(_, at)| at.outcome() == Some(Outcome::NoData)).map_or("", |(of, _)| of.name.as_str());
            return Ended::new(
                Outcome::NoData,
                reason::NO_DATA,
                format!("step {first} ended NoData, and no step at the end of the workflow Succeeded"),
            );
        }
        if skipped == self.regular {
            return Ended::new(Outcome::Skipped, reason::ALL_SKIPPED, "no step was run: each was skipped");
        }
        let others = if skipped == 0 { String::new() } else { format!(", {skipped} skipped") };
        let quiet = if no_data == 0 { String::new() } else { format!(", {no_data} without data") };
        let handled = self.regular - succeeded - no_data - skipped;
        let cared = if handled == 0 { String::new() } else { format!(", {handled} ended badly and were taken care of") };
        Ended::new(Outcome::Succeeded, reason::STEPS_ENDED, format!("{succeeded} steps Succeeded{quiet}{others}{cared}"))
    }

    /// What the whole came to: `finally` can make a good end bad, and hides no bad one.
    pub(super) fn end(&self, steps: Ended, states: &[At], finally_over: bool) -> Ended {
        if is_bad(steps.outcome) {
            return steps;
        }
        let bad = self.nodes.iter().zip(states).skip(self.regular).filter_map(|(of, at)| {
            // One for which there was no time left is as bad as one that failed: it was to run always.
            let no_time = matches!(at, At::Ended(ended) if ended.reason == reason::WORKFLOW_TIMED_OUT);
            let outcome = at.outcome().filter(|outcome| is_bad(*outcome) || no_time)?;
            Some(format!("{} ({outcome:?})", of.name))
        });
        match listed("step of finally", "ended badly", &bad.collect::<Vec<_>>()) {
            Some(message) if finally_over => Ended::new(Outcome::TimedOut, crate::outcome::reason::RUN_TIMEOUT, message),
            Some(message) => Ended::new(Outcome::Failed, reason::FINALLY_FAILED, message),
            None => steps,
        }
    }

    /// The states with their names.
    pub(super) fn named(&self, states: Vec<At>, items: Vec<Option<super::Counts>>) -> Vec<StepState> {
        let with_name = |((node, at), items): ((&super::Node, At), _)| StepState { name: node.name.clone(), at, items };
        self.nodes.iter().zip(states).zip(items).map(with_name).collect()
    }
}

fn listed(what: &str, happened: &str, names: &[String]) -> Option<String> {
    let first = names.get(..names.len().min(NAMED))?;
    let more = names.len() - first.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    (!first.is_empty()).then(|| format!("{what}{} {happened}: {}{more}", if names.len() == 1 { "" } else { "s" }, first.join(", ")))
}
