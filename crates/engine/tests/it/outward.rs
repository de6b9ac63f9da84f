//! Calls of URLs that callers and tenants name.

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use relais_core::Guard;
use relais_core::address::Passage;
use relais_core::outcome::Sent;
use relais_engine::Config;
use relais_engine::upstream::call::{CallError, Unreachable};

use crate::log::Log;
use crate::world::{Upstream, World};

/// One that lets these through.
fn config(allow: &[&str]) -> Config {
    let entries = allow.iter().map(|entry| entry.parse().unwrap());
    Config { outward: Guard::new(entries.collect()), ..Config::default() }
}

/// Posts to a URL that somebody named.
async fn call(world: &World, url: &str) -> Result<Response<hyper::body::Incoming>, CallError> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::post(url).body(body).unwrap();
    world.engine.outward().call(request, true, &mut Sent::Nothing).await
}

/// P81: who named it learns that it is refused, and nothing of where it led.
#[tokio::test]
async fn what_is_refused_is_told_to_the_operator_in_full_and_to_nobody_else() {
    let log = Log::here();
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let address = upstream.origin.trim_start_matches("http://");
    let port = address.rsplit(':').next().unwrap();
    for url in [format!("http://{address}/hook?token=secret"), format!("http://localhost:{port}/")]
    {
        let refused = call(&world, &url).await.unwrap_err();
        assert!(matches!(refused, CallError::Unreachable(Unreachable::NotAllowed)), "{refused}");
        assert!(!refused.to_string().contains("127"), "{refused}");
    }
    assert!(log.with(address).iter().all(|line| line.contains("loopback (RFC 1122)")));
    let by_name = log.with("host=\"localhost\"");
    assert!(by_name.iter().any(|line| line.contains(address)), "{}", log.text());
    assert!(!log.text().contains("secret"));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_leads_nowhere() {
    let upstream = Upstream::start().await;
    let world = World::with(config(&[upstream.origin.trim_start_matches("http://")])).await;
    let field = "Location: http://169.254.169.254/latest/meta-data/\r\n";
    let (answer, _) =
        tokio::join!(call(&world, &upstream.origin), upstream.answer("302 Found", field, ""));
    let answer = answer.unwrap();
    assert_eq!(answer.status(), StatusCode::FOUND);
    assert_eq!(answer.extensions().get(), Some(&Passage::Allowed));
}

#[tokio::test]
async fn a_connection_that_a_later_list_does_not_let_through_carries_no_further_call() {
    let upstream = Upstream::start().await;
    let allow = config(&["127.0.0.0/8"]);
    let world = World::with(allow.clone()).await;
    let answering = async {
        let mut call = upstream.next().await;
        call.answer_and_stay("", "ok").await;
        call
    };
    let reading = async {
        let answer = call(&world, &upstream.origin).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes()
    };
    let (mut held, body) = tokio::join!(answering, reading);
    assert_eq!(body, "ok");
    world.engine.configure(config(&[]));
    let refused = call(&world, &upstream.origin).await.unwrap_err();
    assert!(matches!(refused, CallError::Unreachable(Unreachable::NotAllowed)), "{refused}");
    held.until_closed().await;
    // And the other way round.
    world.engine.configure(allow);
    let (answer, _) =
        tokio::join!(call(&world, &upstream.origin), upstream.answer("200 OK", "", ""));
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
}
