//! `POST /orders` and `GET /orders`: not idempotent, and honest about it.
//!
//! An `Idempotency-Key` is deliberately not read: each call that arrives makes a new order, also
//! one whose caller leaves before the answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{
    ORDER_LINES_MAX, ORDER_QUANTITY_MAX, ORDER_TEXT_LEN_MAX, ORDERS_LISTED_MAX, ORDERS_MAX,
    ORDERS_RUNNING_MAX,
};
use crate::price;
use crate::serve::{HangUp, Refusal, Shop, pause};

/// What a customer orders.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Order {
    /// The customer's own name for the order; two orders with the same one are a double.
    pub reference: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub customer: String,
    /// What is ordered.
    pub lines: Vec<Line>,
}

/// One line of an order.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Line {
    pub sku: String,
    pub quantity: u32,
    /// The price of one, such as `"12.50"`.
    pub price: String,
}

impl Order {
    /// Says what is wrong with the order, if anything.
    ///
    /// # Errors
    /// A sentence for the caller.
    pub fn check(&self) -> Result<(), String> {
        let fits = |text: &str| (1..=ORDER_TEXT_LEN_MAX).contains(&text.len());
        if !fits(&self.reference) || self.customer.len() > ORDER_TEXT_LEN_MAX {
            return Err(format!("reference and customer have 1 to {ORDER_TEXT_LEN_MAX} bytes"));
        }
        if !(1..=ORDER_LINES_MAX).contains(&self.lines.len()) {
            return Err(format!("an order has 1 to {ORDER_LINES_MAX} lines"));
        }
        for (n, line) in (1..).zip(&self.lines) {
            if !fits(&line.sku) {
                return Err(format!("line {n}: sku has 1 to {ORDER_TEXT_LEN_MAX} bytes"));
            }
            if !(1..=ORDER_QUANTITY_MAX).contains(&line.quantity) {
                return Err(format!("line {n}: quantity is 1 to {ORDER_QUANTITY_MAX}"));
            }
            if price::parse(&line.price).is_none() {
                return Err(format!("line {n}: price is a decimal such as \"12.50\""));
            }
        }
        Ok(())
    }
}

/// An order that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Placed {
    /// The shop's number.
    pub number: String,
    /// How many orders have this reference by now, this one included.
    pub orders_with_this_reference: u32,
    /// What was ordered.
    #[serde(flatten)]
    pub order: Order,
}

/// The orders made since the start.
#[derive(Debug)]
pub struct Orders {
    book: Mutex<Book>,
    running: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Book {
    placed: Vec<Placed>,
    references: BTreeMap<String, u32>,
}

impl Default for Orders {
    fn default() -> Self {
        let running = Arc::new(Semaphore::new(ORDERS_RUNNING_MAX as usize));
        Self { book: Mutex::default(), running }
    }
}

impl Orders {
    /// Makes an order, a new one at each call; `None` when the book is full.
    pub fn place(&self, order: Order) -> Option<Placed> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.placed.len() >= ORDERS_MAX {
            return None;
        }
        let number = format!("SO-{:06}", book.placed.len() + 1);
        let same = book.references.entry(order.reference.clone()).or_default();
        *same += 1;
        let placed = Placed { number, orders_with_this_reference: *same, order };
        book.placed.push(placed.clone());
        Some(placed)
    }

    /// The order of this number.
    pub(crate) fn find(&self, number: &str) -> Option<Placed> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let place: usize = number.strip_prefix("SO-")?.parse().ok()?;
        let placed = book.placed.get(place.checked_sub(1)?)?;
        (placed.number == number).then(|| placed.clone())
    }

    /// The orders, the latest first, and how many there are of what.
    pub fn list(&self) -> Value {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let doubled: Vec<Value> = book
            .references
            .iter()
            .filter(|(_, count)| **count > 1)
            .take(ORDERS_LISTED_MAX)
            .map(|(reference, count)| json!({"reference": reference, "orders": count}))
            .collect();
        let latest: Vec<&Placed> = book.placed.iter().rev().take(ORDERS_LISTED_MAX).collect();
        json!({
            "count": book.placed.len(),
            "references": book.references.len(),
            "doubled": doubled,
            "orders": latest,
        })
    }

    /// Waits until no order is being worked on.
    pub async fn settled(&self) {
        // Nobody closes the semaphore: an error cannot be, and would mean the same.
        let _all = self.running.acquire_many(ORDERS_RUNNING_MAX).await;
    }

    fn begin(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.running).try_acquire_owned().ok()
    }
}

#[derive(Deserialize)]
pub(crate) struct Asked {
    slow: Option<u64>,
    lose_answer: Option<Lose>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Lose {
    /// The answer to the first order of each reference is lost.
    Once,
}

pub(crate) async fn create(
    State(shop): State<Arc<Shop>>,
    Extension(hang_up): Extension<HangUp>,
    Query(asked): Query<Asked>,
    Json(order): Json<Order>,
) -> Result<Response, Refusal> {
    let pause = pause(asked.slow, ORDER_SLOW)?;
    let placed = place(&shop, order, pause).await?;
    if let Some(Lose::Once) = asked.lose_answer
        && placed.orders_with_this_reference == 1
    {
        hang_up.now().await;
    }
    Ok((StatusCode::CREATED, Json(placed)).into_response())
}

/// Makes an order after a pause, as a shop does that has to ask others.
pub(crate) async fn place(
    shop: &Arc<Shop>,
    order: Order,
    pause: impl Future<Output = ()> + Send + 'static,
) -> Result<Placed, Refusal> {
    order.check().map_err(|what| Refusal(StatusCode::UNPROCESSABLE_ENTITY, what))?;
    let busy = |what: &str| Refusal(StatusCode::SERVICE_UNAVAILABLE, what.into());
    let running = shop.orders.begin().ok_or_else(|| busy("too many orders at once"))?;
    let shop = Arc::clone(shop);
    // A task of its own: a caller that leaves does not undo what the shop has begun.
    let work = tokio::spawn(async move {
        pause.await;
        let placed = shop.orders.place(order);
        drop(running);
        placed
    });
    let placed = work.await.map_err(|_| busy("the shop is closing"))?;
    placed.ok_or_else(|| busy("the order book is full"))
}

pub(crate) async fn list(State(shop): State<Arc<Shop>>) -> Json<Value> {
    Json(shop.orders.list())
}

const ORDER_SLOW: Duration = Duration::from_secs(2);
