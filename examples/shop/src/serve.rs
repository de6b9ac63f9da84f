//! The HTTP service: its routes, its connections, its log and its end.
//!
//! It has its own accept loop because a lost answer needs the one thing that HTTP frameworks do not
//! offer: to close the connection in the middle of an exchange.

use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::imports::Imports;
use crate::limits::{
    BODY_BYTES_MAX, BODY_TIMEOUT, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_TIMEOUT, SLOW_MS_MAX,
};
use crate::orders::Orders;
use crate::page::Pages;
use crate::suppliers::Suppliers;
use crate::{assistant, checkout, imports, invoice, orders, page, suppliers};

/// How the service behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The same seed gives the same stock.
    pub seed: u64,
    /// How long open requests may take to end once the service is told to stop.
    pub drain: Duration,
    /// The time that each line of an import takes whose caller waits.
    pub per_line: Duration,
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) seed: u64,
    pub(crate) suppliers: Suppliers,
    pub(crate) orders: Orders,
    pub(crate) imports: Imports,
    pub(crate) pages: Pages,
}

/// Serves until `stop`, then finishes what is under way, for `options.drain` at most.
pub async fn serve(listener: TcpListener, options: Options, stop: impl Future<Output = ()>) {
    let shop = Arc::new(Shop {
        seed: options.seed,
        suppliers: Suppliers::default(),
        orders: Orders::default(),
        imports: Imports::new(options.per_line),
        pages: Pages::new(),
    });
    let router = router(Arc::clone(&shop));
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (closing, is_closing) = watch::channel(false);
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            while connections.try_join_next().is_some() {}
            let slot = Arc::clone(&slots).acquire_owned().await;
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (router, is_closing) = (router.clone(), is_closing.clone());
                    connections.spawn(async move {
                        connection(stream, router, is_closing).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    log(&format!("could not accept a connection: {error}"));
                    // Out of file descriptors, most likely: trying again at once would spin.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop => {}
        () = accept => {}
    }
    drop(listener);
    closing.send_replace(true);
    let drained = async {
        while connections.join_next().await.is_some() {}
        shop.orders.settled().await;
    };
    if tokio::time::timeout(options.drain, drained).await.is_err() {
        log("stopped with requests still open");
    }
}

fn router(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/", get(page::home))
        .route("/elsewhere", get(page::elsewhere))
        .route("/assets/{file}", get(page::assets::file))
        .route("/samples/products.csv", get(imports::products))
        .route("/imports/now", post(imports::now))
        .route("/assistant", post(assistant::answer))
        .route("/checkout", post(checkout::create))
        .route("/checkout/{number}", get(page::order))
        .route("/suppliers/{id}/stock", get(suppliers::stock))
        .route("/orders", post(orders::create).get(orders::list))
        .route("/invoices", post(invoice::create))
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(|| async { Refusal(StatusCode::NOT_FOUND, "nothing is here".into()) })
        .layer(middleware::from_fn(take_body))
        .layer(middleware::from_fn(log_request))
        .with_state(shop)
}

async fn connection(stream: TcpStream, router: Router, mut is_closing: watch::Receiver<bool>) {
    let hang_up = HangUp(Arc::new(Notify::new()));
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(hang_up.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let mut http = pin!(http.serve_connection(TokioIo::new(stream), service));
    // How a connection ends is the caller's business: errors are not logged.
    tokio::select! {
        _ = http.as_mut() => return,
        () = hang_up.0.notified() => return,
        _ = is_closing.wait_for(|closing| *closing) => {}
    }
    http.as_mut().graceful_shutdown();
    tokio::select! {
        _ = http => {}
        () = hang_up.0.notified() => {}
    }
}

/// Closes the connection that a request came on, without an answer.
#[derive(Clone, Debug)]
pub(crate) struct HangUp(Arc<Notify>);

impl HangUp {
    /// Hangs up; never returns, because the connection takes the handler down with it.
    pub(crate) async fn now(&self) {
        self.0.notify_one();
        std::future::pending().await
    }
}

/// An error answer: a status and a sentence.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

/// The time a handler takes: `slow` milliseconds, or `default`.
pub(crate) fn pause(
    slow: Option<u64>,
    default: Duration,
) -> Result<impl Future<Output = ()> + Send, Refusal> {
    let pause = match slow {
        Some(ms) if ms > SLOW_MS_MAX => {
            let what = format!("slow is {SLOW_MS_MAX} at most");
            return Err(Refusal(StatusCode::BAD_REQUEST, what));
        }
        Some(ms) => Duration::from_millis(ms),
        None => default,
    };
    Ok(async move {
        // Even a sleep of nothing waits for the timer's next millisecond.
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    })
}

/// Takes the whole body before the handler starts, within its limits of size and time.
async fn take_body(request: Request, next: Next) -> Result<Response, Refusal> {
    let too_big = || {
        let what = format!("a body has {BODY_BYTES_MAX} bytes at most");
        Refusal(StatusCode::PAYLOAD_TOO_LARGE, what)
    };
    let (head, body) = request.into_parts();
    // By its Content-Length, before the caller has sent it in vain.
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_big());
    }
    let taken = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await;
    let late = |_| Refusal(StatusCode::REQUEST_TIMEOUT, "the body took too long".into());
    // The other cause of this error is a broken connection, which hears no answer anyway.
    let body = taken.map_err(late)?.map_err(|_| too_big())?;
    Ok(next.run(Request::from_parts(head, Body::from(body))).await)
}

async fn log_request(request: Request, next: Next) -> Response {
    let entry = LogEntry {
        method: request.method().clone(),
        uri: request.uri().clone(),
        since: Instant::now(),
        status: None,
    };
    let response = next.run(request).await;
    entry.answered(response.status());
    response
}

/// One line of the log, written when the request ends, however it does.
struct LogEntry {
    method: Method,
    uri: Uri,
    since: Instant,
    status: Option<StatusCode>,
}

impl LogEntry {
    fn answered(mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for LogEntry {
    fn drop(&mut self) {
        let Self { method, uri, since, status } = self;
        let ms = since.elapsed().as_millis();
        match status {
            Some(status) => log(&format!("{method} {uri} {} {ms} ms", status.as_u16())),
            None => log(&format!("{method} {uri} no answer {ms} ms")),
        }
    }
}

/// Writes a line to standard error; one that nobody reads is no reason to fail.
pub(crate) fn log(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "shop: {line}");
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
