//! Values of expressions: from JSON, and to the text that a container gets.

use std::sync::Arc;

use cel::{
    Value,
    objects::{Key, Map},
};
use serde_json::Value as Json;

/// Longest value, in bytes, as a run's may be.
const LONGEST_VALUE: usize = 4096;

/// The same value for CEL. Whole numbers are its `int`, so that they can be compared with a `0` as people write it.
#[must_use]
pub fn from_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Int),
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(from_json).collect())),
        Json::Object(members) => map(members.iter().map(|(name, member)| (name.as_str(), from_json(member)))),
    }
}

/// A map with these members.
pub(crate) fn map<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let member = |(name, value): (&str, Value)| (Key::String(Arc::new(name.to_owned())), value);
    Value::Map(Map { map: Arc::new(members.into_iter().map(member).collect()) })
}

/// The value as the text of a parameter: numbers and truth values as CEL writes them, lists and maps as JSON where
/// `structures` may be. What has no text is told.
///
/// # Errors
/// Tells what the value is and what to do about it.
pub fn text(value: &Value, structures: bool) -> Result<String, String> {
    let text = match value {
        Value::String(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Float(number) if structures && number.is_finite() => number.to_string(),
        Value::List(_) | Value::Map(_) if structures => to_json(value)?.to_string(),
        other if structures => {
            return Err(format!(
                "is {}; want a text, a number, a truth value, a list or a map: format(…) or string(…) make a text",
                kind(other)
            ));
        }
        other => {
            let what = kind(other);
            return Err(format!("is {what}; want a text, a whole number or a truth value: format(…), string(…) or int(…) make one"));
        }
    };
    if text.len() > LONGEST_VALUE {
        return Err(format!("makes a text of {} bytes; at most {LONGEST_VALUE} are allowed", text.len()));
    }
    if text.contains('\0') {
        return Err("makes a text with a NUL character, which no program can be given; remove it".to_owned());
    }
    Ok(text)
}

fn to_json(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => (*number).into(),
        Value::UInt(number) => (*number).into(),
        Value::Float(number) if number.is_finite() => (*number).into(),
        Value::String(text) => Json::String(text.to_string()),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect::<Result<_, _>>()?),
        Value::Map(map) => {
            let member = |(key, value): (&Key, &Value)| match key {
                Key::String(name) => Ok((name.to_string(), to_json(value)?)),
                _ => Err("has a map whose keys are no texts, which JSON does not have".to_owned()),
            };
            // In the order of the names: the same value always makes the same text.
            let mut members = map.map.iter().map(member).collect::<Result<Vec<_>, _>>()?;
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(members.into_iter().collect())
        }
        other => return Err(format!("has {} in it, which JSON does not have; string(…) makes a text of it", kind(other))),
    })
}

/// What a value is, for whoever wanted another.
#[must_use]
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Int(_) | Value::UInt(_) => "a whole number",
        Value::Bool(_) => "a truth value",
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_comes_from_json_goes_back_to_the_same_json() {
        for value in [json!([]), json!({}), json!([1, "a", true, null, 1.5, -3]), json!({ "b": { "c": [1] }, "a": "ä\"" })] {
            assert_eq!(text(&from_json(&value), true), Ok(value.to_string()));
        }
    }

    #[test]
    fn a_text_stays_as_it_stands_and_what_has_no_text_is_told() {
        assert_eq!(text(&from_json(&json!("a \"b\"")), true), Ok("a \"b\"".to_owned()));
        assert_eq!(text(&from_json(&json!(7)), false), Ok("7".to_owned()));
        assert!(text(&from_json(&json!([1])), false).unwrap_err().starts_with("is a list; want a text"));
        assert!(text(&Value::Null, true).unwrap_err().starts_with("is null; want a text"));
        assert!(text(&from_json(&json!("x".repeat(5000))), true).unwrap_err().contains("5000 bytes"));
        assert!(text(&from_json(&json!("a\0")), true).unwrap_err().contains("NUL"));
    }
}
