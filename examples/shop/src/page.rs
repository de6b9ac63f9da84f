//! The shop's pages for people: the home page with its import, a page to go to meanwhile, and an order.
//!
//! HTML, style and scripts lie in `page/`, one language a file in `page/words/`. Scripts use the
//! interface of whatever stands in front of the shop; nothing on this side knows of it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::orders::Placed;
use crate::price;
use crate::serve::{Refusal, Shop};

pub(crate) mod assets;
pub(crate) mod language;
mod template;

use language::Language;
use template::{escaped, fill, ways};

/// The pages in each language; only that of an order has gaps left.
#[derive(Debug)]
pub(crate) struct Pages {
    home: [String; 2],
    elsewhere: [String; 2],
    order: [String; 2],
}

impl Pages {
    /// Writes them.
    pub(crate) fn new() -> Self {
        let home = include_str!("../page/home.html").replace("{{ways}}", &ways());
        let framed = |main: &str| {
            let page = include_str!("../page/frame.html").replace("{{main}}", main);
            Language::ALL.map(|language| language.spoken(&page))
        };
        let at_top = |pages: [String; 2]| pages.map(|page| page.replace("{{base}}", ""));
        Self {
            home: at_top(framed(&home)),
            elsewhere: at_top(framed(include_str!("../page/elsewhere.html"))),
            order: framed(include_str!("../page/order.html")),
        }
    }
}

/// The language that the address names, as the links between the pages do.
#[derive(Deserialize)]
pub(crate) struct Asked {
    lang: Option<Language>,
}

pub(crate) async fn home(
    State(shop): State<Arc<Shop>>,
    Query(asked): Query<Asked>,
    head: HeaderMap,
) -> Response {
    let language = Language::of(asked.lang, &head);
    let mut response = html(language, shop.pages.home[language as usize].clone());
    if let Some(cookie) = new_customer(&head) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

pub(crate) async fn elsewhere(
    State(shop): State<Arc<Shop>>,
    Query(asked): Query<Asked>,
    head: HeaderMap,
) -> Response {
    let language = Language::of(asked.lang, &head);
    html(language, shop.pages.elsewhere[language as usize].clone())
}

/// The order that a form made: an address of its own, which can be loaded as often as one likes.
pub(crate) async fn order(
    State(shop): State<Arc<Shop>>,
    Path(number): Path<String>,
    Query(asked): Query<Asked>,
    head: HeaderMap,
) -> Result<Response, Refusal> {
    let placed = shop.orders.find(&number);
    let placed = placed.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, "no such order".into()))?;
    let language = Language::of(asked.lang, &head);
    let page = fill(&shop.pages.order[language as usize], |name| of_order(name, &placed, language));
    Ok(html(language, page))
}

fn of_order(name: &str, placed: &Placed, language: Language) -> Option<String> {
    let line = placed.order.lines.first();
    let said = match name {
        // This page lies one folder deeper.
        "base" => "../".to_owned(),
        "order.number" => placed.number.clone(),
        "order.reference" => placed.order.reference.clone(),
        "order.article" => {
            let sku = &line?.sku;
            language.word(&format!("article.{sku}")).unwrap_or_else(|| sku.clone())
        }
        "order.quantity" => line.map(|line| line.quantity.to_string())?,
        "order.total" => {
            let cents = |line: &crate::orders::Line| {
                Some(u128::from(price::parse(&line.price)?) * u128::from(line.quantity))
            };
            language.decimal(&price::show(placed.order.lines.iter().filter_map(cents).sum()))
        }
        _ => return None,
    };
    Some(escaped(&said))
}

/// A cookie that tells this browser from others, unless it has one: two clicks of one customer
/// are known to be one person's.
fn new_customer(head: &HeaderMap) -> Option<header::HeaderValue> {
    let mut cookies = head.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    if cookies.any(|line| line.split(';').any(|cookie| cookie.trim().starts_with(COOKIE))) {
        return None;
    }
    // The standard library's random keys are enough for a shop that has nobody to protect.
    let number = RandomState::new().hash_one(0);
    let cookie = format!("{COOKIE}c-{number:016x}; Path=/; HttpOnly; SameSite=Lax");
    header::HeaderValue::try_from(cookie).ok()
}

fn html(language: Language, page: String) -> Response {
    let fields = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_LANGUAGE, language.tag()),
        (header::VARY, "accept-language"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (fields, page).into_response()
}

const COOKIE: &str = "customer=";
/// Nothing comes from elsewhere, and nothing that stands in the page runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'self'";
