//! `GET /suppliers/{id}/stock`: slow, and unreliable in ways that a caller can choose.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::limits::{SUPPLIER_ID_LEN_MAX, SUPPLIERS_MAX};
use crate::random::Random;
use crate::serve::{Refusal, Shop, pause};

/// How a supplier takes one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It answers, slowly.
    Answers,
    /// It refuses with 503 and says when to come back.
    Refuses,
    /// It never answers.
    Hangs,
}

/// The calls made to each supplier since the start.
#[derive(Debug, Default)]
pub struct Suppliers(Mutex<HashMap<String, u64>>);

impl Suppliers {
    /// Counts a call and says how the supplier takes it; `None` when too many suppliers are known.
    ///
    /// The first word of the id decides, so that `flaky`, `flaky-2` and `flaky-demo` are three
    /// suppliers of the same kind with a counter each.
    pub fn call(&self, id: &str) -> Option<(u64, Mood)> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() >= SUPPLIERS_MAX && !calls.contains_key(id) {
            return None;
        }
        let call = calls.entry(id.to_owned()).or_default();
        *call += 1;
        let mood = match (id.split('-').next(), *call) {
            (Some("down"), _) | (Some("flaky"), 1..=2) => Mood::Refuses,
            (Some("hang"), 1) => Mood::Hangs,
            _ => Mood::Answers,
        };
        Some((*call, mood))
    }
}

#[derive(Deserialize)]
pub(crate) struct Asked {
    slow: Option<u64>,
}

pub(crate) async fn stock(
    State(shop): State<Arc<Shop>>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let fits = (1..=SUPPLIER_ID_LEN_MAX).contains(&id.len());
    if !fits || !id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err(Refusal(StatusCode::NOT_FOUND, "no such supplier".into()));
    }
    let pause = pause(asked.slow, STOCK_SLOW)?;
    let Some((call, mood)) = shop.suppliers.call(&id) else {
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "too many suppliers".into()));
    };
    match mood {
        Mood::Hangs => std::future::pending().await,
        Mood::Refuses => {
            let refusal = Refusal(StatusCode::SERVICE_UNAVAILABLE, format!("{id} is busy"));
            Ok(([(header::RETRY_AFTER, "1")], refusal).into_response())
        }
        Mood::Answers => {
            pause.await;
            Ok(Json(stock_of(shop.seed, &id, call)).into_response())
        }
    }
}

fn stock_of(seed: u64, id: &str, call: u64) -> Value {
    let mut random = Random::new(seed, id);
    let items: Vec<Value> = (1..=20)
        .map(|n| {
            let quantity = random.below(1_000);
            json!({"sku": format!("{id}-{n:03}"), "quantity": quantity})
        })
        .collect();
    json!({"supplier": id, "call": call, "items": items})
}

const STOCK_SLOW: Duration = Duration::from_millis(1_500);
