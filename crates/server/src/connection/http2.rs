//! Drives an HTTP/2 connection, within the bounds that HTTP/1.1 has. PINGs keep none alive: whoever
//! answers them may still want nothing.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use relais_core::limits;
use tokio::time::timeout;

use super::guard::{Guard, Wait, Watch};
use super::streams::{Received, Streams};
use super::timing::{IDLE_MAX, Timing};
use super::transport::Transport;
use super::{Peer, SAY_WITHIN};
use crate::service::Door;

/// Requests at once on one connection.
const STREAMS_MAX: u32 = 200;
/// How often a connection is asked whether it still lives, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Bytes of one answer that the HTTP library takes ahead of the client's window.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// Serves a connection to its end.
pub(super) async fn serve(door: Arc<Door>, stream: Transport, first: Bytes, peer: Peer) {
    let (streams, watch) = (Streams::new(), Arc::new(Watch::default()));
    let app = door.app.clone();
    let service = {
        let peer = Peer { streams: Some(streams.clone()), ..peer };
        let streams = streams.clone();
        service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let (door, open) = (door.clone(), streams.begin());
            Box::pin(async move {
                // What waits for the client to read waits where it came from: in the request.
                open.room().await;
                let request = request.map(|body| Body::new(Received::new(body)));
                let response = door.answer(request).await;
                Ok::<_, Infallible>(open.sent(response))
            })
        })
    };
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits::HEAD_BYTES_MAX).expect("a small constant"))
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .serve_connection(TokioIo::new(Guard::http2(stream, first, watch.clone())), service);
    let mut connection = pin!(connection);
    let mut timing = pin!(Timing::new(app.config.header_timeout, IDLE_MAX));
    let mut stop = pin!(app.stop.cancelled());
    let mut is_stopping = false;
    let ended = std::future::poll_fn(|context| {
        if !is_stopping && stop.as_mut().poll(context).is_ready() {
            is_stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        streams.register(context.waker());
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            return Poll::Ready(Ok(ended));
        }
        timing.as_mut().poll(streams.wait(&watch), context).map(Err)
    })
    .await;
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP/2 connection broke"),
        // What it does not read, it would not read now.
        Err(Wait::Reader(_)) => {}
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(SAY_WITHIN, Pin::new(&mut connection)).await;
        }
    }
}
