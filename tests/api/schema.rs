//! Walking the schemas of our kinds.

use kube::ResourceExt;
use serde_json::Value;

/// The kinds, with the schema of each.
pub fn schemas() -> Vec<(String, Value)> {
    let schema = |crd: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
        serde_json::to_value(&crd.spec.versions[0].schema).expect("JSON")["openAPIV3Schema"].take()
    };
    nightshift::api::crds().iter().map(|crd| (crd.name_any(), schema(crd))).collect()
}

/// Calls `visit` with the path and schema of each field, list item and map value below `schema`.
pub fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        visit(&path, field);
        walk(&path, field, visit);
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            let path = format!("{path}{suffix}");
            visit(&path, &schema[key]);
            walk(&path, &schema[key], visit);
        }
    }
}

/// One text in an object: where it stands, as a JSON pointer and as Kubernetes spells it, and what it may be.
pub struct Text {
    pub pointer: String,
    pub field: String,
    pub schema: Value,
}

/// The texts in `value` that are free: not one of an enum, not of a format.
pub fn texts(pointer: &str, field: &str, value: &Value, schema: &Value, found: &mut Vec<Text>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                let (field, schema) = match schema["properties"].get(name) {
                    Some(known) => (format!("{field}.{name}"), known),
                    None => (field.to_owned(), &schema["additionalProperties"]),
                };
                texts(&pointer, &field, value, schema, found);
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                texts(&format!("{pointer}/{n}"), &format!("{field}[{n}]"), item, &schema["items"], found);
            }
        }
        Value::String(_) if schema["enum"].is_null() && schema["format"].is_null() => {
            found.push(Text { pointer: pointer.to_owned(), field: field.to_owned(), schema: schema.clone() });
        }
        _ => {}
    }
}
