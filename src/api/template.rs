//! The full way to say what runs: a pod template, mostly untyped.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    label::{MANAGED_BY, PREFIX},
    vocabulary::{matching, qualified_keys},
};

/// A pod template of which we type only what rules must see; all else is kept as written.
///
/// A fully typed pod template would make the CRD megabytes long and would silently drop pod fields newer than our
/// client library.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodTemplate(pub Value);

impl PodTemplate {
    /// The pod's grace period where the template sets one.
    #[must_use]
    pub fn grace_seconds(&self) -> Option<i64> {
        self.0.pointer("/spec/terminationGracePeriodSeconds")?.as_i64()
    }
}

impl JsonSchema for PodTemplate {
    fn schema_name() -> Cow<'static, str> {
        "PodTemplate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let container = json_schema!({
            "type": "object",
            "required": ["name"],
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {
                "name": {
                    "type": "string", "minLength": 1, "maxLength": 63,
                    "x-kubernetes-validations": [matching("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "must be lower case letters, digits and '-', starting and ending with a letter or digit")],
                    "description": "Name of the container. The one called `main` is the automation itself: its exit code and output count, and the short fields (image, command, env …) fill it."
                },
                "image": {
                    "type": "string", "minLength": 1, "maxLength": 512,
                    "x-kubernetes-validations": [matching("^[!-~]+$", "must be the name of an image, without blanks, such as registry.example.com/import:1.4")],
                    "description": "Image of the container."
                }
            }
        });
        let owned = |what: &str, values: Value| {
            json_schema!({
                "type": "object", "maxProperties": 64, "description": what,
                "additionalProperties": values,
                "x-kubernetes-validations": [qualified_keys(), {
                    "rule": format!("self.all(k, !k.startsWith('{PREFIX}') && !k.startsWith('batch.kubernetes.io/') && k != '{MANAGED_BY}')"),
                    "message": format!("template.metadata: keys under {PREFIX} and batch.kubernetes.io/ and {MANAGED_BY} are set by Nightshift and Kubernetes; remove them")
                }]
            })
        };
        let label = json!({
            "type": "string", "maxLength": 63,
            "x-kubernetes-validations": [matching("^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$", "must be a label value: letters, digits, '-', '_' and '.', starting and ending with a letter or digit")]
        });
        let annotation = json!({ "type": "string", "maxLength": 65536 });
        let description = "The full way to say what runs: a pod template. Every field of a pod is allowed and kept as written. It must have a container named `main`, or `image` must be set, which makes one. The short fields are merged into `main`; what the template says wins over Nightshift's defaults.";
        json_schema!({
            "type": "object",
            "description": description,
            "required": ["spec"],
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": {
                "metadata": {
                    "type": "object",
                    "description": "Labels and annotations of the pods.",
                    "properties": { "labels": owned("Labels of the pods.", label), "annotations": owned("Annotations of the pods, such as those of the Vault Agent injector.", annotation) }
                },
                "spec": {
                    "type": "object",
                    "description": "The pod's spec.",
                    "required": ["containers"],
                    "x-kubernetes-preserve-unknown-fields": true,
                    "x-kubernetes-validations": [
                        { "rule": "!has(self.activeDeadlineSeconds)", "message": "template.spec.activeDeadlineSeconds is set from timeouts.attemptSeconds; remove it and set that", "fieldPath": ".activeDeadlineSeconds" },
                        { "rule": "self.containers.all(c, c.name == 'main' || has(c.image))", "message": "every container but main needs an image", "fieldPath": ".containers" },
                        { "rule": "!has(self.initContainers) || self.initContainers.all(c, has(c.image))", "message": "every init container needs an image", "fieldPath": ".initContainers" }
                    ],
                    "properties": {
                        "containers": {
                            "type": "array", "minItems": 1, "maxItems": 16, "items": container,
                            "description": "The containers; one of them is named `main`.",
                            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]
                        },
                        "initContainers": {
                            "type": "array", "maxItems": 16, "items": container,
                            "description": "Containers that run before, or as sidecars beside, the containers.",
                            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]
                        },
                        "restartPolicy": { "type": "string", "enum": ["Never"], "description": "Always Never: an attempt is a pod." },
                        "activeDeadlineSeconds": { "type": "integer", "format": "int64", "description": "Not here: see timeouts.attemptSeconds." },
                        "terminationGracePeriodSeconds": {
                            "type": "integer", "format": "int64", "minimum": 0, "maximum": 3600,
                            "description": "Seconds between SIGTERM and SIGKILL when an attempt is stopped; 30 where unset."
                        }
                    }
                }
            }
        })
    }
}
