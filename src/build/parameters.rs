//! The values that a run's container gets for the task's parameters.

use regex::Regex;

use crate::api::{Parameter, ParameterValue};

/// Checks the values that a run gives against the parameters of its task or workflow (`of` says which, in a word) and returns
/// those that it gets, in their order.
///
/// # Errors
/// Tells everything that is wrong, each with the field and the fix.
pub(crate) fn resolve(of: &str, parameters: &[Parameter], given: &[ParameterValue]) -> Result<Vec<(String, String)>, String> {
    let mut wrong: Vec<String> = given
        .iter()
        .filter(|value| parameters.iter().all(|p| p.name != value.name))
        .map(|value| {
            let known: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("spec.parameters: the {of} has no parameter {}; it has: {known}", value.name)
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

/// Whether a parameter may have this value.
///
/// # Errors
/// Tells what is wrong with it.
pub(crate) fn check(parameter: &Parameter, value: &str) -> Result<(), String> {
    let name = &parameter.name;
    if let Some(allowed) = &parameter.one_of
        && !allowed.iter().any(|one| one == value)
    {
        return Err(format!("{name} is {value:?}; allowed are: {}", allowed.join(", ")));
    }
    if let Some(pattern) = &parameter.pattern {
        let whole = Regex::new(&format!("^(?:{pattern})$"))
            .map_err(|_| format!("{name}: its pattern {pattern:?} is not a valid regular expression"))?;
        if !whole.is_match(value) {
            return Err(format!("{name} is {value:?}, which does not match {pattern}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resolved(parameters: Value, given: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let parameters: Vec<Parameter> = serde_json::from_value(parameters).unwrap();
        let given: Vec<ParameterValue> =
            given.iter().map(|(name, value)| ParameterValue { name: (*name).to_owned(), value: (*value).to_owned() }).collect();
        resolve("task", &parameters, &given)
    }

    fn day() -> Value {
        json!([
            { "name": "DAY", "required": true, "pattern": "[0-9]{4}-[0-9]{2}-[0-9]{2}|today" },
            { "name": "REGION", "default": "eu", "enum": ["eu", "us"] },
            { "name": "NOTE" },
        ])
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn given_values_win_over_defaults_in_the_tasks_order_and_what_has_neither_is_left_out() {
        assert_eq!(resolved(day(), &[("REGION", "us"), ("DAY", "2026-11-24")]), Ok(pairs(&[("DAY", "2026-11-24"), ("REGION", "us")])));
        assert_eq!(
            resolved(day(), &[("NOTE", ""), ("DAY", "today")]),
            Ok(pairs(&[("DAY", "today"), ("REGION", "eu"), ("NOTE", "")])),
            "an empty value is one"
        );
        assert_eq!(resolved(json!([]), &[]), Ok(Vec::new()));
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_the_field_and_the_fix() {
        for (given, told) in [
            (&[][..], "spec.parameters: DAY is required; give it a value"),
            (&[("DAY", "today"), ("DYA", "x")], "spec.parameters: the task has no parameter DYA; it has: DAY, REGION, NOTE"),
            (&[("DAY", "today"), ("REGION", "asia")], "spec.parameters: REGION is \"asia\"; allowed are: eu, us"),
            (&[("DAY", "tomorrow")], "spec.parameters: DAY is \"tomorrow\", which does not match [0-9]{4}-[0-9]{2}-[0-9]{2}|today"),
            (
                &[("X", "1"), ("REGION", "EU")],
                "spec.parameters: the task has no parameter X; it has: DAY, REGION, NOTE; spec.parameters: DAY is required; give it a value; spec.parameters: REGION is \"EU\"; allowed are: eu, us",
            ),
        ] {
            assert_eq!(resolved(day(), given), Err(told.to_owned()));
        }
        assert_eq!(resolved(json!([]), &[("X", "1")]), Err("spec.parameters: the task has no parameter X; it has: none".to_owned()));
        // What people write stays as they wrote it.
        let given = ParameterValue { name: "REGION".to_owned(), value: "the task".to_owned() };
        let told = "spec.parameters: the workflow has no parameter X; it has: REGION; spec.parameters: REGION is \"the task\"; allowed are: eu, us";
        let parameters: Vec<Parameter> = serde_json::from_value(json!([{ "name": "REGION", "enum": ["eu", "us"] }])).unwrap();
        let unknown = ParameterValue { name: "X".to_owned(), value: String::new() };
        assert_eq!(resolve("workflow", &parameters, &[given, unknown]), Err(told.to_owned()));
    }

    #[test]
    fn a_pattern_must_match_the_whole_value() {
        for (pattern, value, fits) in [
            ("[0-9]+", "12", true),
            ("[0-9]+", "12x", false),
            ("[0-9]+", "x12", false),
            ("[0-9]+", "12\n", false),
            ("a|b", "ab", false),
            ("a|b", "b", true),
            ("a.c", "a\nc", false),
            ("", "", true),
        ] {
            let parameters = json!([{ "name": "P", "pattern": pattern }]);
            assert_eq!(resolved(parameters, &[("P", value)]).is_ok(), fits, "{pattern:?} {value:?}");
        }
        let broken = json!([{ "name": "P", "pattern": "a(" }]);
        assert_eq!(
            resolved(broken, &[("P", "a")]),
            Err("spec.parameters: P: its pattern \"a(\" is not a valid regular expression".to_owned())
        );
    }
}
