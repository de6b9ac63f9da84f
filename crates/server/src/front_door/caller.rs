//! Who hands a request in at the front door, and to whom its task will belong.

use http::{HeaderMap, request};
use relais_api::codes;
use relais_core::{LaneKey, TenantName};
use relais_engine::Access;

use super::repeat::Repeat;
use super::table::decoded;
use crate::answer::problem::Refusal;
use crate::auth::{Auth, Caller, Scope};
use crate::config::{LaneSource, Route, RouteAccess};
use crate::proxy::source::Source;
use crate::request::accept::Language;
use crate::request::sent_by::SentBy;

/// Who hands a request in.
pub(super) struct Submitter {
    /// The API key, if there is one.
    pub(super) caller: Caller,
    /// Whose task it will be.
    pub(super) tenant: TenantName,
    /// Who may see it.
    pub(super) access: Access,
    /// What makes it the same as an earlier one.
    pub(super) repeat: Repeat,
    /// Where it found Relais, if its links lead there: see `Base::for_caller`.
    pub(super) base: Option<String>,
    /// The language of the page that it is shown instead of a document, if it is a person.
    pub(super) page: Option<Language>,
}

impl Submitter {
    /// Reads who calls from a request's head.
    ///
    /// # Errors
    /// For an API key that is unknown, or lacks the scope, or is missing where the route needs one;
    /// and for an idempotency key that is not well formed.
    pub(super) async fn of(
        auth: &Auth,
        route: &Route,
        sent_by: &SentBy,
        parts: &request::Parts,
    ) -> Result<Self, Refusal> {
        let headers = &parts.headers;
        let caller = auth.front_door_caller(headers).await?;
        if let Caller::Key(key) = &caller
            && !Scope::Submit.is_in(key.scopes)
        {
            return Err(Refusal::missing_scope(Scope::Submit));
        }
        let access = match &route.access {
            RouteAccess::Ticket => Access::Ticket,
            RouteAccess::Key if caller.has_key() => Access::Key,
            RouteAccess::Key => {
                let why = "tasks of this route are seen with an API key only: send one";
                return Err(Refusal::new(&codes::UNAUTHORIZED).because(why));
            }
            RouteAccess::Caller(field) => {
                let mac = auth.mac.of_field(headers, field);
                if mac.is_none() && !caller.has_key() {
                    // Nobody could ever see such a task.
                    let why =
                        format!("tasks of this route belong to whoever sends `{field}`: send it");
                    return Err(Refusal::new(&codes::UNAUTHORIZED).because(&why));
                }
                Access::Caller { field: field.clone(), mac }
            }
        };
        let tenant = caller.tenant(&route.tenant).clone();
        let repeat = Repeat::of(auth, route, &caller, &access, sent_by, parts).await?;
        let base = auth.base.for_caller(headers);
        let page = sent_by.fetch.page_for(&parts.method, headers);
        Ok(Self { caller, tenant, access, repeat, base, page })
    }
}

/// The lane of a task, from where its route says; a request without that has none.
///
/// # Errors
/// When what is there is no lane.
pub(super) fn lane(
    source: &LaneSource,
    headers: &HeaderMap,
    names: &[(String, String)],
    query: Option<&str>,
    client: &Source,
) -> Result<Option<LaneKey>, Refusal> {
    let (what, text) = match source {
        LaneSource::Const(lane) => return Ok(Some(lane.clone())),
        LaneSource::Ip => ("address", Some(client.client.to_string())),
        LaneSource::Header(field) => {
            let value = headers.get(field).map(|value| String::from_utf8_lossy(value.as_bytes()));
            (field.as_str(), value.map(|value| value.trim().to_owned()))
        }
        LaneSource::Path(name) => {
            let value = names.iter().find(|(other, _)| other == name);
            (name.as_str(), value.map(|(_, value)| value.clone()))
        }
        LaneSource::Query(name) => (name.as_str(), parameter(query.unwrap_or_default(), name)),
    };
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|why| {
        Refusal::new(&codes::INVALID_OPTION).because(format!("the lane, from `{what}`: {why}"))
    })
}

/// The first value of a query parameter.
fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = |text: &str| decoded(&text.replace('+', " ")).into_owned();
        (plain(key) == name).then(|| plain(value))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::config::ServerConfig;

    #[test]
    fn a_lane_comes_from_where_the_route_says() {
        let mut headers = HeaderMap::new();
        headers.insert("x-customer", HeaderValue::from_static(" c-17 "));
        headers.insert("x-long", HeaderValue::try_from("x".repeat(129)).expect("a field"));
        let peer = "192.0.2.1".parse().expect("an address");
        let client = Source::of(&ServerConfig::on_loopback(), peer, &headers);
        let names = [("id".to_owned(), "café".to_owned())];
        let query = Some("a=1&shop+id=x%20y&b");
        let taken = |source| {
            let lane = lane(&source, &headers, &names, query, &client);
            lane.map(|lane| lane.map(|lane| lane.to_string())).map_err(|r| r.code().code)
        };
        let name = str::to_owned;
        for (source, expected) in [
            (LaneSource::Header(name("x-customer")), Ok(Some("c-17"))),
            (LaneSource::Header(name("x-other")), Ok(None)),
            (LaneSource::Header(name("x-long")), Err("invalid-option")),
            (LaneSource::Path(name("id")), Ok(Some("café"))),
            (LaneSource::Query(name("shop id")), Ok(Some("x y"))),
            (LaneSource::Query(name("b")), Ok(None)),
            (LaneSource::Ip, Ok(Some("192.0.2.1"))),
            (LaneSource::Const("all".parse().expect("a lane")), Ok(Some("all"))),
        ] {
            assert_eq!(taken(source.clone()), expected.map(|o| o.map(name)), "{source:?}");
        }
    }
}
