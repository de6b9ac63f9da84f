//! A large answer through the hand-over: in time it is the answer, later it is a ticket, and either
//! way the bytes are the shop's.

use std::time::Duration;

use super::call::{Call, Print};
use super::story::Story;
use super::teller::{thousands, time};
use super::truth::{ensure, ensure_same};

pub(super) const TITLE: (&str, &str) = (
    "A large invoice, handed over",
    "Nobody has to know beforehand whether an answer comes in time. If it does, it is streamed \
     through while it is stored; if not, the client gets a ticket. The bytes are the same.",
);

/// The invoice, three ways.
pub(super) async fn tell(story: &mut Story) -> anyhow::Result<String> {
    let (door, shop) = (story.stage.door(), story.stage.shop_url());
    let size = format!("bytes={BYTES}");
    story.stage.lay_out(FILE, ORDER.as_bytes())?;
    let quick = Call::post_json(format!("{door}/invoices?{size}"), FILE, ORDER);
    let in_time = print(story, &quick).await?;
    ensure(in_time.head.status == 200, "200 OK, the invoice itself", in_time.head.status)?;
    in_time.head.required("relais-task")?;
    story.teller.fact("in time: the answer itself, and stored as the result of a task");

    let slow = format!("/invoices?slow={SLOW_MS}&{size}");
    let call = Call::post_json(format!("{door}{slow}"), FILE, ORDER).wait(1);
    let (handed, accepted) = story.hand_in("INVOICE", &call).await?;
    let was_handed_over = (PATIENCE_MIN..PATIENCE_MAX).contains(&accepted.took);
    ensure(was_handed_over, "a ticket once the second is over", time(accepted.took))?;
    story.teller.fact("not within the second that the client would wait: a ticket instead");
    let later = print(story, &Call::get(&handed.location).wait(20)).await?;
    ensure(later.head.status == 200, "200 OK, the invoice", later.head.status)?;

    story.teller.prose("And without Relais, for comparison:");
    let direct = print(story, &Call::post_json(format!("{shop}{slow}"), FILE, ORDER)).await?;
    ensure(direct.magic == b"%PDF-" && direct.bytes >= BYTES, "a large PDF", {
        format!("{:?}, {} bytes", String::from_utf8_lossy(&direct.magic), direct.bytes)
    })?;
    for (what, print) in [("in time", &in_time), ("by ticket", &later)] {
        ensure_same(&format!("bytes {what}"), &print.bytes, &direct.bytes)?;
        ensure_same(&format!("SHA-256 {what}"), &print.sha256, &direct.sha256)?;
        for field in ["content-type", "content-disposition"] {
            ensure_same(field, &print.head.required(field)?, &direct.head.required(field)?)?;
        }
    }
    story.teller.fact("the same bytes and the same file name, all three times");
    Ok(format!("{} bytes, streamed and by ticket", thousands(direct.bytes)))
}

async fn print(story: &mut Story, call: &Call) -> anyhow::Result<Print> {
    story.show(call);
    let Story { teller, caller, .. } = story;
    teller.begin_bar(BYTES);
    let print = caller.print(call, |bytes| {
        teller.move_bar(bytes, &format!("{} bytes", thousands(bytes)));
    });
    let print = print.await;
    teller.end_bar();
    let print = print?;
    teller.head(&print.head, print.took, &["content-type", "content-disposition", "relais-task"]);
    let (bytes, sha256) = (thousands(print.bytes), print.sha256.get(..32).unwrap_or_default());
    teller.quiet(&format!("{bytes} bytes, sha256 {sha256}…"));
    Ok(print)
}

const FILE: &str = "invoice.json";
/// Far beyond what is kept in memory.
const BYTES: u64 = 24 << 20;
/// The client waits for 1 s.
const SLOW_MS: u32 = 2_000;
const PATIENCE_MIN: Duration = Duration::from_millis(900);
const PATIENCE_MAX: Duration = Duration::from_millis(1_900);
const ORDER: &str =
    r#"{"reference": "A-2", "lines": [{"sku": "P-1", "quantity": 3, "price": "12.50"}]}"#;
