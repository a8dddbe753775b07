//! The values that a run's container gets for the task's parameters.

use regex::Regex;

use crate::api::{Parameter, ParameterValue};

/// Checks the values that a run gives against the task's parameters and returns those that its container gets, in the
/// task's order.
///
/// # Errors
/// Tells everything that is wrong, each with the field and the fix.
pub(super) fn resolve(parameters: &[Parameter], given: &[ParameterValue]) -> Result<Vec<(String, String)>, String> {
    let mut wrong: Vec<String> = given
        .iter()
        .filter(|value| parameters.iter().all(|p| p.name != value.name))
        .map(|value| {
            let known: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("spec.parameters: the task has no parameter {}; it has: {known}", value.name)
        })
        .collect();
    let mut resolved = Vec::new();
    for parameter in parameters {
        let name = &parameter.name;
        match given.iter().find(|value| value.name == *name) {
            Some(given) => match check(parameter, &given.value) {
                Ok(()) => resolved.push((name.clone(), given.value.clone())),
                Err(problem) => wrong.push(format!("spec.parameters: {problem}")),
            },
            None => match &parameter.default {
                Some(default) => resolved.push((name.clone(), default.clone())),
                None if parameter.required == Some(true) => wrong.push(format!("spec.parameters: {name} is required; give it a value")),
                None => {}
            },
        }
    }
    if wrong.is_empty() { Ok(resolved) } else { Err(wrong.join("; ")) }
}

fn check(parameter: &Parameter, value: &str) -> Result<(), String> {
    let name = &parameter.name;
    if let Some(allowed) = &parameter.one_of
        && !allowed.iter().any(|one| one == value)
    {
        return Err(format!("{name} is {value:?}; allowed are: {}", allowed.join(", ")));
    }
    if let Some(pattern) = &parameter.pattern {
        let whole = Regex::new(&format!("^(?:{pattern})$"))
            .map_err(|_| format!("{name}: the task's pattern {pattern:?} is not a valid regular expression"))?;
        if !whole.is_match(value) {
            return Err(format!("{name} is {value:?}, which does not match {pattern}"));
        }
    }
    Ok(())
}
