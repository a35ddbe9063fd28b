//! What `GET /openapi.json` says of an answer, held against the answer.
//!
//! Knows as much of JSON Schema as that document uses, and asks for more than a validator would: a member counts as
//! described only by a schema at its own path, which has a type and says in words what it is. `additionalProperties`
//! describes members whose names nobody can know beforehand, and then has a schema too; `true` describes nothing.

use serde_json::Value;

use crate::service::Service;

/// The description of a service, as it gives it.
#[derive(Debug)]
pub struct Description(Value);

impl Description {
    /// Asks a service.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        Self(service.get("/openapi.json").json())
    }

    /// What is wrong with what is said of an answer, each by its path; nothing if all of it is described. `path` is one
    /// of the document's patterns.
    ///
    /// # Panics
    /// If there is nothing about such an answer at all.
    #[must_use]
    pub fn complaints(&self, method: &str, path: &str, status: u16, body: &Value) -> Vec<String> {
        let content = &self.0["paths"][path][method]["responses"][status.to_string()]["content"];
        let kind = if status < 400 { "application/json" } else { "application/problem+json" };
        let schema = &content[kind]["schema"];
        assert!(schema.is_object(), "{method} {path}: nothing is said of {status} with {kind}");
        let mut found = Vec::new();
        self.examine(schema, body, &format!("{method} {path} {status}"), &mut found);
        found
    }

    /// The schema itself, or the one that it refers to.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let reference = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        reference.map_or(schema, |pointer| self.0.pointer(pointer).unwrap_or(&Value::Null))
    }

    fn examine(&self, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let schema = self.resolve(schema);
        if let Some(complaint) = misfit(schema, value) {
            found.push(format!("{at}: {complaint}"));
        }
        match value {
            Value::Object(members) => {
                for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    if !members.contains_key(name) {
                        found.push(format!("{at}.{name}: is said to be there always, and is not"));
                    }
                }
                for (name, member) in members {
                    self.member(schema, name, member, &format!("{at}.{name}"), found);
                }
            }
            Value::Array(entries) => {
                for (index, entry) in entries.iter().enumerate() {
                    self.examine(&schema["items"], entry, &format!("{at}[{index}]"), found);
                }
            }
            _ => {}
        }
    }

    fn member(&self, schema: &Value, name: &str, member: &Value, at: &str, found: &mut Vec<String>) {
        if let Some(property) = schema["properties"].get(name) {
            let says = property["description"].as_str().or(self.resolve(property)["description"].as_str());
            if says.is_none_or(str::is_empty) {
                found.push(format!("{at}: nothing says what it is"));
            }
            return self.examine(property, member, at, found);
        }
        match schema.get("additionalProperties").filter(|others| others.is_object()) {
            Some(others) => self.examine(others, member, at, found),
            None => found.push(format!("{at}: is not described, and is {member}")),
        }
    }
}

/// What keeps a value from being of a schema's kind, its members apart.
fn misfit(schema: &Value, value: &Value) -> Option<String> {
    if let Some(only) = schema.get("const") {
        return (only != value).then(|| format!("is {value}, where only {only} is said to come"));
    }
    if let Some(words) = schema["enum"].as_array() {
        return (!words.contains(value)).then(|| format!("is {value}, which is none of {words:?}"));
    }
    let is = |kind: &Value| match kind.as_str().unwrap_or_default() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    match &schema["type"] {
        Value::Null => Some("has no type in its description".to_owned()),
        Value::Array(kinds) if kinds.iter().any(is) => None,
        kind if is(kind) => None,
        kind => Some(format!("is {value}, and is said to be of type {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaints(schema: &Value, body: &Value) -> Vec<String> {
        let content = json!({ "application/json": { "schema": schema } });
        let description = json!({
            "paths": { "/x": { "get": { "responses": { "200": { "content": content } } } } },
            "components": { "schemas": { "Named": { "type": "integer", "description": "A number." } } },
        });
        Description(description).complaints("get", "/x", 200, body)
    }

    #[test]
    fn what_is_described_at_its_path_is_well() {
        let list = json!({ "type": "array", "description": "Some.", "items": { "$ref": "#/components/schemas/Named" } });
        let open =
            json!({ "type": ["object", "null"], "description": "By name.", "additionalProperties": list });
        let schema = json!({ "type": "object", "required": ["a"], "properties": { "a": open } });
        assert!(complaints(&schema, &json!({ "a": { "any": [1, 2] } })).is_empty());
        assert!(complaints(&schema, &json!({ "a": null })).is_empty());
        let wrong = complaints(&schema, &json!({ "a": { "any": [1, "2"] } }));
        assert_eq!(wrong, ["get /x 200.a.any[1]: is \"2\", and is said to be of type \"integer\""]);
        let missing = complaints(&schema, &json!({}));
        assert_eq!(missing, ["get /x 200.a: is said to be there always, and is not"]);
    }

    #[test]
    fn a_member_that_is_described_elsewhere_or_not_in_words_is_not_described() {
        let inner = json!({ "type": "object", "description": "Inside.", "properties": {} });
        let b = json!({ "type": "integer" });
        let schema =
            json!({ "type": "object", "additionalProperties": true, "properties": { "a": inner, "b": b } });
        let found = complaints(&schema, &json!({ "a": { "b": 1 }, "b": 1, "c": 1 }));
        assert_eq!(
            found,
            [
                "get /x 200.a.b: is not described, and is 1",
                "get /x 200.b: nothing says what it is",
                "get /x 200.c: is not described, and is 1"
            ]
        );
    }
}
