//! One call to `/v1`: with what credentials it comes, and what they reach.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, Uri, header, request};
use relais_api::codes;
use relais_core::{Grants, Purpose, Task, TaskId, TenantName, Timestamp};
use relais_engine::{Access, envelope};

use super::ticket::{BadTicket, Ticket, verify};
use super::{Auth, Caller, Scope, bearer, local};
use crate::answer::links::Viewer;
use crate::answer::problem::Refusal;
use crate::connection::{Client, Peer, Side};
use crate::proxy::source::Source;
use crate::request::bodies::Holder;
use crate::request::params;

/// The cookie a ticket may come in. Never reaches an upstream.
pub(crate) const COOKIE: &str = "__Host-relais";

/// What is to be done with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// See it, its events and its result.
    Read,
    /// Call it off.
    Cancel,
    /// Run it again.
    Retry,
    Erase,
}

impl Action {
    fn scope(self) -> Scope {
        match self {
            Self::Read => Scope::Read,
            Self::Cancel | Self::Retry | Self::Erase => Scope::Submit,
        }
    }

    fn is_granted(self, grants: Grants) -> bool {
        match self {
            Self::Read => grants.read,
            Self::Cancel => grants.cancel,
            Self::Retry => grants.retry,
            Self::Erase => false,
        }
    }
}

/// A token that came as a ticket.
#[derive(Debug)]
enum Offered {
    Nothing,
    /// It is valid; the text is kept if links are to carry it on.
    Ticket(Ticket, Option<String>),
    Bad(BadTicket),
}

/// One call to `/v1` and its credentials.
pub(crate) struct Visitor {
    auth: Arc<Auth>,
    /// Who calls, as far as an API key says so.
    pub(crate) caller: Caller,
    offered: Offered,
    /// Whether calls without credentials are taken.
    open: Result<(), Refusal>,
    headers: HeaderMap,
    /// Where it found Relais, if its links lead there: see `Base::for_caller`.
    pub(crate) base: Option<String>,
    /// The address at the other end of the connection.
    peer: Option<IpAddr>,
    /// Whether that end still listens.
    pub(crate) client: Client,
}

/// A task that the visitor may do something with.
pub(crate) struct Seen<'a> {
    pub(crate) task: Task,
    /// For whom its links are made.
    pub(crate) viewer: Viewer<'a>,
    /// When the right to see it ends.
    pub(crate) until: Option<Timestamp>,
}

/// A visitor whose tickets say which tasks are wanted: the call itself reads those of its query.
pub(crate) struct Chooser(pub(crate) Visitor);

impl Chooser {
    /// Reads who calls from the head of a request.
    ///
    /// # Errors
    /// When a key is given that is not known, or the store cannot be read.
    pub(crate) async fn of(auth: &Arc<Auth>, parts: &mut request::Parts) -> Result<Self, Refusal> {
        let by_field =
            |parts: &request::Parts| Ok(auth.offered_by_field(parts).unwrap_or(Offered::Nothing));
        Visitor::with(auth, parts, by_field).await.map(Self)
    }
}

impl Visitor {
    /// Reads who calls from the head of a request, whose fields it takes.
    ///
    /// # Errors
    /// When a key is given that is not known, the ticket is no text, or the store cannot be read.
    pub(crate) async fn of(auth: &Arc<Auth>, parts: &mut request::Parts) -> Result<Self, Refusal> {
        Self::with(auth, parts, |parts| auth.offered(parts)).await
    }

    async fn with(
        auth: &Arc<Auth>,
        parts: &mut request::Parts,
        offered: impl Fn(&request::Parts) -> Result<Offered, Refusal>,
    ) -> Result<Self, Refusal> {
        let side = parts.extensions.get::<Side>().copied().unwrap_or(Side::Public);
        let caller = auth.api_caller(&parts.headers).await?;
        let offered = offered(parts)?;
        let open = match caller {
            Caller::Key(_) => Ok(()),
            Caller::Nobody => auth.is_open(side, parts).await?,
        };
        let peer = parts.extensions.get::<Peer>();
        let client = peer.map(Peer::client).unwrap_or_default();
        let peer = peer.map(|peer| peer.address.ip());
        let base = match side {
            Side::Public => auth.base.for_caller(&parts.headers),
            // Links lead to the public listener.
            Side::Admin => None,
        };
        // Nothing behind a visitor looks at the fields again.
        let headers = std::mem::take(&mut parts.headers);
        Ok(Self { auth: auth.clone(), caller, offered, open, headers, base, peer, client })
    }

