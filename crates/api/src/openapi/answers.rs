//! One operation of the document: how its parts become JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::codes::{self, Code};
use crate::problem;

/// What may go wrong in every call: at the door, or inside.
const EVERYWHERE: [&Code; 10] = [
    &codes::FOREIGN_HOST,
    &codes::HEAD_TOO_LARGE,
    &codes::INTERNAL,
    &codes::INVALID_HOST,
    &codes::INVALID_PARAMETER,
    &codes::MALFORMED_REQUEST,
    &codes::METHOD_NOT_ALLOWED,
    &codes::RATE_LIMITED,
    &codes::SERVER_DRAINING,
    &codes::STORE_UNAVAILABLE,
];
/// What may go wrong where credentials are looked at.
const WITH_CREDENTIALS: [&Code; 4] =
    [&codes::UNAUTHORIZED, &codes::TICKET_EXPIRED, &codes::FORBIDDEN, &codes::CROSS_SITE];
/// What may go wrong where a body is read.
const WITH_BODY: [&Code; 2] = [&codes::BODY_TOO_LARGE, &codes::REQUEST_TIMEOUT];
/// What may go wrong where the body is JSON.
const WITH_JSON: [&Code; 4] = [
    &codes::MALFORMED_JSON,
    &codes::INVALID_FIELD,
    &codes::UNKNOWN_FIELD,
    &codes::UNSUPPORTED_MEDIA_TYPE,
];

/// Which credentials an operation takes.
#[derive(Clone, Copy)]
pub(super) enum Access {
    /// None are needed.
    Open,
    /// An API key.
    Key,
    /// An API key, or the ticket of the task.
    Ticket,
    /// The cookie of a browser's session, if it has one.
    Session,
    /// An API key; the lease's token says which task.
    Lease,
}

/// The body of a request.
pub(super) enum Body {
    /// JSON of the schema with this name.
    Json { schema: &'static str, required: bool, example: Value },
    /// Any media types, each with its schema and example.
    Other(Value),
}

/// One method of one path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: &'static str,
    access: Access,
    parameters: Vec<&'static str>,
    body: Option<Body>,
    answers: Map<String, Value>,
    errors: Vec<&'static Code>,
}

impl Operation {
    pub(super) fn new(method: &'static str, path: &'static str, id: &'static str) -> Self {
        Self {
            method,
            path,
            id,
            tag: "tasks",
            summary: "",
            description: "",
            access: Access::Key,
            parameters: Vec::new(),
            body: None,
            answers: Map::new(),
            errors: Vec::new(),
        }
    }

