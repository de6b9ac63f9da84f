//! One attempt to deliver: reads what is to be told and to whom, sends it, and records how that went.

use bytes::Bytes;
use relais_core::{Cause, Command, DeliveryId, Endpoint, EndpointOp, Failure, FailureCode, Heard};
use relais_store::{Claimed, Commit, Committed, Deliveries, EndpointOf, Endpoints, StoreError};
use tokio_util::sync::CancellationToken;

use super::body::body;
use super::call::{Called, Message};
use super::sign::signatures;
use crate::engine::{Engine, EngineError};

/// How an attempt went.
enum Tried {
    /// It was sent, to an endpoint that is kept or to a task's own webhook.
    Sent(Box<Called>, Option<Box<Endpoint>>),
    /// There is nothing to tell, or nobody to tell it to.
    NotWanted,
    /// Its endpoint is held meanwhile: it waits like all others.
    Held,
    /// It could not be sent, and its receiver is not to blame.
    Unready(Failure),
    /// It was told to stop.
    Stopped,
}

/// Where a delivery goes, and what signs it.
struct Target {
    url: String,
    keys: Vec<Bytes>,
    endpoint: Option<Box<Endpoint>>,
}

impl Engine {
    /// Runs one attempt of a delivery.
    pub(crate) async fn deliver(&self, claimed: Claimed, stop: CancellationToken) {
        let id = DeliveryId::of_task(claimed.task().spec.id);
        // What is known of an endpoint before, and what waits for it, changes with this alone.
        let tried = tokio::select! {
            tried = self.try_to_deliver(id) => tried,
            () = stop.cancelled() => Tried::Stopped,
        };
        let (heard, retry_after) = match &tried {
            Tried::Sent(called, _) => (Some(called.verdict.heard), called.retry_after),
            Tried::NotWanted | Tried::Held | Tried::Unready(_) | Tried::Stopped => (None, None),
        };
        let task = claimed.task().spec.id;
        let recorded = match tried {
            Tried::Stopped => {
                let given_back = Command::Release { nonce: claimed.nonce };
                self.end_stopped(claimed.token(), given_back).await.map(drop)
            }
            tried => {
                let commits = self.records(&claimed, tried);
                self.until_stored(task, || self.record(id, commits.clone())).await
            }
        };
        if let Err(error) = recorded {
            tracing::warn!(%error, %task, "could not record an attempt to deliver");
        }
        self.note_attempt(id, heard, retry_after);
    }

    async fn try_to_deliver(&self, id: DeliveryId) -> Tried {
        let found = self.store().deliveries(Deliveries::One(id)).await;
        let delivery = match found.map(|mut found| found.pop()) {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return Tried::NotWanted,
            Err(error) => return Tried::Unready(unread(&error)),
        };
        if delivery.told.is_none() {
            let error = StoreError::Corrupt("the event that is told cannot be read".to_owned());
            return Tried::Unready(unread(&error));
        }
        let config = self.config();
        let Some(body) = body(&delivery, &config.webhooks.base) else { return Tried::NotWanted };
        let target = match self.target(id).await {
            Ok(target) => target,
            Err(tried) => return tried,
        };
        let timestamp = self.now().as_ms().div_euclid(1_000);
        let (id, keys) = (id.to_string(), target.keys.iter().map(|key| &key[..]));
        let signature = signatures(keys, &id, timestamp, &body);
        let message = Message { url: &target.url, id: &id, timestamp, signature: &signature, body };
        let called = self.send(message, config.webhooks.timeout).await;
        Tried::Sent(Box::new(called), target.endpoint)
    }

