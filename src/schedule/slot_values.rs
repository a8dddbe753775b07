//! Values that are made from a slot: `parameters[].fromSlot`, a CEL expression.
//!
//! An expression cannot name anything but the slot and what CEL itself has, so the same slot always gives the same value.

use cel::Value;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::Schedule;
use crate::{
    api,
    expression::{self, Expression, with_room},
};

#[cfg(test)]
mod tests;

/// What can be named, for whoever named something else.
const KNOWN: &str = "known are slot, previousSlot, format(time, '%Y-%m-%d'), duration('24h') and CEL's standard functions, without macros";

/// Checks each `fromSlot` at acceptance: that it parses, and that it has a value at each of some slots of a leap year.
/// A branch that none of these takes is not looked into: CEL knows no types before it runs.
///
/// # Errors
/// Names the field, what is wrong, and what to write instead.
pub fn check_slot_values(parameters: &[api::Parameter], zone: &TimeZone) -> Result<(), String> {
    for (index, text) in from_slot(parameters) {
        let of_all = |expression: &Expression| samples().try_for_each(|slot| evaluate(expression, slot, slot - DAY, zone).map(drop));
        with_room(|| of_all(&parse(text)?)).map_err(|problem| in_field(index, &problem))?;
    }
    Ok(())
}

/// Returns the value of each parameter with a `fromSlot` for a run of this slot, in their order.
///
/// # Errors
/// Names the field and what is wrong: an expression that was accepted can still have no value at a later slot.
pub fn slot_values(parameters: &[api::Parameter], slot: Timestamp, schedule: &Schedule) -> Result<Vec<api::ParameterValue>, String> {
    let mut from_slot = from_slot(parameters).peekable();
    // Looked for only where it can be named.
    let previous = from_slot.peek().and_then(|_| schedule.previous(slot));
    from_slot
        .map(|(index, text)| {
            let value = slot_value(text, slot, previous, &schedule.zone).map_err(|problem| in_field(index, &problem))?;
            Ok(api::ParameterValue { name: parameters[index].name.clone(), value })
        })
        .collect()
}

/// Returns the value of an expression at a slot. `slot` and `previousSlot` have the offset of the zone at their own time,
/// so that `slot.getHours()` is the hour on the wall; what is added to one keeps its offset, while `format` always goes by
/// the zone. Where a slot has none before it, `previousSlot` is the slot itself: a first run has nothing to catch up on.
///
/// # Errors
/// Tells what is wrong with the expression or its value.
pub fn slot_value(expression: &str, slot: Timestamp, previous: Option<Timestamp>, zone: &TimeZone) -> Result<String, String> {
    with_room(|| evaluate(&parse(expression)?, slot, previous.unwrap_or(slot), zone))
}

fn from_slot(parameters: &[api::Parameter]) -> impl Iterator<Item = (usize, &str)> {
    parameters.iter().enumerate().filter_map(|(index, parameter)| Some((index, parameter.from_slot.as_deref()?)))
}

fn in_field(index: usize, problem: &str) -> String {
    format!("parameters[{index}].fromSlot: {problem}")
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Slots of 2028: every fifth day, at ever other hours, with the leap day and both ends of the year among them.
fn samples() -> impl Iterator<Item = Timestamp> {
    const NEW_YEAR: i64 = 1_830_297_600;
    let of = |hours: i64| Timestamp::from_second(NEW_YEAR + hours * 3600).ok();
    (0..74).map(move |n| n * (5 * 24 + 5)).chain([-1, 59 * 24 + 12, 365 * 24 + 23]).filter_map(of)
}

fn parse(text: &str) -> Result<Expression, String> {
    Expression::parse(text, "format(slot, '%Y-%m-%d')")
}

fn evaluate(expression: &Expression, slot: Timestamp, previous: Timestamp, zone: &TimeZone) -> Result<String, String> {
    let mut context = expression::context(zone)?;
    for (name, time) in [("slot", slot), ("previousSlot", previous)] {
        let time = expression::in_zone(time, zone).ok_or("the slot is out of the range of years that CEL knows")?;
        context.add_variable_from_value(name, Value::Timestamp(time));
    }
    let value = expression.evaluate(&context, KNOWN).map_err(|problem| problem.message)?;
    expression::text(&value, false)
}
