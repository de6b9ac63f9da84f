//! What goes wrong at the shop: a refusal that is retried, and a lost answer that is not.

use relais_api::event::{AttemptCause, AttemptFailedData, FailedData};
use relais_client::Problem;
use serde_json::Value;

use super::call::Call;
use super::story::{Handed, Story, kinds, of_kind};
use super::truth::{ensure, ensure_same, ensure_same_json};

pub(super) const RETRIED: (&str, &str) = (
    "A failure, retried",
    "This supplier refuses twice with 503 and Retry-After: 1. Nobody asks again but Relais.",
);

/// A refusal that goes away.
pub(super) async fn retried(story: &mut Story) -> anyhow::Result<String> {
    let url = format!("{}/suppliers/flaky-demo/stock", story.stage.door());
    let (handed, _) = story.hand_in("FLAKY", &Call::get(url).respond_async()).await?;
    let events = story.follow(&handed, 0).await?;
    let failed = of_kind(&events, "attempt_failed");
    ensure(failed.len() == 2, "two attempt_failed", kinds(&events))?;
    for event in failed {
        let data: AttemptFailedData = event.data.read()?;
        ensure_same("the cause", &data.cause, &AttemptCause::Error)?;
        ensure(data.run_at.is_some(), "when the next attempt starts", event.data.as_str())?;
    }
    let last = events.last().map(|event| (event.kind.as_str(), event.attempt));
    ensure(last.is_some_and(|(kind, _)| kind == "succeeded"), "succeeded", kinds(&events))?;
    let answer = story.collect(&handed.location, &[]).await?;
    ensure(answer.status() == 200, "200 OK", &answer)?;
    let stock: Value = answer.json()?;
    ensure_same_json("the shop's count of calls", &stock["call"], &Value::from(3))?;
    story.teller.fact("two refusals and an answer; the client saw the answer only");
    Ok("two 503 retried, then the answer".to_owned())
}

pub(super) const LOST: (&str, &str) = (
    "A lost answer, not retried",
    "The shop makes the order, then the connection breaks. Was it made? A POST is not sent twice \
     blindly: the task ends as outcome-unknown, and whoever has the ticket decides.",
);

/// An answer that nobody heard.
pub(super) async fn lost(story: &mut Story) -> anyhow::Result<String> {
    let orders = format!("{}/orders", story.stage.door());
    story.stage.lay_out(FILE, ORDER.as_bytes())?;
    let call = Call::post_json(format!("{orders}?lose_answer=once"), FILE, ORDER);
    let (handed, _) = story.hand_in("ORDER", &call.respond_async()).await?;
    let events = story.follow(&handed, 0).await?;
    let failed = of_kind(&events, "failed");
    let data: Option<FailedData> = failed.first().and_then(|event| event.data.read().ok());
    let code = data.map(|data| data.problem.code).unwrap_or_default();
    ensure(code == OUTCOME_UNKNOWN, "failed: outcome-unknown", kinds(&events))?;
    let attempts = of_kind(&events, "started").len();
    ensure(attempts == 1, "one attempt and no other", kinds(&events))?;

    story.teller.prose("The answer is the problem, with a page of its own:");
    let call = Call::get(&handed.location);
    story.show(&call);
    let answer = story.caller.send(&call).await?;
    story.teller.head(&answer.head, answer.took, &["content-type", "relais-origin"]);
    story.teller.document(&answer.json()?);
    let problem: Problem = answer.json()?;
    ensure(problem.code == OUTCOME_UNKNOWN && answer.status() == 502, "502, outcome-unknown", {
        &answer
    })?;
    ensure_same("Relais-Origin", &answer.head.required("relais-origin")?, &"relais")?;
    let book = ask_book(story, &orders).await?;
    ensure_same_json("orders in the shop", &book["count"], &Value::from(1))?;
    story.teller.fact("not repeated; and the shop did make the order");
    retry_by_hand(story, &handed, events.last().map_or(0, |event| event.seq)).await?;

    let book = ask_book(story, &orders).await?;
    let doubled = serde_json::json!([{"reference": "A-1", "orders": 2}]);
    ensure_same_json("doubled orders in the shop", &book["doubled"], &doubled)?;
    story.teller.fact("the order exists twice: that is why Relais did not repeat it by itself");
    Ok("outcome-unknown, retried by hand".to_owned())
}

async fn retry_by_hand(story: &Story, handed: &Handed, seen: u64) -> anyhow::Result<()> {
    story.teller.prose("The holder of the ticket takes the risk, and retries by hand:");
    let Some(retry) = &handed.accepted.task.links.retry else {
        return ensure(false, "a link to retry, which the route grants", "none");
    };
    let answer = story.send(&Call::post(retry), &["location"]).await?;
    let again = story.handed("ORDER", &answer)?;
    ensure_same("the task", &again.accepted.task.id, &handed.accepted.task.id)?;
    ensure_same("its run", &again.accepted.task.run, &2)?;
    let events = story.follow(&again, seen).await?;
    let expected = ["requeued", "started", "succeeded"];
    let found: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    // The bytes sent and received are progress.
    let found: Vec<&str> = found.into_iter().filter(|kind| *kind != "progressed").collect();
    ensure_same("the events of the second run", &&*found, &&expected[..])?;
    let answer = story.collect(&again.location, &[]).await?;
    ensure(answer.status() == 201, "201 Created, the shop's answer", &answer)?;
    let placed: Value = answer.json()?;
    ensure_same_json(
        "orders of this reference",
        &placed["orders_with_this_reference"],
        &Value::from(2),
    )
}

async fn ask_book(story: &Story, orders: &str) -> anyhow::Result<Value> {
    let answer = story.send(&Call::get(orders), &[]).await?;
    ensure(answer.status() == 200, "200 OK from the shop's book", &answer)?;
    answer.json()
}

const FILE: &str = "order.json";
const OUTCOME_UNKNOWN: &str = "outcome-unknown";
const ORDER: &str =
    r#"{"reference": "A-1", "lines": [{"sku": "P-1", "quantity": 3, "price": "12.50"}]}"#;