    /// The tenant for which the visitor may do what needs `scope`.
    ///
    /// # Errors
    /// When it may not.
    pub(crate) fn tenant(&self, scope: Scope) -> Result<TenantName, Refusal> {
        match &self.caller {
            Caller::Key(key) if scope.is_in(key.scopes) => Ok(key.tenant.clone()),
            Caller::Key(_) => Err(Refusal::missing_scope(scope)),
            Caller::Nobody => match (&self.offered, &self.open) {
                (Offered::Bad(bad), _) => Err((*bad).into()),
                (_, Ok(())) => Ok(self.auth.config.default_tenant.clone()),
                (Offered::Ticket(..), Err(_)) => Err(Refusal::not_granted(scope)),
                (Offered::Nothing, Err(refusal)) => Err(refusal.clone()),
            },
        }
    }

    /// Whether the call comes without credentials of ours and is taken all the same.
    pub(crate) fn is_anonymous(&self) -> bool {
        !self.caller.has_key() && self.open.is_ok()
    }

    /// Whether a call without credentials is taken here, and if not, why.
    pub(crate) fn open(&self) -> &Result<(), Refusal> {
        &self.open
    }

    /// The fields of the request.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whose share of a queue the tasks take that the visitor hands in.
    pub(crate) fn share(&self) -> Option<relais_core::Source> {
        let Auth { config, mac, .. } = &*self.auth;
        Source::share_of(config, mac, &self.caller, self.peer?, &self.headers)
    }

    /// On whose account the bytes are that it sends.
    pub(crate) fn holder(&self) -> Holder {
        let peer = self.peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Holder::of(&self.auth.config, &self.caller, peer, &self.headers)
    }

