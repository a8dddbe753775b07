//! Values that are made from a slot: `parameters[].fromSlot`, a CEL expression.
//!
//! An expression cannot name anything but the slot and what CEL itself has, so the same slot always gives the same value.
//! CEL's macros (`map`, `filter`, `all`, …) are left out: without them nothing repeats or names a part of itself, and an
//! expression costs what its length is.

use std::{
    sync::{Arc, LazyLock},
    thread,
};

use cel::{Context, Env, ExecutionError, IdedExpr, Value};
use chrono::{DateTime, FixedOffset};
use jiff::{SignedDuration, Timestamp, fmt::strtime, tz::TimeZone};

use super::Schedule;
use crate::api;

#[cfg(test)]
mod tests;

/// Longest expression, in characters, as in the CRD.
const LONGEST: usize = 1024;
/// Parser and evaluation go down into an expression, and each level takes its part of the stack: in a debug build 0.2 MiB
/// for a bracket and 0.04 MiB for an operator, which the 2 MiB of an ordinary thread would not bear. No date needs more.
const DEEPEST: usize = 16;
const MOST_OPERATORS: usize = 128;
/// Bytes of stack that are enough for any expression within these limits, several times over.
const STACK: usize = 64 << 20;
/// Longest value, in bytes, as a run's may be, and longest text that `format` takes.
const LONGEST_VALUE: usize = 4096;
const LONGEST_LETTERS: usize = 256;

/// What can be named, for whoever named something else.
const KNOWN: &str = "known are slot, previousSlot, format(time, '%Y-%m-%d'), duration('24h') and CEL's standard functions, without macros";

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// Checks each `fromSlot` at acceptance: that it parses, and that it has a value at each of some slots of a leap year.
/// A branch that none of these takes is not looked into: CEL knows no types before it runs.
///
/// # Errors
/// Names the field, what is wrong, and what to write instead.
pub fn check_slot_values(parameters: &[api::Parameter], zone: &TimeZone) -> Result<(), String> {
    for (index, text) in from_slot(parameters) {
        let of_all = |expression: &IdedExpr| samples().try_for_each(|slot| evaluate(expression, slot, slot - DAY, zone).map(drop));
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

/// Does some work on a stack that is large enough for it, and waits for it. Should the work panic, that is told as well:
/// nothing that users write may end the operator.
fn with_room<T: Send>(work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let begun = thread::Builder::new().name("fromSlot".to_owned()).stack_size(STACK).spawn_scoped(scope, work);
        let ended = begun.map_err(|error| format!("cannot be worked out now: {error}"))?.join();
        ended.unwrap_or_else(|_| Err("cannot be worked out: write it in another way".to_owned()))
    })
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

fn parse(text: &str) -> Result<IdedExpr, String> {
    let length = text.chars().count();
    if length > LONGEST {
        return Err(format!("has {length} characters; at most {LONGEST} are allowed"));
    }
    let (mut depth, mut deepest, mut operators) = (0usize, 0, 0);
    for letter in text.chars() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            // Also where they stand in a text: what is counted too high is refused, what is counted too low is a crash.
            '+' | '-' | '*' | '/' | '%' | '!' | '<' | '>' | '=' | '&' | '|' | '?' | ':' | '.' => operators += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > DEEPEST {
        return Err(format!("has {deepest} brackets within one another; at most {DEEPEST} are allowed"));
    }
    if operators > MOST_OPERATORS {
        return Err(format!("has {operators} operators and signs; at most {MOST_OPERATORS} are allowed"));
    }
    ENV.parser().error_recovery_limit(1).parse(text).map_err(|errors| {
        let told = errors.errors.first().map(|error| format!(" at character {}: {}", error.pos.1, error.msg.trim()));
        format!("is not a CEL expression{}; an example is format(slot, '%Y-%m-%d')", told.unwrap_or_default())
    })
}

fn evaluate(expression: &IdedExpr, slot: Timestamp, previous: Timestamp, zone: &TimeZone) -> Result<String, String> {
    let out_of_range = || "the slot is out of the range of years that CEL knows".to_owned();
    let mut context = Context::with_env(Arc::clone(&ENV));
    context.add_variable_from_value("slot", in_zone(slot, zone).ok_or_else(out_of_range)?);
    context.add_variable_from_value("previousSlot", in_zone(previous, zone).ok_or_else(out_of_range)?);
    let zone = zone.clone();
    let format = move |time: DateTime<FixedOffset>, letters: Arc<String>| -> Result<Value, ExecutionError> {
        format(time, &letters, &zone).map(Value::from).map_err(|problem| ExecutionError::function_error("format", problem))
    };
    context.add_function("format", format).map_err(|error| error.to_string())?;
    let value = match context.resolve(expression) {
        Ok(Value::String(text)) => text.to_string(),
        Ok(Value::Int(number)) => number.to_string(),
        Ok(Value::UInt(number)) => number.to_string(),
        Ok(Value::Bool(truth)) => truth.to_string(),
        Ok(other) => {
            return Err(format!(
                "is {}; want a text, a whole number or a truth value: format(…), string(…) or int(…) make one",
                kind(&other)
            ));
        }
        Err(error @ ExecutionError::UndeclaredReference(_)) => return Err(format!("{error}; {KNOWN}")),
        Err(error) => return Err(error.to_string()),
    };
    if value.len() > LONGEST_VALUE {
        return Err(format!("makes a text of {} bytes; at most {LONGEST_VALUE} are allowed", value.len()));
    }
    if value.contains('\0') {
        return Err("makes a text with a NUL character, which no program can be given; remove it".to_owned());
    }
    Ok(value)
}

fn in_zone(time: Timestamp, zone: &TimeZone) -> Option<DateTime<FixedOffset>> {
    let utc = DateTime::from_timestamp(time.as_second(), 0)?;
    Some(utc.with_timezone(&FixedOffset::east_opt(zone.to_offset(time).seconds())?))
}

fn format(time: DateTime<FixedOffset>, letters: &str, zone: &TimeZone) -> Result<String, String> {
    if letters.len() > LONGEST_LETTERS {
        return Err(format!("the letters are {} bytes long; at most {LONGEST_LETTERS} are allowed", letters.len()));
    }
    let nanosecond = i32::try_from(time.timestamp_subsec_nanos()).map_err(|error| error.to_string())?;
    let time = Timestamp::new(time.timestamp(), nanosecond).map_err(|error| error.to_string())?;
    strtime::format(letters, &time.to_zoned(zone.clone())).map_err(|error| error.to_string())
}

/// What a value is, for whoever wanted another.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Timestamp(_) => "a time",
        Value::Duration(_) => "a duration",
        Value::Float(_) => "a number with a fraction",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Bytes(_) => "bytes",
        Value::Null => "null",
        _ => "of a kind that has no text",
    }
}
