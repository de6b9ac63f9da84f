//! A configuration that changes while requests are on their way.

use relais_server::auth::hash_key;
use relais_server::config::{ApiKey, Mode, Scopes};

use crate::house::Plan;

const GET: &str = "GET /one HTTP/1.1\r\nhost: relais.test\r\n\r\n";

#[tokio::test]
async fn a_request_goes_by_the_rules_that_it_found() {
    // Every change of a route needed a restart, and so an outage.
    let mut plan = Plan::with(Mode::Auto).await;
    plan.route().path = "/one".to_owned();
    let mut config = plan.server.clone();
    config.routes[0].path = "/two".to_owned();
    let house = plan.build().await;
    let mut connection = house.send(GET).await;
    let mut call = house.upstream.next().await;
    let rules = house.door.prepare(config).unwrap();
    house.door.go_by(rules);
    call.answer("200 OK", "", "by the rules of before").await;
    assert_eq!(connection.reply().await.text(), "by the rules of before");
    // On the same connection: it is the request that goes by rules.
    assert_eq!(connection.call(GET).await.code(), "not-found");
    connection.send(GET.replace("/one", "/two")).await;
    house.upstream.next().await.answer("200 OK", "", "by the new ones").await;
    assert_eq!(connection.reply().await.text(), "by the new ones");
}

#[tokio::test]
async fn a_key_that_was_taken_out_is_refused_and_a_new_one_is_taken() {
    let key = |text: &str| ApiKey {
        name: text.to_owned(),
        hash: hash_key(text),
        tenant: "default".parse().unwrap(),
        scopes: Scopes::ALL,
    };
    let mut plan = Plan::with(Mode::Auto).await;
    plan.server.keys = vec![key("rk_old")];
    let mut config = plan.server.clone();
    config.keys = vec![key("rk_new")];
    let house = plan.build().await;
    let list = |key: &str| {
        let address = house.address;
        format!("GET /v1/tasks HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\r\n")
    };
    assert_eq!(house.call(&list("rk_old")).await.status, 200);
    assert_eq!(house.call(&list("rk_new")).await.status, 401);
    let rules = house.door.prepare(config).unwrap();
    assert_eq!(house.call(&list("rk_old")).await.status, 200, "prepared is not in force");
    house.door.go_by(rules);
    assert_eq!(house.call(&list("rk_old")).await.status, 401);
    assert_eq!(house.call(&list("rk_new")).await.status, 200);
}

#[tokio::test]
async fn what_outlives_a_request_outlives_its_rules() {
    let plan = Plan::with(Mode::Async).await;
    let config = plan.server.clone();
    let house = plan.build().await;
    let ticket = house.call(&GET.replace("GET", "POST")).await;
    house.door.go_by(house.door.prepare(config).unwrap());
    let url = ticket.json()["links"]["self"].as_str().unwrap().to_owned();
    let read = crate::front_door_handover::get(&house, &url).await;
    assert_eq!(read.status, 200, "a ticket of before still opens");
    // How far a stop has come is no matter of rules either.
    house.app.stop.leave();
    let readiness = format!("GET /readyz HTTP/1.1\r\nhost: {}\r\n\r\n", house.address);
    assert_eq!(house.call(&readiness).await.status, 503);
}
