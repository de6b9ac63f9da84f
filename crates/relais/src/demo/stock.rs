//! The same question twice: waiting for the answer, and with a ticket.

use std::time::Duration;

use super::call::Call;
use super::story::Story;
use super::teller::time;
use super::truth::{ensure, ensure_same};

pub(super) const WAIT: (&str, &str) = (
    "A call as it always was",
    "Asking a supplier takes the shop 1.5 s. A client that knows nothing of Relais waits.",
);

/// The synchronous call.
pub(super) async fn wait(story: &mut Story) -> anyhow::Result<String> {
    let call = Call::get(format!("{}/suppliers/acme/stock", story.stage.door()));
    let answer = story.send(&call, &["content-type"]).await?;
    ensure(answer.status() == 200, "200 OK", &answer)?;
    ensure(answer.took >= SLOW_MIN, "an answer after 1.5 s", time(answer.took))?;
    ensure(answer.head.text("relais-task").is_none(), "a plain proxy, without a task", &answer)?;
    let took = time(answer.took);
    story.teller.fact(&format!("passed through as it is; the client waited {took}"));
    story.stock = answer.body;
    Ok(format!("the answer, after {took}"))
}

pub(super) const TICKET: (&str, &str) = (
    "The same with a ticket",
    "One more header, and the answer is a ticket. Relais asks the shop; the client is free.",
);

/// The same call, asynchronously.
pub(super) async fn ticket(story: &mut Story) -> anyhow::Result<String> {
    let url = format!("{}/suppliers/acme/stock", story.stage.door());
    let (handed, accepted) = story.hand_in("STOCK", &Call::get(url).respond_async()).await?;
    ensure(accepted.took <= TICKET_MAX, "a ticket in milliseconds", time(accepted.took))?;
    let applied = accepted.head.required("preference-applied")?;
    ensure_same("Preference-Applied", &applied, &"respond-async")?;
    story.teller.fact(&format!("a ticket after {}, durable already", time(accepted.took)));

    story.teller.prose("Not ready yet: the location answers 202 and says when to ask again.");
    let early = story.send(&Call::get(&handed.location), &["retry-after"]).await?;
    ensure(early.status() == 202, "202 while the shop is at it", &early)?;
    let pause = early.head.retry_after();
    ensure(pause.is_some_and(|pause| !pause.is_zero()), "Retry-After", &early)?;

    story.teller.prose("Or ask once, and let the server hold the question until it knows.");
    let answer = story.collect(&handed.location, &["content-type"]).await?;
    ensure(answer.status() == 200, "200 OK, the shop's own answer", &answer)?;
    // The shop counts its calls and says so in the answer: this is its second.
    let expected = String::from_utf8_lossy(&story.stock).replacen("\"call\":1,", "\"call\":2,", 1);
    ensure_same("the answer", &&*String::from_utf8_lossy(&answer.body), &&*expected)?;
    story.teller.fact(&format!(
        "byte for byte the answer of chapter 1 ({} bytes), but for the shop's own count of calls",
        answer.body.len()
    ));
    let again = story.caller.send(&Call::get(&handed.location)).await?;
    ensure(again.body == answer.body, "the same bytes at each question", &again)?;
    Ok(format!("a ticket after {}, then the same bytes", time(accepted.took)))
}

/// The shop takes 1.5 s.
const SLOW_MIN: Duration = Duration::from_millis(1_400);
/// Milliseconds, on a machine that builds something else meanwhile.
const TICKET_MAX: Duration = Duration::from_millis(700);
