//! How an objective stands, for programs, for `kubectl get`, and in a sentence.

use super::objective::Objective;
use crate::api::{BadCause, BadSlot, SloState, SloStatus};

/// The budget nearly spent: no more than one part in so many is left of it.
const NEARLY_SPENT: i64 = 4;

/// How it stands, where so many of the counted slots were bad and so many may be.
pub(super) fn state(counted: i64, bad: i64, budget: i64) -> SloState {
    match budget - bad {
        _ if counted == 0 => SloState::InsufficientData,
        left if left < 0 => SloState::Breached,
        left if bad > 0 && left * NEARLY_SPENT <= budget => SloState::AtRisk,
        _ => SloState::Met,
    }
}

/// State and budget in a few words.
pub(super) fn summary(state: SloState, budget: i64, left: i64) -> String {
    match state {
        SloState::InsufficientData => "InsufficientData".to_owned(),
        SloState::Breached => format!("Breached, {} over", -left),
        SloState::Met if budget == 0 => "Met, none may be bad".to_owned(),
        SloState::Met | SloState::AtRisk => format!("{state:?}, {left} of {budget} left"),
    }
}

/// All that whoever is on call wants to know.
#[must_use]
pub fn sentence(slo: &SloStatus) -> String {
    let counted = match &slo.attainment {
        Some(attainment) => {
            format!("{} of {} slots were good and in time ({attainment})", slo.good, slo.counted)
        }
        None => "no slot was good or bad so far".to_owned(),
    };
    let window = if slo.window.ends_with("days") || slo.window.ends_with("day") {
        format!("{} ({})", slo.window, many(slo.window_slots, "slot"))
    } else {
        slo.window.clone()
    };
    let allows = if slo.budget > 0 { format!("{} bad", slo.budget) } else { "no bad slot".to_owned() };
    let left = match (slo.state, Objective::parse(&slo.objective).and_then(Objective::smallest_window)) {
        (SloState::Breached, Some(smallest)) if slo.budget == 0 => {
            format!(" (the smallest window that allows one has {smallest}): overspent by {}", slo.budget_left.saturating_neg())
        }
        (SloState::Breached, _) => format!(": overspent by {}", slo.budget_left.saturating_neg()),
        _ if slo.budget > 0 => format!(": {} left", slo.budget_left),
        (_, Some(smallest)) => format!(" (the smallest window that allows one has {smallest})"),
        (_, None) => String::new(),
    };
    let last = slo.last_bad.last().map_or_else(String::new, |last| format!(". Last bad: {}", tell(last)));
    format!("{counted}; the objective {} of {window} allows {allows}{left}{last}", slo.objective)
}

fn tell(bad: &BadSlot) -> String {
    let what = match (&bad.run, bad.slots) {
        (Some(run), _) => format!("run {run} of the slot of {}", bad.slot.0),
        (None, Some(slots)) => format!("{slots} slots up to that of {}", bad.slot.0),
        (None, None) => format!("the slot of {}", bad.slot.0),
    };
    let verb = if bad.cause == BadCause::Late || bad.run.is_none() { "was " } else { "" };
    let why = bad.reason.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    format!("{what} {verb}{:?}{why}", bad.cause)
}

/// A number with its noun.
pub(super) fn many(number: i64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
