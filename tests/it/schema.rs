//! Holds answers against `openapi.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use axum::http::{HeaderMap, Method, header};
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::app::Answer;

/// What a schema may say here; a misspelt keyword would be silently true.
const KEYWORDS: &[&str] = &[
    "$ref",
    "additionalProperties",
    "allOf",
    "const",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "type",
    "uniqueItems",
];

/// Headers that mean something to clients: no answer has them undocumented.
const MEANINGFUL: &[header::HeaderName] = &[
    header::ALLOW,
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::WWW_AUTHENTICATE,
];

/// On every answer, as the contract's preface says.
const EVERYWHERE: &[&str] =
    &["x-content-type-options", "referrer-policy", "x-frame-options", "content-security-policy"];

/// Which listener serves an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listener {
    Public,
    Admin,
}

/// The contract, ready to judge.
pub struct Contract {
    /// Every operation.
    pub operations: Vec<Operation>,
    /// The `type` of every problem.
    pub problems: Vec<String>,
    /// Which problem which status can have, over all responses.
    pub answered: BTreeSet<(u16, String)>,
    not_found: Response,
    not_allowed: Response,
}

/// One method of one path.
pub struct Operation {
    pub method: Method,
    pub path: String,
    pub listeners: Vec<Listener>,
    /// The scopes that its access token needs; `None` when it takes no token.
    pub scopes: Option<Vec<String>>,
    /// The schema of its request body, references resolved; `None` when it takes none.
    pub body: Option<Value>,
    responses: BTreeMap<u16, Response>,
}

struct Response {
    name: String,
    headers: Vec<Header>,
    content: Vec<(String, Validator)>,
}

struct Header {
    name: String,
    required: bool,
    value: Validator,
}

/// Panics unless the contract has this answer of the public listener.
#[track_caller]
pub fn check(method: &Method, path: &str, answer: &Answer) {
    Contract::load().check(Listener::Public, method, path, answer);
}

