//! The API's document as a test walks it: every operation, and for each a request made of what the document says it takes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::http::Request;
use crate::keyward::Keyward;

/// One operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its `operationId`.
    pub id: String,
    /// Method and path, as in `GET /v1/keys/{id}`.
    pub line: String,
    /// The scopes that it takes; none where it takes no key of the application `keyward`.
    pub scopes: Vec<String>,
    method: String,
    path: String,
    parameters: Vec<Value>,
    body: Option<Value>,
}

impl Operation {
    /// Whether it only looks.
    pub fn reads(&self) -> bool {
        self.method == "GET"
    }
}

/// What requests are about: values by the names that the document has for their types, or else for their fields.
pub struct Things(Vec<(&'static str, String)>);

impl Things {
    /// These.
    pub fn new(things: &[(&'static str, &str)]) -> Self {
        Self(things.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    }

    fn find(&self, name: &str) -> Option<Value> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| json!(value))
    }
}

/// The document.
pub struct Document(Value);

impl Document {
    /// As it is served.
    pub fn of(keyward: &Keyward) -> Self {
        Self(keyward.send(Request::get("/openapi.json")).expect(200).json())
    }

    /// Every operation.
    ///
    /// # Panics
    /// Where the document is none.
    pub fn operations(&self) -> Vec<Operation> {
        let mut operations = Vec::new();
        for (path, methods) in self.0["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let method = method.to_uppercase();
                let scopes = operation["security"][0]["bearer"].as_array().cloned().unwrap_or_default();
                operations.push(Operation {
                    id: operation["operationId"].as_str().unwrap().to_owned(),
                    line: format!("{method} {path}"),
                    scopes: scopes.iter().map(|scope| scope.as_str().unwrap().to_owned()).collect(),
                    method,
                    path: path.clone(),
                    parameters: operation["parameters"].as_array().cloned().unwrap_or_default(),
                    body: operation.pointer("/requestBody/content/application~1json/schema").cloned(),
                });
            }
        }
        operations
    }

    /// Every path, with the methods that it is described with.
    pub fn paths(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut paths = BTreeMap::<_, BTreeSet<_>>::new();
        for operation in self.operations() {
            paths.entry(operation.path).or_default().insert(operation.method);
        }
        paths
    }

    /// A request for an operation: about these things, with no more than it must have but for the application, which is always named
    /// where it can be.
    pub fn request(&self, operation: &Operation, things: &Things) -> Request {
        let mut target = operation.path.clone();
        let mut query = Vec::new();
        for parameter in &operation.parameters {
            let parameter = self.resolved(parameter);
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let value = || text(&self.sample(schema, name, things));
            match parameter["in"].as_str() {
                Some("path") => target = target.replace(&format!("{{{name}}}"), &value()),
                Some("query") if parameter["required"] == json!(true) || names_application(schema) => {
                    query.push(format!("{name}={}", value()));
                }
                _ => {}
            }
        }
        if !query.is_empty() {
            target = format!("{target}?{}", query.join("&"));
        }
        let request = Request::new(&operation.method, &target);
        match &operation.body {
            Some(schema) => request.json(&self.sample(schema, "", things)),
            None => request,
        }
    }

    /// Whether an operation's requests can name something of this type, in path, query or body.
    pub fn names(&self, operation: &Operation, schema: &str) -> bool {
        let probe = Things::new(&[(Box::leak(schema.to_owned().into_boxed_str()), "probe-of-a-name")]);
        let bytes = self.request(operation, &probe).bytes("probe");
        String::from_utf8_lossy(&bytes).contains("probe-of-a-name")
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.0.pointer(reference.trim_start_matches('#')).unwrap(),
            None => value,
        }
    }

    /// A value of this schema, as small as it may be.
    fn sample(&self, schema: &Value, name: &str, things: &Things) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap();
            return things.find(name).unwrap_or_else(|| self.sample(self.resolved(schema), name, things));
        }
        if let Some(one) = schema["oneOf"].as_array().and_then(|all| all.first()) {
            return self.sample(one, name, things);
        }
        if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
            return first.clone();
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or_default();
        match kind {
            "object" => self.sample_of_object(schema, things),
            "array" => json!([]),
            "boolean" => json!(true),
            "integer" => schema["minimum"].as_i64().map_or(json!(1), |least| json!(least)),
            _ => things.find(name).unwrap_or_else(|| json!("because")),
        }
    }

    fn sample_of_object(&self, schema: &Value, things: &Things) -> Value {
        let nothing = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&nothing);
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let mut object: Map<String, Value> = properties
            .iter()
            .filter(|(name, schema)| required.contains(&json!(name)) || names_application(schema))
            .map(|(name, schema)| (name.clone(), self.sample(schema, name, things)))
            .collect();
        if object.is_empty()
            && schema["minProperties"].as_u64() > Some(0)
            && let Some((name, schema)) = properties.iter().next()
        {
            object.insert(name.clone(), self.sample(schema, name, things));
        }
        Value::Object(object)
    }
}

fn names_application(schema: &Value) -> bool {
    let direct =
        |schema: &Value| schema["$ref"].as_str().is_some_and(|name| name.ends_with("/ApplicationId"));
    direct(schema) || schema["oneOf"].as_array().is_some_and(|all| all.iter().any(direct))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
