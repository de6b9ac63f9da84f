//! `POST /checkout`: an order by a plain form, whose answer leads to the page of the order.

use std::sync::Arc;
use std::time::Duration;

use axum::Form;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::orders::{self, Line, Order};
use crate::page::language::Language;
use crate::serve::{Refusal, Shop, pause};

/// The fields of the form.
#[derive(Deserialize)]
pub(crate) struct Filled {
    reference: String,
    article: String,
    quantity: u32,
}

#[derive(Deserialize)]
pub(crate) struct Asked {
    slow: Option<u64>,
    lang: Option<Language>,
}

pub(crate) async fn create(
    State(shop): State<Arc<Shop>>,
    Query(asked): Query<Asked>,
    Form(filled): Form<Filled>,
) -> Result<Response, Refusal> {
    let Some((_, price)) = ARTICLES.iter().find(|(article, _)| *article == filled.article) else {
        return Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, "no such article".into()));
    };
    let line = Line { sku: filled.article, quantity: filled.quantity, price: (*price).to_owned() };
    let order = Order { reference: filled.reference, customer: String::new(), lines: vec![line] };
    let pause = pause(asked.slow, CHECKOUT_SLOW)?;
    let placed = orders::place(&shop, order, pause).await?;
    let language = asked.lang.map(|language| format!("?lang={}", language.tag()));
    // Relative, so that it holds wherever the shop lies; a page that can be loaded again.
    let page = format!("checkout/{}{}", placed.number, language.unwrap_or_default());
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, page)]).into_response())
}

/// What the form offers, and the price of one.
const ARTICLES: [(&str, &str); 3] = [("lamp", "49.90"), ("chair", "120.00"), ("mirror", "85.50")];
const CHECKOUT_SLOW: Duration = Duration::from_secs(6);
