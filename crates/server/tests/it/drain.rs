//! A server that stops: seen by balancers first, by whoever brings new work
//! next, by the others last.

use relais_core::Status;
use relais_server::config::Mode;

use crate::house::{Client, House, Plan};

const POST: &str = "POST /x HTTP/1.1\r\nhost: relais.test\r\ncontent-length: 0\r\n\r\n";

async fn readiness(house: &House) -> [u16; 2] {
    let mut seen = [0; 2];
    for (seen, address) in seen.iter_mut().zip([house.address, house.admin]) {
        let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\n\r\n");
        *seen = Client::connect(address).await.call(&request).await.status;
    }
    seen
}

#[tokio::test]
async fn who_leaves_says_so_on_both_listeners_and_takes_all_that_comes() {
    // A stop closed both listeners at once: each deploy was an outage for
    // whoever was still sent here.
    let house = House::with(Mode::Async).await;
    assert_eq!(readiness(&house).await, [200, 200]);
    house.app.stop.leave();
    assert_eq!(readiness(&house).await, [503, 503]);
    assert_eq!(house.call(POST).await.status, 202);
    house.upstream.next().await.answer("200 OK", "", "done").await;
}

#[tokio::test]
async fn a_drain_refuses_new_work_by_name_and_shows_what_runs_to_its_end() {
    let house = House::with(Mode::Async).await;
    let ticket = house.call(POST).await;
    let mut call = house.upstream.next().await;
    let links = ticket.json()["links"].clone();
    let target = |name: &str| {
        let url = links[name].as_str().unwrap();
        url[url.find("/v1").unwrap()..].to_owned()
    };
    let get = |name: &str| {
        let target = target(name);
        format!("GET {target} HTTP/1.1\r\nhost: {}\r\n\r\n", house.address)
    };
    let mut events = house.send(&get("events")).await;
    events.head().await;
    house.engine.begin_drain();
    let api = format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: 16\r\n\r\n{{\"queue\":\"work\"}}",
        house.address
    );
    for new_work in [POST, &api] {
        let refused = house.call(new_work).await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "server-draining"));
        assert_eq!((refused.field("retry-after"), refused.field("connection")), ("2", "close"));
    }
    assert_eq!(readiness(&house).await, [503, 503]);
    assert_eq!(house.call(&get("self")).await.json()["status"], "running");
    call.answer("200 OK", "", "done").await;
    assert_eq!(house.over(ticket.task()).await.life.status(), Status::Succeeded);
    let (told, is_clean) = events.rest().await;
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains("event: succeeded") && is_clean, "{told}");
    assert_eq!(house.call(&get("result")).await.text(), "done");
    house.app.stop.close();
    house.serving.await.unwrap();
}

#[tokio::test]
async fn a_drain_passes_nothing_on_any_more() {
    let mut plan = Plan::with(Mode::Sync).await;
    plan.server.routes[0].path = "/routed".to_owned();
    plan.server.fallback = Some(plan.upstream.url().parse().unwrap());
    let house = plan.build().await;
    house.engine.begin_drain();
    for path in ["/routed", "/other"] {
        let refused = house.call(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "server-draining"));
        assert_eq!(refused.field("connection"), "close");
    }
    assert!(house.upstream.is_silent().await);
}
