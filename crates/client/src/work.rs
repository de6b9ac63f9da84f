//! The calls of a worker, one by one. Most workers want [`crate::Worker`], which makes them.

use std::io::SeekFrom;

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
pub use relais_api::lease::{Heartbeat, Lease, LeaseNext, LeaseRequest, Settle, SettleRequest};
use relais_api::lease::{HeartbeatRequest, HeartbeatResponse, LeaseResponse, StoredResult};
use relais_api::{Problem, paths};
use serde::Deserialize;
use tokio::io::AsyncSeekExt;

use crate::answer::Answer;
use crate::backoff::Backoff;
use crate::body::{self, SendBody};
use crate::client::Client;
use crate::error::Error;
use crate::send::{self, Call, escaped};

/// The answer to a batch of settles: one entry for each, in order, and what was leased next.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SettleResponse {
    /// What became of each.
    pub items: Vec<SettleItem>,
    /// What `lease_next` leased.
    #[serde(default)]
    pub leases: Vec<Lease>,
}

/// What became of one settle.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SettleItem {
    /// 200, or the problem's status.
    pub status: u16,
    /// It had been recorded before.
    #[serde(default)]
    pub replayed: bool,
    /// The task had been canceled: the outcome was not recorded.
    #[serde(default)]
    pub canceled: bool,
    /// Why the outcome was not recorded.
    #[serde(default)]
    pub problem: Option<Problem>,
}

/// Where a large result comes from; it may be read more than once.
#[derive(Debug)]
pub enum ResultSource {
    /// It is in memory.
    Bytes(Bytes),
    /// It is in a file, from its start.
    File(tokio::fs::File),
}

impl ResultSource {
    async fn body(&self) -> Result<SendBody, Error> {
        let file = match self {
            Self::Bytes(bytes) => return Ok(body::whole(bytes.clone())),
            Self::File(file) => file,
        };
        let mut file = file.try_clone().await?;
        file.seek(SeekFrom::Start(0)).await?;
        let len = file.metadata().await?.len();
        Ok(body::file(file, len))
    }
}

impl Client {
    /// Leases tasks of a queue. Not repeated by itself: a lease whose answer was lost is void.
    ///
    /// # Errors
    /// When there is no such queue, this caller may not, or the server cannot be reached.
    pub async fn lease(&self, queue: &str, request: &LeaseRequest) -> Result<Vec<Lease>, Error> {
        let wait = request.wait.unwrap_or_default().as_duration();
        let call =
            Call::post(paths::QUEUE_LEASES.replace("{queue}", &escaped(queue))).patient(wait);
        let response: LeaseResponse = self.document(&call.json(request)?).await?;
        Ok(response.leases)
    }

    /// Extends leases and reports; one answer for each, in order.
    ///
    /// # Errors
    /// When the whole call is refused, or the server cannot be reached.
    pub async fn heartbeat(&self, beats: Vec<Heartbeat>) -> Result<HeartbeatResponse, Error> {
        let items = beats.into_iter().map(Into::into).collect();
        let call = Call::post(paths::LEASES_HEARTBEAT).json(&HeartbeatRequest { items })?;
        self.document(&call).await
    }

    /// Settles attempts, and maybe leases the next. Repeated where its answer was lost: the server
    /// knows a settle that it has recorded.
    ///
    /// # Errors
    /// When the whole call is refused, or the server cannot be reached.
    pub async fn settle(&self, request: &SettleRequest) -> Result<SettleResponse, Error> {
        self.document(&Call::post(paths::LEASES_SETTLE).repeatable().json(request)?).await
    }

    /// The input of a leased task, to be read piece by piece; `None` if it has none.
    ///
    /// # Errors
    /// When the lease is over, or the server cannot be reached.
    pub async fn input(&self, token: &str) -> Result<Option<Answer>, Error> {
        let call = Call::get(paths::LEASES_INPUT).text_field(send::LEASE, token)?;
        let response = self.send(&call).await?;
        match response.status().as_u16() {
            204 => Ok(None),
            200 => Ok(Some(Answer::new(self.clone(), response))),
            _ => Err(send::refused(response).await),
        }
    }

    /// Stores a large result before its settle, which then names it.
    ///
    /// # Errors
    /// When the lease is over, the result too large, or the server cannot be reached.
    pub async fn store_result(
        &self,
        token: &str,
        content_type: &str,
        source: &ResultSource,
    ) -> Result<StoredResult, Error> {
        let mut backoff = Backoff::default();
        let mut call = Call::post(paths::LEASES_RESULT)
            .text_field(send::LEASE, token)?
            .text_field(CONTENT_TYPE, content_type)?;
        call.set_method(Method::PUT);
        loop {
            let answer = match self.send_once(&call, source.body().await?).await {
                Ok(response) => self.read(response).await,
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if error.is_transient() && backoff.failures() + 1 < self.attempts() => {
                    tokio::time::sleep(backoff.failed(error.retry_after())).await;
                }
                answer => return answer,
            }
        }
    }
}