    pub(super) fn tag(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    pub(super) fn says(mut self, summary: &'static str, description: &'static str) -> Self {
        self.summary = summary;
        self.description = description;
        self
    }

    pub(super) fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    pub(super) fn takes(mut self, parameters: &[&'static str]) -> Self {
        self.parameters.extend(parameters);
        self
    }

    pub(super) fn json(mut self, schema: &'static str, example: Value) -> Self {
        self.body = Some(Body::Json { schema, required: true, example });
        self
    }

    pub(super) fn optional_json(mut self, schema: &'static str, example: Value) -> Self {
        self.body = Some(Body::Json { schema, required: false, example });
        self
    }

    pub(super) fn body(mut self, content: Value) -> Self {
        self.body = Some(Body::Other(content));
        self
    }

    /// Answers with JSON of the schema with this name.
    pub(super) fn gives(
        self,
        status: &str,
        description: &str,
        schema: &str,
        example: Value,
        headers: &[&str],
    ) -> Self {
        let mut media = json!({"schema": reference(schema)});
        media["example"] = example;
        self.gives_any(status, description, json!({"application/json": media}), headers)
    }

    /// Answers with any content; `null` for none.
    pub(super) fn gives_any(
        mut self,
        status: &str,
        description: &str,
        content: Value,
        headers: &[&str],
    ) -> Self {
        let mut answer = json!({"description": description});
        if !content.is_null() {
            answer["content"] = content;
        }
        if !headers.is_empty() {
            answer["headers"] = header_references(headers);
        }
        self.answers.insert(status.to_owned(), answer);
        self
    }

    pub(super) fn fails(mut self, errors: &[&'static Code]) -> Self {
        self.errors.extend(errors);
        self
    }

    pub(super) fn into_json(self) -> Value {
        let errors = self.errors();
        let mut operation = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "security": security(self.access),
        });
        if !self.description.is_empty() {
            operation["description"] = self.description.into();
        }
        if !self.parameters.is_empty() {
            let reference = |name| json!({"$ref": format!("#/components/parameters/{name}")});
            operation["parameters"] = self.parameters.into_iter().map(reference).collect();
        }
        match self.body {
            Some(Body::Json { schema, required, example }) => {
                let content = json!({"schema": reference(schema), "example": example});
                operation["requestBody"] =
                    json!({"required": required, "content": {"application/json": content}});
            }
            Some(Body::Other(content)) => {
                operation["requestBody"] = json!({"required": true, "content": content});
            }
            None => {}
        }
        let mut answers = self.answers;
        for (status, codes) in errors {
            // An operation that says itself what it answers with this status means both.
            let answer = answers.entry(status.to_string()).or_insert_with(|| json!({}));
            add_problems(answer, status, &codes);
        }
        operation["responses"] = answers.into();
        operation
    }

    /// Every error of this operation, by status.
    fn errors(&self) -> BTreeMap<u16, Vec<&'static Code>> {
        let mut errors = self.errors.clone();
        errors.extend(EVERYWHERE);
        if !matches!(self.access, Access::Open) {
            errors.extend(WITH_CREDENTIALS);
        }
        if self.body.is_some() {
            errors.extend(WITH_BODY);
        }
        if let Some(Body::Json { .. }) = self.body {
            errors.extend(WITH_JSON);
        }
        errors.sort_by_key(|code| code.code);
        errors.dedup();
        let mut by_status: BTreeMap<u16, Vec<&'static Code>> = BTreeMap::new();
        for code in errors {
            by_status.entry(code.status).or_default().push(code);
        }
        by_status
    }
}

fn add_problems(answer: &mut Value, status: u16, codes: &[&Code]) {
    let titles: Vec<&str> = codes.iter().map(|code| code.title).collect();
    let examples: Map<String, Value> = codes
        .iter()
        .map(|code| {
            let place = format!("#/components/examples/{}", code.code);
            (code.code.to_owned(), json!({"$ref": place}))
        })
        .collect();
    if answer.get("description").is_none() {
        answer["description"] = format!("{}.", titles.join("; ")).into();
    }
    answer["content"][problem::MEDIA_TYPE] =
        json!({"schema": reference("Problem"), "examples": examples});
    let mut headers = vec!["Relais-Origin"];
    match status {
        401 => headers.push("WWW-Authenticate"),
        405 => headers.push("Allow"),
        408 | 429 | 503 | 507 => headers.push("Retry-After"),
        _ => {}
    }
    if let Value::Object(references) = header_references(&headers) {
        for (name, reference) in references {
            answer["headers"][name] = reference;
        }
    }
}

fn header_references(names: &[&str]) -> Value {
    let reference =
        |name: &&str| ((*name).to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    names.iter().map(reference).collect::<Map<_, _>>().into()
}

pub(super) fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// The empty choice stands for Relais without keys on loopback.
fn security(access: Access) -> Value {
    match access {
        Access::Open => json!([]),
        Access::Key => json!([{"apiKey": []}, {"bearer": []}, {}]),
        Access::Ticket => {
            json!([{"apiKey": []}, {"bearer": []}, {"ticket": []}, {"session": []}, {}])
        }
        Access::Session => json!([{"session": []}, {}]),
        Access::Lease => {
            json!([{"apiKey": [], "lease": []}, {"bearer": [], "lease": []}, {"lease": []}])
        }
    }
}
