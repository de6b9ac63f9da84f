//! An option means the same by header, at the front door, and by JSON, at `POST /v1/tasks`.

use relais_server::config::{Mode, Run};
use serde_json::{Value, json};

use crate::house::{House, Plan, Reply};

async fn house() -> House {
    let mut plan = Plan::with(Mode::Async).await;
    plan.route().run = Run::Workers;
    plan.route().allow = relais_core::OptionName::BY_FIELD.to_vec();
    plan.build().await
}

async fn by_header(house: &House, fields: &[(&str, String)]) -> Reply {
    let fields: String =
        fields.iter().map(|(name, value)| format!("relais-{name}: {value}\r\n")).collect();
    house.call(&format!("POST /x HTTP/1.1\r\nhost: a\r\n{fields}content-length: 0\r\n\r\n")).await
}

async fn by_json(house: &House, options: &Value) -> Reply {
    let mut document = options.clone();
    document["queue"] = "work".into();
    let body = document.to_string();
    let head = "POST /v1/tasks HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";
    house.call(&format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await
}

/// What is wrong, without the name that the option has at this door; `None` if it was taken.
fn refusal(reply: &Reply) -> Option<String> {
    if reply.status == 202 {
        return None;
    }
    let detail = reply.json()["detail"].as_str().unwrap().to_owned();
    Some(detail.split_once(": ").unwrap().1.to_owned())
}

/// A deadline in the past was a 202 for a task that was dead at birth, and
/// `a=` only a label in JSON.
#[tokio::test]
async fn what_one_door_refuses_no_other_takes_and_both_say_the_same_why() {
    let house = house().await;
    let one = |name: &'static str, member: &str, value: &str| {
        (vec![(name, value.to_owned())], json!({ member: value }))
    };
    let label = |name: &str, value: &str| {
        (vec![("label", format!("{name}={value}"))], json!({"labels": {name: value}}))
    };
    let priority = |level: i64| (vec![("priority", level.to_string())], json!({"priority": level}));
    let long = "x".repeat(129);
    let mut table = vec![
        (vec![], json!({})),
        label("a", ""),
        label("", "a"),
        label("a", "b=c"),
        label("a", &long),
        label(&long, "a"),
        one("lane", "lane", "customer 17"),
        one("lane", "lane", ""),
        one("lane", "lane", &long),
        (
            vec![("delay", "1s".to_owned()), ("run-at", "2023-11-14T22:13:30Z".to_owned())],
            json!({"delay": "1s", "run_at": "2023-11-14T22:13:30Z"}),
        ),
        (
            vec![("delay", "10s".to_owned()), ("deadline", "2023-11-14T22:13:30Z".to_owned())],
            json!({"delay": "10s", "deadline": "2023-11-14T22:13:30Z"}),
        ),
        (
            (0..17).map(|n| ("label", format!("l{n}=v"))).collect(),
            json!({"labels": (0..17).map(|n| (format!("l{n}"), "v")).collect::<std::collections::BTreeMap<_, _>>()}),
        ),
    ];
    for level in [-11, -10, 0, 10, 11, 127, 128, -1_000] {
        table.push(priority(level));
    }
    for span in ["0s", "1ms", "1h30m", "3650d", "3651d", "30000d", "-1s", "30", "soon", "1e99", ""]
    {
        table.push(one("delay", "delay", span));
        table.push(one("deadline", "deadline", span));
    }
    // The clock of a house stands at 2023-11-14T22:13:20Z.
    for moment in [
        "2020-01-01T00:00:00Z",
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:13:21Z",
        "2023-11-14T23:13:21+01:00",
        "2033-01-01T00:00:00Z",
        "2034-01-01T00:00:00Z",
        "9000-01-01T00:00:00Z",
        "2023-02-30T00:00:00Z",
        "2023-11-14",
        "tomorrow",
    ] {
        table.push(one("run-at", "run_at", moment));
        table.push(one("deadline", "deadline", moment));
    }
    let (mut taken, mut refused) = (0, 0);
    for (fields, members) in table {
        let (header, document) =
            (by_header(&house, &fields).await, by_json(&house, &members).await);
        assert_eq!(refusal(&header), refusal(&document), "{members}");
        match refusal(&header) {
            None => taken += 1,
            Some(_) => {
                assert_eq!((header.status, header.code().as_str()), (400, "invalid-option"));
                assert_eq!((document.status, document.code().as_str()), (422, "invalid-field"));
                refused += 1;
            }
        }
    }
    assert!(taken > 15 && refused > 30, "{taken} taken, {refused} refused");
}
