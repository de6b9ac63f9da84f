//! Suppliers and orders.

use std::pin::pin;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use serde_json::json;
use shop::suppliers::{Mood, Suppliers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http::{order, read, service};

#[tokio::test]
async fn a_flaky_supplier_refuses_twice_and_then_answers() {
    let shop = service().await;
    for _ in 0..2 {
        let refused = shop.get("/suppliers/flaky/stock?slow=0").await;
        assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    }
    let stock = shop.get("/suppliers/flaky/stock?slow=0").await;
    assert_eq!(stock.status, 200);
    assert_eq!(stock.json()["call"], 3);
    assert_eq!(stock.json()["items"].as_array().unwrap().len(), 20);
    let other = shop.get("/suppliers/flaky-2/stock?slow=0").await;
    assert_eq!(other.status, 503, "each supplier has its own counter");
}

#[tokio::test]
async fn the_stock_is_the_same_in_every_run() {
    let (one, two) = (service().await, service().await);
    let of_one = one.get("/suppliers/acme/stock?slow=0").await;
    assert_eq!(of_one.body, two.get("/suppliers/acme/stock?slow=0").await.body);
}

#[tokio::test]
async fn a_hanging_supplier_never_answers_its_first_call() {
    let shop = service().await;
    let calls = [
        shop.open("GET", "/suppliers/hang/stock?slow=0", 0, "").await,
        shop.open("GET", "/suppliers/hang/stock?slow=0", 0, "").await,
    ];
    // Which of the two comes first is not known: exactly one of them is answered.
    let [one, two] = calls.map(|stream| Box::pin(read(stream)));
    let (Either::Left((answer, other)) | Either::Right((answer, other))) = select(one, two).await;
    assert_eq!(answer.unwrap().status, 200);
    assert!(pin!(other).now_or_never().is_none());
}

#[test]
fn moods_follow_the_counter_of_each_supplier() {
    let suppliers = Suppliers::default();
    let moods = |id| {
        [1, 2, 3].map(|call| {
            let (counted, mood) = suppliers.call(id).unwrap();
            assert_eq!(counted, call);
            mood
        })
    };
    assert_eq!(moods("flaky"), [Mood::Refuses, Mood::Refuses, Mood::Answers]);
    assert_eq!(moods("hang"), [Mood::Hangs, Mood::Answers, Mood::Answers]);
    assert_eq!(moods("down"), [Mood::Refuses; 3]);
    assert_eq!(moods("flakypastry"), [Mood::Answers; 3]);
}

#[test]
fn the_suppliers_are_limited_and_the_known_ones_stay() {
    let suppliers = Suppliers::default();
    for n in 0..shop::limits::SUPPLIERS_MAX {
        assert!(suppliers.call(&format!("s-{n}")).is_some());
    }
    assert_eq!(suppliers.call("one-more"), None);
    assert_eq!(suppliers.call("s-0"), Some((2, Mood::Answers)));
}

#[tokio::test]
async fn each_call_is_a_new_order_whatever_its_idempotency_key() {
    let shop = service().await;
    let body = order("A-1");
    for number in ["SO-000001", "SO-000002"] {
        let key = "idempotency-key: same\r\n";
        let mut stream = shop.open("POST", "/orders?slow=0", body.len(), key).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        let answer = read(stream).await.unwrap();
        assert_eq!((answer.status, &answer.json()["number"]), (201, &json!(number)));
    }
    shop.post("/orders?slow=0", &order("A-2")).await;
    let list = shop.get("/orders").await.json();
    assert_eq!((&list["count"], &list["references"]), (&json!(3), &json!(2)));
    assert_eq!(list["doubled"], json!([{"reference": "A-1", "orders": 2}]));
    assert_eq!(list["orders"][0]["number"], "SO-000003", "the latest is first");
}

#[tokio::test]
async fn a_lost_answer_leaves_an_order_behind() {
    let shop = service().await;
    let target = "/orders?slow=0&lose_answer=once";
    assert!(shop.send("POST", target, order("A-1").as_bytes()).await.is_none());
    assert_eq!(shop.get("/orders").await.json()["count"], 1);
    assert_eq!(shop.post(target, &order("A-1")).await.status, 201, "lost only once");
    assert_eq!(shop.get("/orders").await.json()["count"], 2);
}

#[tokio::test]
async fn a_stop_lets_the_order_under_way_end() {
    let shop = service().await;
    let body = order("A-1");
    let expect = "expect: 100-continue\r\n";
    let mut stream = shop.open("POST", "/orders?slow=0", body.len(), expect).await;
    let mut go_on = [0; 25];
    // The interim answer is the sign that the handler reads: the request is under way.
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    shop.stop.send(()).unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(read(stream).await.unwrap().status, 201);
    shop.served.await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_or_too_big_is_refused() {
    let shop = service().await;
    let status = async |target: &str, body: &str| shop.post(target, body).await.status;
    assert_eq!(status("/orders", r#"{"reference": "", "lines": []}"#).await, 422);
    assert_eq!(status("/orders", "not JSON").await, 400);
    assert_eq!(status("/orders?slow=600001", &order("A-1")).await, 400);
    assert_eq!(status("/orders?lose_answer=twice", &order("A-1")).await, 400);
    assert_eq!(status("/invoices?bytes=1073741825", &order("A-1")).await, 400);
    assert_eq!(status("/healthz", "").await, 405);
    assert_eq!(shop.get("/suppliers/NO/stock").await.status, 404);
    assert_eq!(shop.get("/nothing").await.status, 404);
    assert_eq!(shop.get("/healthz").await.body, b"ok\n");
    assert_eq!(shop.get("/orders").await.json()["count"], 0);
    // Only the head is sent: the refusal does not wait for a body that is too big.
    let big = shop.open("POST", "/orders", shop::limits::BODY_BYTES_MAX + 1, "").await;
    assert_eq!(read(big).await.unwrap().status, 413);
}