impl Contract {
    /// The contract that the program carries, read once.
    pub fn load() -> &'static Contract {
        static CONTRACT: OnceLock<Contract> = OnceLock::new();
        CONTRACT.get_or_init(|| Contract::read(keyward::app::CONTRACT))
    }

    fn read(yaml: &str) -> Contract {
        let root: Value = serde_saphyr::from_str(yaml).unwrap();
        let file = File { root: &root };
        for (name, schema) in members(&root["components"]["schemas"]) {
            spelt(name, schema);
        }
        let operations = members(&root["paths"]).flat_map(|(path, item)| {
            let servers = item.get("servers").unwrap_or(&root["servers"]);
            let listeners: Vec<Listener> = items(servers).map(listener).collect();
            let methods =
                members(item).filter(|(name, _)| !matches!(name.as_str(), "servers" | "parameters"));
            methods
                .map(|(method, operation)| file.operation(method, path, listeners.clone(), operation))
                .collect::<Vec<_>>()
        });
        let problems = items(&root["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]);
        let named = |name: &str| file.response(name, &root["components"]["responses"][name]);
        Contract {
            operations: operations.collect(),
            problems: problems.map(text).collect(),
            answered: members(&root["components"]["responses"])
                .flat_map(|(_, response)| answered(response))
                .collect(),
            not_found: named("NotFound"),
            not_allowed: named("MethodNotAllowed"),
        }
    }

    /// The operations of one listener.
    pub fn on(&self, listener: Listener) -> impl Iterator<Item = &Operation> {
        self.operations.iter().filter(move |operation| operation.listeners.contains(&listener))
    }

    /// Panics unless this answer is documented: status, headers, content type and body.
    #[track_caller]
    pub fn check(&self, listener: Listener, method: &Method, path: &str, answer: &Answer) {
        if let Err(why) = self.judge(listener, method, path, answer) {
            let (status, headers) = (answer.status, &answer.headers);
            let body = String::from_utf8_lossy(&answer.body);
            panic!("{method} {path} on {listener:?} broke the contract: {why}\n{status} {headers:?}\n{body}");
        }
    }

    /// As [`Contract::check`], with the reason instead of a panic.
    pub fn judge(
        &self,
        listener: Listener,
        method: &Method,
        path: &str,
        answer: &Answer,
    ) -> Result<(), String> {
        let path = path.split('?').next().unwrap_or_default();
        for name in EVERYWHERE {
            let there = answer.headers.contains_key(*name);
            there.then_some(()).ok_or_else(|| format!("{name} is missing"))?;
        }
        if method == Method::OPTIONS {
            // A CORS preflight, which is answered before any route.
            let plain = answer.status == 200 && answer.body.is_empty();
            return plain.then_some(()).ok_or_else(|| "a preflight has status 200 and no body".into());
        }
        let asked = if method == Method::HEAD { &Method::GET } else { method };
        let here: Vec<&Operation> = self.on(listener).filter(|operation| operation.matches(path)).collect();
        // A path written out goes before a template.
        let exact = here.iter().any(|operation| operation.path == path);
        let mut here = here.into_iter().filter(|operation| !exact || operation.path == path).peekable();
        let response = match (here.peek().is_some(), here.find(|operation| operation.method == asked)) {
            (false, _) => &self.not_found,
            (true, None) => &self.not_allowed,
            (true, Some(operation)) => {
                let status = answer.status.as_u16();
                operation
                    .responses
                    .get(&status)
                    .ok_or_else(|| format!("status {status} is not documented"))?
            }
        };
        response
            .judge(&answer.headers, if method == Method::HEAD { None } else { Some(&answer.body) })
            .map_err(|why| format!("{why} (response {})", response.name))
    }
}

impl Operation {
    fn matches(&self, path: &str) -> bool {
        let (mut template, mut segments) = (self.path.split('/'), path.split('/'));
        loop {
            match (template.next(), segments.next()) {
                (None, None) => return true,
                (Some(name), Some(value)) if name.starts_with('{') && !value.is_empty() => {}
                (Some(name), Some(value)) if name == value => {}
                _ => return false,
            }
        }
    }

    /// The documented statuses.
    pub fn statuses(&self) -> impl Iterator<Item = u16> {
        self.responses.keys().copied()
    }
}

impl Response {
    /// `body` is `None` when the method leaves it out.
    fn judge(&self, headers: &HeaderMap, body: Option<&[u8]>) -> Result<(), String> {
        for documented in &self.headers {
            let mut values = headers.get_all(&documented.name).iter();
            match (values.next(), values.next()) {
                (None, _) if documented.required => return Err(format!("{} is missing", documented.name)),
                (None, _) => {}
                (Some(_), Some(_)) => return Err(format!("{} is there twice", documented.name)),
                (Some(value), None) => {
                    let value = value.to_str().map_err(|_| format!("{} is not ASCII", documented.name))?;
                    fits(&documented.value, &value.into())
                        .map_err(|why| format!("{}: {why}", documented.name))?;
                }
            }
        }
        for name in MEANINGFUL {
            let documented =
                self.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name.as_str()));
            if headers.contains_key(name) && !documented {
                return Err(format!("{name} is not documented"));
            }
        }
        let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
        let Some(kind) = kind else {
            let empty = self.content.is_empty() && body.is_none_or(<[u8]>::is_empty);
            return empty.then_some(()).ok_or_else(|| "there is no Content-Type".into());
        };
        let essence = kind.split(';').next().unwrap_or_default().trim();
        let documented = self.content.iter().find(|(name, _)| name == kind || name == essence);
        let (_, schema) = documented.ok_or_else(|| format!("{kind} is not documented"))?;
        let Some(body) = body else { return Ok(()) };
        let value = if essence.ends_with("json") {
            serde_json::from_slice(body).map_err(|why| format!("the body is not JSON: {why}"))?
        } else {
            Value::from(std::str::from_utf8(body).map_err(|why| format!("the body is not UTF-8: {why}"))?)
        };
        fits(schema, &value)
    }
}

/// The file while it is read.
struct File<'a> {
    root: &'a Value,
}

