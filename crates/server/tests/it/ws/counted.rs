//! What is counted of WebSockets.

use relais_server::config::Scopes;
use serde_json::json;

use super::client::{Ws, frame};
use super::{all, with_keys};
use crate::api::key;
use crate::house::{Client, House, SOON};

/// What `/metrics` says.
async fn metrics(house: &House) -> String {
    let mut client = Client::connect(house.admin).await;
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nrelais-api-key: rk_operator\r\n\r\n";
    client.call(request).await.text().to_owned()
}

/// Waits until it says so.
async fn says(house: &House, line: &str) {
    let says = async {
        while !metrics(house).await.lines().any(|said| said == line) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, says).await.unwrap_or_else(|_| panic!("{line}"));
}

#[tokio::test]
async fn open_ones_ends_and_refused_frames_are_counted() {
    let operator = Scopes { operator: true, ..Scopes::default() };
    let house = with_keys(vec![all(), key("rk_operator", "default", operator)]).await;
    let mut refused = Ws::open(&house, "").await;
    says(&house, "relais_websockets 1").await;
    refused.say(json!({"op": "auth", "token": "rk_nobody"})).await;
    assert_eq!(refused.closed().await.0, 4001);
    says(&house, "relais_requests_refused_total{code=\"unauthorized\"} 1").await;
    says(&house, "relais_websockets_closed_total{code=\"4001\"} 1").await;
    let mut closes = Ws::open(&house, "relais-api-key: rk_all\r\n").await;
    closes.json().await;
    closes.raw(&frame(0x88, &1_001_u16.to_be_bytes())).await;
    assert_eq!(closes.closed().await.0, 1001);
    says(&house, "relais_websockets_closed_total{code=\"1000\"} 1").await;
    drop(Ws::open(&house, "relais-api-key: rk_all\r\n").await);
    says(&house, "relais_websockets_closed_total{code=\"1006\"} 1").await;
    says(&house, "relais_websockets 0").await;
}
