//! Settling: what is sent, what is answered, and what may not be answered.

use serde_json::{Value, json};

use crate::clock::pause_ms;
use crate::ledger::{Outcome, Said, Settle};
use crate::verdict::Check;
use crate::wire::Reply;
use crate::workers::Held;
use crate::world::{Phase, World};

/// Settles, and says it again for as long as no answer comes.
pub(crate) async fn settle(world: &World, held: &Held, outcome: Outcome) {
    for _ in 0..SENDS_MAX {
        if world.phase() == Phase::Over || !world.until_up().await {
            return;
        }
        let place = begin(world, held, outcome);
        let document = json!({"items": [item(held, outcome)]});
        match world.http.post("/v1/leases/settle", &document).await {
            Reply::Answer(answer) if answer.status == 200 => {
                let document = answer.json();
                end(world, held, place, &said_of(&document["items"][0]));
                return;
            }
            Reply::Answer(answer) => {
                let is_limit = matches!(answer.status, 429 | 503);
                world.ledger().verdict.note(Check::Answers, Some(&held.task), is_limit, || {
                    format!("settle: {}", answer.shown())
                });
                pause_ms(100).await;
            }
            Reply::Lost => {}
            Reply::NotSent => {
                forget(world, held, place);
                pause_ms(20).await;
            }
        }
    }
}

/// The result of a settle, as it is sent and as it must come back.
pub(crate) fn result_of(task: &str, attempt: u64, salt: u64) -> String {
    // A layout that no writer of JSON would choose: the source bytes are kept.
    format!("{{ \"task\":\"{task}\" ,\"attempt\": {attempt}, \"salt\":{salt}.0 }}")
}

fn item(held: &Held, outcome: Outcome) -> Value {
    let mut item = json!({"token": held.token});
    match outcome {
        Outcome::Succeed(salt) => {
            item["outcome"] = "succeed".into();
            item["result_base64"] =
                base64(result_of(&held.task, held.attempt, salt).as_bytes()).into();
            item["content_type"] = "application/json".into();
        }
        Outcome::Fail { retryable } => {
            item["outcome"] = "fail".into();
            item["retryable"] = retryable.into();
            item["problem"] = json!({"title": "the judge says so"});
        }
        Outcome::Release => item["outcome"] = "release".into(),
    }
    item
}

/// RFC 4648, section 4, padded.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            let is_padding = place > chunk.len();
            text.push(if is_padding { '=' } else { char::from(ALPHABET[index as usize]) });
        }
    }
    text
}

/// Writes down that a settle is about to be sent; answers its place among those of its lease.
fn begin(world: &World, held: &Held, outcome: Outcome) -> usize {
    let now = world.now();
    let mut ledger = world.ledger();
    ledger.counts.settles += 1;
    let latest = ledger.latest_attempt.get(&held.task).copied().unwrap_or(0);
    let is_stale = latest > held.attempt;
    ledger.counts.stale_settles += u64::from(is_stale);
    let lease = ledger.leases.get_mut(&held.token).expect("it was leased");
    lease.settles.push(Settle { outcome, sent: now, is_stale, said: Said::Nothing });
    lease.settles.len() - 1
}

/// Nobody listened: it was not sent.
fn forget(world: &World, held: &Held, place: usize) {
    let mut ledger = world.ledger();
    ledger.counts.settles -= 1;
    let lease = ledger.leases.get_mut(&held.token).expect("it was leased");
    // Another actor may have settled this lease in the meantime: only the last is taken back.
    if place + 1 == lease.settles.len() {
        lease.settles.pop();
    }
}

fn said_of(item: &Value) -> Said {
    if item["status"] == 200 && item["canceled"] != true {
        return if item["replayed"] == true { Said::Replayed } else { Said::Recorded };
    }
    Said::Refused(item["problem"]["code"].as_str().unwrap_or("no code").to_owned())
}

fn end(world: &World, held: &Held, place: usize, said: &Said) {
    let mut ledger = world.ledger();
    let lease = ledger.leases.get_mut(&held.token).expect("it was leased");
    lease.settles[place].said = said.clone();
    let settles = lease.settles.clone();
    let this = &settles[place];
    if let Said::Refused(code) = said {
        let is_known = matches!(code.as_str(), "stale-lease" | "task-canceled");
        ledger.verdict.note(Check::Answers, Some(&held.task), is_known, || {
            format!("a settle of attempt {} was refused as {code}", held.attempt)
        });
        return;
    }
    // Whether any settle of this lease may have been recorded before this one was sent.
    let earlier = settles[..place]
        .iter()
        .any(|other| matches!(other.said, Said::Recorded | Said::Replayed | Said::Nothing));
    match said {
        Said::Recorded => {
            let recorded = settles[..place].iter().filter(|other| other.said == Said::Recorded);
            let is_first = recorded.count() == 0;
            ledger.verdict.note(Check::Fences, Some(&held.task), is_first, || {
                format!(
                    "attempt {}: after {:?} was recorded, {:?} was recorded too",
                    held.attempt, settles[0].outcome, this.outcome
                )
            });
            ledger.verdict.note(Check::Fences, Some(&held.task), !this.is_stale, || {
                format!(
                    "attempt {} settled {:?} and it was recorded, although a later attempt had \
                     been leased",
                    held.attempt, this.outcome
                )
            });
        }
        Said::Replayed => {
            ledger.verdict.note(Check::Fences, Some(&held.task), earlier, || {
                format!("attempt {} settled once, and it was called a repetition", held.attempt)
            });
        }
        Said::Nothing | Said::Refused(_) => {}
    }
}

/// How often one settle is sent.
const SENDS_MAX: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648, section 10.
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn an_answer_to_a_settle_is_understood() {
        assert_eq!(said_of(&json!({"status": 200, "task": {}})), Said::Recorded);
        assert_eq!(said_of(&json!({"status": 200, "replayed": true})), Said::Replayed);
        let refused = json!({"status": 409, "problem": {"code": "stale-lease"}});
        assert_eq!(said_of(&refused), Said::Refused("stale-lease".to_owned()));
    }
}
