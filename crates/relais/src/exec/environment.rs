//! What a program is told about its task, as variables of its environment.

use std::collections::BTreeMap;

use relais_client::{LeasedTask, RequestHead};
use tokio::process::Command;

/// Who the worker is: programs need no secrets of ours.
const SECRETS: [&str; 3] = ["RELAIS_API_KEY", "RELAIS_TICKET", "RELAIS_SEAL_KEY"];
/// Before the names of path parameters and of header fields. No field can set a variable of another
/// program, such as `HTTP_PROXY`.
const PARAM: &str = "RELAIS_PARAM_";
const HEADER: &str = "RELAIS_HEADER_";

/// Tells a program its task. What is not known of it is not there, whatever
/// the worker itself was told.
pub(super) fn tell(command: &mut Command, task: &LeasedTask) {
    for secret in SECRETS {
        command.env_remove(secret);
    }
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with(PARAM) || text.starts_with(HEADER) {
            command.env_remove(&name);
        }
    }
    let labels = serde_json::to_string(task.labels()).unwrap_or_default();
    let asked = task.request();
    let mut told = vec![
        ("RELAIS_TASK".to_owned(), Some(task.id().to_owned())),
        ("RELAIS_QUEUE".to_owned(), Some(task.queue().to_owned())),
        ("RELAIS_LANE".to_owned(), task.lane().map(str::to_owned)),
        ("RELAIS_ATTEMPT".to_owned(), Some(task.attempt().to_string())),
        ("RELAIS_RUN".to_owned(), Some(task.run().to_string())),
        ("RELAIS_LABELS".to_owned(), Some(labels)),
        ("RELAIS_CONTENT_TYPE".to_owned(), task.content_type().map(str::to_owned)),
        ("RELAIS_CHECKPOINT".to_owned(), task.checkpoint().map(|json| json.as_str().to_owned())),
        ("RELAIS_DEADLINE".to_owned(), task.deadline().map(|deadline| deadline.to_string())),
        ("RELAIS_METHOD".to_owned(), asked.map(|asked| asked.method.clone())),
        ("RELAIS_PATH".to_owned(), asked.map(|asked| asked.path.clone())),
        ("RELAIS_QUERY".to_owned(), asked.and_then(|asked| asked.query.clone())),
    ];
    if let Some(asked) = asked {
        told.extend(of_request(asked).into_iter().map(|(name, value)| (name, Some(value))));
    }
    for (name, value) in told {
        match value {
            // No variable can hold a NUL.
            Some(value) if !value.contains('\0') => command.env(name, value),
            _ => command.env_remove(name),
        };
    }
}

/// The variables of a request's path parameters and fields. The lines of one field are joined as
/// HTTP allows (RFC 9110, 5.3).
fn of_request(asked: &RequestHead) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for (name, value) in &asked.params {
        variables.insert(variable(PARAM, name), value.clone());
    }
    for (name, value) in &asked.headers {
        if !has_variable(name) {
            continue;
        }
        let joined: &mut String = variables.entry(variable(HEADER, name)).or_default();
        if !joined.is_empty() {
            joined.push_str(", ");
        }
        joined.push_str(value);
    }
    variables
}

/// Whether a field has a variable of its own: `x_user` and `x.user` would make that of `x-user`,
/// and speak for it. Names of requests are lower case.
fn has_variable(name: &str) -> bool {
    name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// `x-colour` as `RELAIS_HEADER_X_COLOUR`: what is no letter and no digit becomes `_`.
fn variable(prefix: &str, name: &str) -> String {
    let upper = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    prefix.chars().chain(upper.map(|c| c.to_ascii_uppercase())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_variables_that_no_other_field_can_set() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let asked = RequestHead {
            params: BTreeMap::from([pair("name", "monthly")]),
            headers: vec![
                pair("x-user", "ada"),
                pair("x_user", "eve"),
                pair("x.user", "eve"),
                pair("x!user", "eve"),
                pair("accept", "a/b"),
                pair("accept", "c/d"),
                pair("x-a.b!", "1"),
                pair("x-2", "2"),
            ],
            ..RequestHead::default()
        };
        let expected = [
            pair("RELAIS_HEADER_ACCEPT", "a/b, c/d"),
            pair("RELAIS_HEADER_X_2", "2"),
            pair("RELAIS_HEADER_X_USER", "ada"),
            pair("RELAIS_PARAM_NAME", "monthly"),
        ];
        assert_eq!(of_request(&asked), BTreeMap::from(expected));
    }
}
