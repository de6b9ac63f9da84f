//! What came along with a call beside an API key, and what that stands for.

use http::{Method, Uri, request};
use relais_api::codes;
use relais_core::outcome::is_safe_method;
use relais_core::{Purpose, Session, Task, TaskId, TenantName, Timestamp};
use relais_engine::envelope;

use super::Action;
use crate::answer::problem::Refusal;
use crate::auth::session::Browser;
use crate::auth::ticket::{BadTicket, Ticket, verify};
use crate::auth::{Auth, KEY_PREFIX, Scope, bearer, local};
use crate::connection::Side;
use crate::request::fetch::Fetch;
use crate::request::params;

/// What came along beside an API key.
#[derive(Debug)]
pub(super) enum Offered {
    Nothing,
    /// A ticket that is valid; its text rides on in links.
    Ticket(Ticket, String),
    Bad(BadTicket),
    /// The session of the browser. Links carry nothing of it: the cookie comes by itself.
    Session(Session),
    /// The cookie of a session, with a call that changes something and was not made by a page of
    /// our own origin: it counts for nothing, because the browser sends it for whatever page.
    Withheld,
}

impl Auth {
    /// The task that one of several tickets of a call lets its bearer read, and until when.
    ///
    /// # Errors
    /// When the ticket is not valid or does not grant it, or the task is gone.
    pub(crate) async fn read_by_ticket(&self, token: &str) -> Result<(Task, Timestamp), Refusal> {
        let ticket = verify(&self.signing.keys(), token, self.engine.now())?;
        let gone = || Refusal::new(&codes::TASK_GONE).about(ticket.task);
        let task = self.client_task(ticket.task).await?.ok_or_else(gone)?;
        let sight = envelope::context_of(&task)?.sight;
        let grants = ticket.grants_on(&task, &sight.access).ok_or_else(gone)?;
        if !Action::Read.is_granted(grants) {
            return Err(Refusal::not_granted(Scope::Read).about(ticket.task));
        }
        Ok((task, ticket.expires_at))
    }

    /// A task that clients may know of.
    pub(super) async fn client_task(&self, id: TaskId) -> Result<Option<Task>, Refusal> {
        let task = self.engine.task(id).await?;
        Ok(task.filter(|task| task.spec.purpose == Purpose::Client))
    }

    /// Whether whoever sends a request to the front door without credentials could see the tasks of
    /// this tenant that have a ticket, all the same: under `/v1`, being on this machine.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn sees_all_of(
        &self,
        tenant: &TenantName,
        fetch: &Fetch,
        parts: &request::Parts,
    ) -> Result<bool, Refusal> {
        let is_default = *tenant == self.config.default_tenant;
        Ok(is_default && self.is_open(Side::Public, fetch, parts).await?.is_ok())
    }

    /// Whether calls without credentials are taken here, and if not, why.
    pub(super) async fn is_open(
        &self,
        side: Side,
        fetch: &Fetch,
        parts: &request::Parts,
    ) -> Result<Result<(), Refusal>, Refusal> {
        let config = &self.config;
        if self.keys.exist(&self.engine).await? {
            return Ok(Err(Refusal::new(&codes::UNAUTHORIZED)));
        }
        let listen = match side {
            Side::Public => config.listen,
            Side::Admin => config.admin_listen,
        };
        if config.is_insecure {
            return Ok(local::check(&parts.uri, &parts.headers, fetch, true));
        }
        if !listen.ip().is_loopback() {
            return Ok(Err(Refusal::new(&codes::UNAUTHORIZED)));
        }
        if side == Side::Public && config.is_public() {
            let why = "with a public URL and without API keys, calls without credentials are taken \
                       on `admin_listen` only";
            return Ok(Err(Refusal::new(&codes::UNAUTHORIZED).because(why)));
        }
        let direct = local::check_direct(parts.version, &parts.headers);
        Ok(direct.and_then(|()| local::check(&parts.uri, &parts.headers, fetch, false)))
    }

    /// The ticket of a request: of several places the first that has one.
    pub(super) fn offered(&self, parts: &request::Parts) -> Result<Option<Offered>, Refusal> {
        if let Some(offered) = self.offered_by_field(parts) {
            return Ok(Some(offered));
        }
        let token = params::first(&parts.uri, "ticket")?;
        Ok(token.map(|token| self.judge(&token)))
    }

    pub(super) fn offered_by_field(&self, parts: &request::Parts) -> Option<Offered> {
        let token = bearer(&parts.headers)?;
        (!token.starts_with(KEY_PREFIX)).then(|| self.judge(token))
    }

    /// What the cookie of a browser stands for. This is the one place that decides whether it
    /// counts: a call that changes something must come from a page of our own origin (`is_meant`).
    pub(super) async fn offered_by_cookie(
        &self,
        browser: &Browser,
        is_meant: bool,
        method: &Method,
    ) -> Result<Offered, Refusal> {
        if browser.has_cookie() && !is_safe_method(method.as_str()) && !is_meant {
            return Ok(Offered::Withheld);
        }
        let session = self.session(browser).await?;
        Ok(session.map_or(Offered::Nothing, Offered::Session))
    }

    /// Whether a query has a ticket of ours, ended or not.
    pub(crate) fn has_ticket(&self, uri: &Uri) -> bool {
        let (keys, now) = (self.signing.keys(), self.engine.now());
        let is_ours = |token: &String| verify(&keys, token, now) != Err(BadTicket::Unknown);
        // A query that cannot be read is the upstream's: Relais wrote none like it.
        params::every(uri, "ticket").is_ok_and(|tokens| tokens.iter().any(is_ours))
    }

    /// What a token is.
    fn judge(&self, token: &str) -> Offered {
        match verify(&self.signing.keys(), token, self.engine.now()) {
            Ok(ticket) => Offered::Ticket(ticket, token.to_owned()),
            Err(bad) => Offered::Bad(bad),
        }
    }
}
