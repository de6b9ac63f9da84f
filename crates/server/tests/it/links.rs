//! Where links lead: to the origin under which Relais was found, if that is this machine itself.

use relais_server::config::Mode;

use crate::house::{House, Plan, Reply};

/// What comes in at the front door, and by the task API, singly and in a batch.
async fn accepted(house: &House, host: &str) -> Vec<(Reply, serde_json::Value)> {
    let json = "content-type: application/json\r\n";
    let mut all = Vec::new();
    for (path, fields, body) in [
        ("/x", "", ""),
        ("/v1/tasks", json, "{\"queue\":\"q\"}"),
        ("/v1/tasks/batch", json, "[{\"queue\":\"q\"}]"),
    ] {
        let length = body.len();
        let fields = format!("host: {host}\r\n{fields}content-length: {length}\r\n");
        let reply = house.call(&format!("POST {path} HTTP/1.1\r\n{fields}\r\n{body}")).await;
        let document = reply.json();
        let task = document.pointer("/items/0/task").unwrap_or(&document).clone();
        all.push((reply, task));
    }
    all
}

/// Every URL in an answer, but for those of problems.
fn urls(reply: &Reply, task: &serde_json::Value) -> Vec<String> {
    let fields = ["location", "operation-location", "link"];
    let mut all: Vec<String> =
        fields.iter().map(|name| reply.field(name).trim_start_matches('<').to_owned()).collect();
    let links = task["links"].as_object().unwrap();
    all.extend(links.values().map(|link| link.as_str().unwrap().to_owned()));
    all.retain(|url| !url.is_empty());
    all
}

#[tokio::test]
async fn a_page_on_localhost_gets_links_of_its_own_origin() {
    let house = House::with(Mode::Async).await;
    let port = house.address.port();
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), "[::1]:3000".into()] {
        let own = format!("http://{host}/v1/tasks/");
        for (reply, task) in accepted(&house, &host).await {
            let urls = urls(&reply, &task);
            assert!(urls.len() >= 3, "{reply:?}");
            assert!(urls.iter().all(|url| url.starts_with(&own)), "{host}: {urls:?}");
            let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
            for path in [path.clone(), format!("{path}/result"), "/v1/tasks".to_owned()] {
                let read =
                    house.call(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
                let document = read.json();
                let links = document.pointer("/items/0/links").unwrap_or(&document["links"]);
                let link = links["self"].as_str().unwrap();
                assert!(link.starts_with(&own), "{path}: {link}");
            }
        }
    }
}

#[tokio::test]
async fn no_link_is_made_of_a_foreign_host_nor_where_there_is_a_public_url() {
    let house = House::with(Mode::Async).await;
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1"] {
        let post = format!("POST /x HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n");
        let reply = house.call(&post).await;
        let urls = urls(&reply, &reply.json());
        let own = format!("http://{}/", house.address);
        assert!(urls.iter().all(|url| url.starts_with(&own)), "{host}: {urls:?}");
    }
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.public_url = Some("https://api.example.com".parse().unwrap());
    let house = plan.build().await;
    let post = "POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    let reply = house.call(post).await;
    let urls = urls(&reply, &reply.json());
    assert!(urls.iter().all(|url| url.starts_with("https://api.example.com/")), "{urls:?}");
}

/// The bytes of an answer, head and body, as `curl -i` shows them.
fn len_as_shown(reply: &Reply) -> usize {
    let line = "HTTP/1.1 202 Accepted\r\n".len();
    let fields = reply.fields.iter().map(|(name, value)| name.len() + value.len() + ": \r\n".len());
    line + fields.sum::<usize>() + "\r\n".len() + reply.body.len()
}

#[tokio::test]
async fn a_202_has_at_most_1900_bytes() {
    // It had 3.1 kB: eight tickets of 250 characters, which no terminal showed on one line.
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.listen = "127.0.0.1:8080".parse().unwrap();
    let house = plan.build().await;
    for (reply, task) in accepted(&house, "127.0.0.1:8080").await.into_iter().take(2) {
        assert_eq!(reply.status, 202);
        assert!(task["links"]["self"].as_str().unwrap().starts_with("http://127.0.0.1:8080/v1/"));
        assert!(!reply.field("date").is_empty());
        let len = len_as_shown(&reply);
        assert!(len <= 1_900, "{len} bytes: {reply:?}");
    }
}