    /// Where a delivery goes.
    async fn target(&self, id: DeliveryId) -> Result<Target, Tried> {
        let found = self.store().endpoints(Endpoints::One(id.endpoint)).await;
        let row = found.map_err(|error| Tried::Unready(unread(&error)))?.pop();
        let Some(row) = row else { return Err(Tried::NotWanted) };
        let endpoint = row.endpoint;
        if !endpoint.standing.is_active() {
            return Err(Tried::Held);
        }
        let open = |sealed: &[u8]| match self.open_for(endpoint.id, sealed) {
            Some(opened) => opened.map_err(|error| error.to_string()),
            None => Err("there is no key to open its secret with".to_owned()),
        };
        let keys = endpoint.signing(self.now()).map(|secret| open(&secret.sealed));
        let keys = keys
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| Tried::Unready(Failure::new(FailureCode::SealKeyMissing, Some(&why))))?;
        Ok(Target { url: endpoint.url.clone(), keys, endpoint: Some(Box::new(endpoint)) })
    }

    /// What is to be stored of an attempt: all of it in one write.
    fn records(&self, claimed: &Claimed, tried: Tried) -> Vec<Commit> {
        let (nonce, task) = (claimed.nonce, claimed.task());
        let id = DeliveryId::of_task(task.spec.id);
        let step = |command| Commit::Step(Box::new(self.step_of(task, None, command)));
        let stop = || vec![step(Command::Cancel), step(Command::Free { nonce })];
        match tried {
            Tried::Stopped | Tried::NotWanted => stop(),
            Tried::Held => [stop(), vec![Commit::LetWait(id)]].concat(),
            Tried::Unready(failure) => {
                let jitter = self.chance().unit();
                let (cause, retryable, retry_after) = (Cause::Error, true, None);
                vec![step(Command::Fail { nonce, cause, failure, retryable, retry_after, jitter })]
            }
            Tried::Sent(called, endpoint) => {
                let mut commits = vec![step(self.said(nonce, &called))];
                let hold_after = self.config().webhooks.hold_after;
                let (now, heard) = (self.now(), called.verdict.heard);
                if let Some(endpoint) = endpoint
                    && endpoint.after(heard, hold_after, now).is_some()
                {
                    let op = EndpointOp::Heard { heard, hold_after };
                    let of = EndpointOf { id: endpoint.id, tenant: None, op, now };
                    commits.push(Commit::Endpoint(Box::new(of)));
                }
                commits
            }
        }
    }

    /// How an attempt that was sent ends. Its record is what the log of deliveries shows.
    fn said(&self, nonce: u128, called: &Called) -> Command {
        let Called { exchange, verdict, retry_after, cause, code } = called;
        let record = serde_json::to_vec(exchange).expect("documents have a JSON form").into();
        if verdict.heard == Heard::Delivered {
            let (result, message, early) = (Some(record), None, None);
            return Command::Succeed { nonce, result, message, early };
        }
        let detail = match (exchange.status, &exchange.error) {
            (Some(status), Some(error)) => format!("{error} ({status})"),
            (Some(status), None) => format!("the receiver answered {status}"),
            (None, error) => error.clone().unwrap_or_default(),
        };
        let failure = Failure {
            problem: Some(record),
            upstream_status: exchange.status,
            ..Failure::new(*code, Some(&detail))
        };
        let (cause, retryable, retry_after) = (*cause, verdict.again, *retry_after);
        let jitter = self.chance().unit();
        Command::Fail { nonce, cause, failure, retryable, retry_after, jitter }
    }

    async fn record(&self, id: DeliveryId, commits: Vec<Commit>) -> Result<(), EngineError> {
        let mut recorded = Ok(());
        for answer in self.store().commit(commits).await? {
            match answer {
                Ok(Committed::Stepped(stepped)) => self.act(&stepped.changed),
                Ok(Committed::Endpoint(done)) => {
                    done.told.iter().for_each(|endpoint| self.pump(*endpoint));
                    self.tell_standing(id, &done.step);
                }
                Ok(_) => {}
                Err(rejected) => recorded = Err(rejected.into()),
            }
        }
        recorded
    }

    /// The log has a line when an endpoint begins to fail, or gets nothing any more.
    fn tell_standing(&self, id: DeliveryId, step: &relais_core::EndpointStep) {
        use relais_core::Standing;
        let Some(endpoint) = &step.endpoint else { return };
        let (webhook, tenant) = (id.endpoint, &endpoint.tenant);
        match endpoint.standing {
            Standing::Active { failing_since: Some(_) } => {
                tracing::warn!(%webhook, %tenant, "an endpoint begins to fail");
            }
            Standing::Active { failing_since: None } => {
                tracing::info!(%webhook, %tenant, "an endpoint that had failed takes deliveries again");
            }
            Standing::Disabled { .. } => {
                tracing::warn!(%webhook, %tenant, "an endpoint is gone (410), and is sent nothing more");
            }
            Standing::Held { .. } => {
                tracing::warn!(%webhook, %tenant, "an endpoint has failed for too long, and is held");
            }
        }
    }
}

/// What is stored could not be read just now, or is damaged.
fn unread(error: &StoreError) -> Failure {
    let code = match error.may_pass() {
        true => FailureCode::StoreUnavailable,
        false => FailureCode::BodyDamaged,
    };
    Failure::new(code, Some(&error.to_string()))
}
