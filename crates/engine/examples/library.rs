//! The engine as a library: a queue whose tasks run in this process, without HTTP.
//!
//! `cargo run -p relais-engine --example library`

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use relais_core::{BodyKind, EventKind, Grants, Priority, Purpose, QueueName, Runner};
use relais_engine::{
    Access, Config, Context, Engine, Handler, InlineAttempt, InlineOutcome, Presented, RequestHead,
    Sight, Submission, SystemChance, SystemClock,
};
use relais_store::{Data, EventQuery, MemoryStore};

/// Counts the words of its input.
struct CountWords;

impl Handler for CountWords {
    fn handle(
        &self,
        attempt: InlineAttempt,
    ) -> Pin<Box<dyn Future<Output = InlineOutcome> + Send + '_>> {
        Box::pin(async move {
            let words = String::from_utf8_lossy(&attempt.input).split_whitespace().count();
            InlineOutcome::Succeed {
                content_type: "text/plain".to_owned(),
                result: Bytes::from(words.to_string()),
            }
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let queue: QueueName = "words".parse()?;
    let handler: Arc<dyn Handler> = Arc::new(CountWords);
    let config =
        Config { handlers: HashMap::from([(queue.clone(), handler)]), ..Config::default() };
    // The reference store forgets everything; a program would open `relais-store-sqlite` here.
    let store = Arc::new(MemoryStore::new());
    let clock = Arc::new(SystemClock::start());
    let engine = Engine::start(config, store, clock, Arc::new(SystemChance::default())).await?;

    let id = engine.draw_id();
    let mut follower = engine.follow(id);
    engine.submit(id, submission(queue, "nothing is lost, nothing is doubled")?).await?;
    let mut seen = 0;
    while !is_over(&engine, id, &mut seen).await? {
        follower.after(seen).await;
    }
    let result = engine.body(id, BodyKind::Result).await?.ok_or("the task left no result")?;
    println!("{id}: {} words", String::from_utf8_lossy(&result.bytes(1_024).await?));
    engine.drain().await;
    Ok(())
}

async fn is_over(
    engine: &Engine,
    id: relais_core::TaskId,
    seen: &mut u64,
) -> Result<bool, Box<dyn Error>> {
    for logged in engine.events(EventQuery::Task { id, after: *seen, limit: 100 }).await? {
        *seen = logged.entry.seq;
        println!("{}: {}", logged.entry.seq, logged.entry.data.kind().as_str());
        if logged.entry.data.kind().is_terminal() {
            return Ok(logged.entry.data.kind() == EventKind::Succeeded);
        }
    }
    Ok(false)
}

fn submission(queue: QueueName, input: &'static str) -> Result<Submission, Box<dyn Error>> {
    Ok(Submission {
        tenant: "default".parse()?,
        purpose: Purpose::Client,
        queue,
        lane: None,
        priority: Priority::default(),
        labels: Vec::new(),
        runner: Runner::Inline,
        run_at: None,
        deadline: None,
        retention: None,
        content_type: Some("text/plain".to_owned()),
        head: RequestHead::default(),
        request: None,
        input: Data::Inline(Bytes::from_static(input.as_bytes())),
        secrets: Vec::new(),
        checkpoint: None,
        idempotency: None,
        context: Context {
            calling: None,
            presented: Presented::default(),
            sight: Sight { access: Access::Key, grants: Grants::default() },
        },
        source: None,
        grace: None,
        webhook: None,
        is_attended: false,
    })
}