impl<'a> File<'a> {
    fn operation(&self, method: &str, path: &str, listeners: Vec<Listener>, operation: &Value) -> Operation {
        let name = format!("{method} {path}");
        let required = items(&operation["security"]).find_map(|either| either.get("accessToken"));
        let body = operation
            .get("requestBody")
            .map(|body| self.resolve(&body["content"]["application/json"]["schema"]));
        let responses = members(&operation["responses"]).map(|(status, response)| {
            (status.parse().unwrap(), self.response(&format!("{status} of {name}"), response))
        });
        Operation {
            method: method.to_uppercase().parse().unwrap(),
            path: path.into(),
            listeners,
            scopes: required.map(|scopes| items(scopes).map(text).collect()),
            body: body.cloned(),
            responses: responses.collect(),
        }
    }

    fn response(&self, name: &str, response: &Value) -> Response {
        let response = self.resolve(response);
        assert!(response["description"].is_string(), "{name} is not in the file, or has no description");
        let headers = members(&response["headers"]).map(|(header, value)| {
            let value = self.resolve(value);
            let required = value["required"].as_bool().unwrap_or_default();
            Header { name: header.clone(), required, value: self.validator(header, &value["schema"]) }
        });
        let content = members(&response["content"])
            .map(|(kind, content)| (kind.clone(), self.validator(name, &content["schema"])));
        Response { name: name.into(), headers: headers.collect(), content: content.collect() }
    }

    /// What a `$ref` points to, or the thing itself.
    fn resolve(&self, thing: &'a Value) -> &'a Value {
        let Some(pointer) = thing.get("$ref") else { return thing };
        let pointer = pointer.as_str().unwrap().trim_start_matches('#');
        self.root.pointer(pointer).unwrap_or_else(|| panic!("the contract has no {pointer}"))
    }

    fn validator(&self, name: &str, schema: &Value) -> Validator {
        spelt(name, schema);
        let schema =
            json!({ "allOf": [schema], "components": { "schemas": self.root["components"]["schemas"] } });
        jsonschema::draft202012::options()
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .build(&schema)
            .unwrap_or_else(|why| panic!("the schema of {name} cannot be used: {why}"))
    }
}

/// Panics when a schema has a keyword that is not in [`KEYWORDS`], or an object of it is open.
fn spelt(name: &str, schema: &Value) {
    let known = |(keyword, _): &(&String, &Value)| KEYWORDS.contains(&keyword.as_str());
    if let Some((keyword, _)) = members(schema).find(|member| !known(member)) {
        panic!("{name} has the unknown keyword {keyword}");
    }
    let open = schema["type"] == "object" && schema["additionalProperties"] != false;
    assert!(!open, "{name} does not say `additionalProperties: false`");
    members(&schema["properties"]).for_each(|(name, schema)| spelt(name, schema));
    items(&schema["allOf"])
        .chain(items(&schema["oneOf"]))
        .chain(schema.get("items"))
        .for_each(|one| spelt(name, one));
}

/// The status and the `type` of every problem that a response can be.
fn answered(response: &Value) -> Vec<(u16, String)> {
    let schemas = items(&response["content"]["application/problem+json"]["schema"]["allOf"]);
    let narrowed = schemas.map(|schema| &schema["properties"]).filter(|narrowed| narrowed.is_object());
    narrowed
        .flat_map(|narrowed| {
            let status = u16::try_from(narrowed["status"]["const"].as_u64().unwrap()).unwrap();
            items(&narrowed["type"]["enum"]).map(move |uri| (status, text(uri)))
        })
        .collect()
}

fn fits(schema: &Validator, value: &Value) -> Result<(), String> {
    let wrong: Vec<String> =
        schema.iter_errors(value).map(|why| format!("{why} (at `{}`)", why.instance_path())).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

fn listener(server: &Value) -> Listener {
    match server["x-listener"].as_str() {
        Some("public") => Listener::Public,
        Some("admin") => Listener::Admin,
        other => panic!("a server has x-listener {other:?}"),
    }
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flat_map(Map::iter)
}

fn items(array: &Value) -> impl Iterator<Item = &Value> {
    array.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
