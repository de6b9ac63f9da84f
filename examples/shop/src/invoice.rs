//! `POST /invoices`: an order comes in as JSON, its invoice goes out as PDF.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;

use crate::limits::INVOICE_BYTES_MAX;
use crate::orders::Order;
use crate::pdf::{COLUMNS, Document};
use crate::price;
use crate::serve::{Refusal, Shop, pause};

#[derive(Deserialize)]
pub(crate) struct Asked {
    slow: Option<u64>,
    bytes: Option<u64>,
}

pub(crate) async fn create(
    State(shop): State<Arc<Shop>>,
    Query(asked): Query<Asked>,
    Json(order): Json<Order>,
) -> Result<Response, Refusal> {
    order.check().map_err(|what| Refusal(StatusCode::UNPROCESSABLE_ENTITY, what))?;
    let bytes_min = asked.bytes.unwrap_or(0);
    if bytes_min > INVOICE_BYTES_MAX {
        let what = format!("bytes is {INVOICE_BYTES_MAX} at most");
        return Err(Refusal(StatusCode::BAD_REQUEST, what));
    }
    pause(asked.slow, Duration::ZERO)?.await;
    let document = invoice(&order, bytes_min, shop.seed);
    let headers = [
        (header::CONTENT_TYPE, "application/pdf".to_owned()),
        (header::CONTENT_LENGTH, document.bytes_len().to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", filename(&order))),
    ];
    let body = Body::from_stream(stream::iter(document.chunks().map(Ok::<_, Infallible>)));
    Ok((headers, body).into_response())
}

/// Writes the invoice of an order, padded to `bytes_min`. It has no date: the same order gives the
/// same bytes.
///
/// # Panics
/// When a price of the order is none: check it before.
pub fn invoice(order: &Order, bytes_min: u64, seed: u64) -> Document {
    let title = format!("Invoice {}", order.reference);
    let mut rows = Vec::new();
    wrap(&title, &mut rows);
    wrap(&format!("Customer: {}", order.customer), &mut rows);
    rows.push(String::new());
    rows.push(format!("{:<36}{:>10}{:>15}{:>21}", "Article", "Pieces", "Price", "Amount"));
    let mut total = 0;
    for line in &order.lines {
        let cents = price::parse(&line.price).expect("the order was checked");
        let amount = u128::from(cents) * u128::from(line.quantity);
        total += amount;
        let price = price::show(u128::from(cents));
        let mut sku = line.sku.as_str();
        if sku.chars().count() > 36 {
            wrap(sku, &mut rows);
            sku = "";
        }
        rows.push(format!("{sku:<36}{:>10}{price:>15}{:>21}", line.quantity, price::show(amount)));
    }
    rows.push(String::new());
    rows.push(format!("{:<61}{:>21}", "Total", price::show(total)));
    Document::new(&title, &rows, bytes_min, seed)
}

fn wrap(text: &str, rows: &mut Vec<String>) {
    let characters: Vec<char> = text.chars().collect();
    rows.extend(characters.chunks(COLUMNS).map(|row| row.iter().collect::<String>()));
}

fn filename(order: &Order) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    format!("invoice-{}.pdf", order.reference.chars().map(clean).collect::<String>())
}
