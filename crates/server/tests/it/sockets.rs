//! The task API over real sockets: what only a connection shows.

use relais_server::config::Mode;
use serde_json::json;

use crate::house::House;

fn submission() -> String {
    let body = json!({"queue": "work", "input": {}}).to_string();
    let length = body.len();
    format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn an_answer_without_a_body_has_no_length_of_one() {
    let house = House::with(Mode::Async).await;
    let mut client = house.connect().await;
    let task = client.call(&submission()).await.json();
    let id = task["id"].as_str().unwrap();
    for (request, status) in [
        (format!("GET /v1/tasks/{id} HTTP/1.1\r\nif-none-match: \"v1-json\""), 304),
        ("OPTIONS /v1/tasks HTTP/1.1".to_owned(), 204),
        (format!("DELETE /v1/tasks/{id}?cancel=true HTTP/1.1"), 204),
    ] {
        client.send(format!("{request}\r\nhost: localhost\r\n\r\n")).await;
        // The same connection serves the next request: its framing is right.
        let head = client.head().await;
        assert_eq!(head.status, status, "{request}");
        assert_eq!(head.field("content-length"), "", "{request}");
        assert_eq!(head.field("transfer-encoding"), "", "{request}");
    }
}

#[tokio::test]
async fn a_worker_that_hangs_up_leaves_its_tasks_to_others() {
    // P7: the connection breaks before the answer is read.
    let house = House::with(Mode::Async).await;
    let lease = "POST /v1/queues/work/leases HTTP/1.1\r\nhost: localhost\r\n\
                 content-type: application/json\r\ncontent-length: 14\r\n\r\n{\"wait\":\"30s\"}";
    let waiting = house.send(lease).await;
    drop(waiting);
    let mut client = house.connect().await;
    client.call(&submission()).await;
    let mut other = house.send(lease).await;
    let reply = other.reply().await.json();
    assert_eq!(reply["leases"].as_array().unwrap().len(), 1);
}