    /// The task with this id, if the visitor may do `action` with it.
    ///
    /// # Errors
    /// A task that is not the visitor's is not found; what it may not do with its own is forbidden.
    pub(crate) async fn task(&self, id: TaskId, action: Action) -> Result<Seen<'_>, Refusal> {
        let task = self.auth.client_task(id).await?.ok_or_else(|| self.missing(id))?;
        let sight = envelope::context_of(&task)?.sight;
        let grants = self.grants(&task, &sight.access, sight.grants);
        let reaches = self.reaches(&task, &sight.access);
        // By its key, or by being on this machine: no ticket ends that.
        let has_right = |action: Action| {
            reaches
                && match &self.caller {
                    Caller::Key(key) => action.scope().is_in(key.scopes),
                    Caller::Nobody => true,
                }
        };
        let may = |action: Action| {
            has_right(action) || grants.is_some_and(|grants| action.is_granted(grants))
        };
        if !may(action) {
            return Err(match grants {
                _ if reaches => Refusal::missing_scope(action.scope()).about(id),
                Some(_) => Refusal::not_granted(action.scope()).about(id),
                None => self.missing(id),
            });
        }
        let (ticket, ends) = match &self.offered {
            Offered::Ticket(ticket, text) if ticket.task == id => {
                (text.as_deref(), Some(ticket.expires_at))
            }
            _ => (None, None),
        };
        let until = ends.filter(|_| !has_right(action));
        // Links with a ticket in them are for whoever they are passed on to.
        let ride = grants.filter(|_| ticket.is_some());
        let links = |action: Action| match ride {
            Some(grants) => action.is_granted(grants),
            None => may(action),
        };
        let (may_cancel, may_retry) = (links(Action::Cancel), links(Action::Retry));
        let viewer = Viewer { base: self.base.as_deref(), ticket, may_cancel, may_retry };
        Ok(Seen { task, viewer, until })
    }

    /// Whether the task is one of those that the visitor's key, or its
    /// being on this machine, reach.
    pub(crate) fn reaches(&self, task: &Task, access: &Access) -> bool {
        match &self.caller {
            Caller::Key(key) => key.tenant == task.spec.tenant,
            Caller::Nobody => {
                self.open.is_ok()
                    && !matches!(self.offered, Offered::Bad(_))
                    && task.spec.tenant == self.auth.config.default_tenant
                    && matches!(access, Access::Ticket)
            }
        }
    }

    /// What a ticket, or being the caller that the task is bound to, grants; `None` without either.
    fn grants(&self, task: &Task, access: &Access, grants: Grants) -> Option<Grants> {
        if let Offered::Ticket(ticket, _) = &self.offered
            && let Some(grants) = ticket.grants_on(task, access)
        {
            return Some(grants);
        }
        match access {
            Access::Caller { field, mac: Some(mac) } => {
                let sent = self.auth.mac.of_field(&self.headers, field)?;
                aws_lc_rs::constant_time::verify_slices_are_equal(&sent, mac).ok()?;
                Some(grants)
            }
            Access::Caller { mac: None, .. } | Access::Ticket | Access::Key => None,
        }
    }

    /// What somebody is told about a task that is not there for them.
    fn missing(&self, id: TaskId) -> Refusal {
        match &self.offered {
            Offered::Ticket(ticket, _) if ticket.task == id => {
                Refusal::new(&codes::TASK_GONE).about(id)
            }
            Offered::Bad(bad) if !self.caller.has_key() => (*bad).into(),
            Offered::Ticket(..) | Offered::Bad(_) => Refusal::new(&codes::TASK_NOT_FOUND).about(id),
            Offered::Nothing => match &self.open {
                Ok(()) => Refusal::new(&codes::TASK_NOT_FOUND).about(id),
                Err(refusal) => refusal.clone(),
            },
        }
    }
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
    async fn client_task(&self, id: TaskId) -> Result<Option<Task>, Refusal> {
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
        parts: &request::Parts,
    ) -> Result<bool, Refusal> {
        let is_default = *tenant == self.config.default_tenant;
        Ok(is_default && self.is_open(Side::Public, parts).await?.is_ok())
    }

    /// Whether calls without credentials are taken here, and if not, why.
    async fn is_open(
        &self,
        side: Side,
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
            return Ok(local::check(&parts.uri, &parts.headers, true));
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
        Ok(direct.and_then(|()| local::check(&parts.uri, &parts.headers, false)))
    }

    /// The ticket of a request: of several places the first that has one.
    fn offered(&self, parts: &request::Parts) -> Result<Offered, Refusal> {
        if let Some(offered) = self.offered_by_field(parts) {
            return Ok(offered);
        }
        if let Some(token) = params::first(&parts.uri, "ticket")? {
            return Ok(self.judge(&token, true));
        }
        let cookie = cookie(&parts.headers);
        Ok(cookie.map_or(Offered::Nothing, |token| self.judge(token, false)))
    }

    fn offered_by_field(&self, parts: &request::Parts) -> Option<Offered> {
        let token = bearer(&parts.headers)?;
        (!token.starts_with(super::KEY_PREFIX)).then(|| self.judge(token, true))
    }

    /// Whether a query has a ticket of ours, ended or not.
    pub(crate) fn has_ticket(&self, uri: &Uri) -> bool {
        let (keys, now) = (self.signing.keys(), self.engine.now());
        let is_ours = |token: &String| verify(&keys, token, now) != Err(BadTicket::Unknown);
        // A query that cannot be read is the upstream's: Relais wrote none like it.
        params::every(uri, "ticket").is_ok_and(|tokens| tokens.iter().any(is_ours))
    }

    /// What a token is. `rides` says whether links are to carry it on: not one of a cookie, which a
    /// page may be kept from reading.
    fn judge(&self, token: &str, rides: bool) -> Offered {
        match verify(&self.signing.keys(), token, self.engine.now()) {
            Ok(ticket) => Offered::Ticket(ticket, rides.then(|| token.to_owned())),
            Err(bad) => Offered::Bad(bad),
        }
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';'));
    cookies.find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}
