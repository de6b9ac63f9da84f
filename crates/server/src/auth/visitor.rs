//! One call to `/v1`: with what credentials it comes, and what they reach.

mod offered;
mod standing;

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method, Version, header, request};
use relais_api::codes;
use relais_core::outcome::is_safe_method;
use relais_core::{Grants, Joined, Task, TaskId, TenantName, Timestamp};
use relais_engine::{Access, envelope};

use self::offered::Offered;
pub(crate) use self::standing::Standing;
use super::session::{self, Browser};
use super::{Auth, Caller, Scope};
use crate::answer::links::Viewer;
use crate::answer::problem::Refusal;
use crate::connection::{Client, Peer, Side};
use crate::request::accept::Language;
use crate::request::bodies::Holder;
use crate::request::fetch::Fetch;
use crate::request::sent_by::SentBy;

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

/// One call to `/v1` and its credentials.
pub(crate) struct Visitor {
    auth: Arc<Auth>,
    sent_by: SentBy,
    version: Version,
    browser: OnceLock<Browser>,
    /// Who calls, as far as an API key says so.
    pub(crate) caller: Caller,
    offered: Offered,
    /// Whether calls without credentials are taken.
    open: Result<(), Refusal>,
    /// Whether the call changes nothing.
    is_safe: bool,
    headers: HeaderMap,
    /// Where it found Relais, if its links lead there: see `Base::for_caller`.
    pub(crate) base: Option<String>,
    /// Whether that end still listens.
    pub(crate) client: Client,
}

/// By what a visitor may do something with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Right {
    /// Its key, its being on this machine, or its being the caller that the task is bound to.
    #[default]
    Own,
    /// A ticket that grants this.
    Ticket(Grants),
    /// The session of its browser, which grants this.
    Session(Grants),
    /// A ticket that such a session was given, which grants this: none of its renewals ends later.
    OfSession(Grants, Timestamp),
}

/// A task that the visitor may do something with.
pub(crate) struct Seen<'a> {
    pub(crate) task: Task,
    /// By what.
    pub(crate) right: Right,
    /// All that it may do of what tickets grant.
    pub(crate) grants: Grants,
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
        let by_field = |parts: &request::Parts| Ok(auth.offered_by_field(parts));
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
        ticket_of: impl Fn(&request::Parts) -> Result<Option<Offered>, Refusal>,
    ) -> Result<Self, Refusal> {
        let side = parts.extensions.get::<Side>().copied().unwrap_or(Side::Public);
        let caller = auth.api_caller(&parts.headers).await?;
        let client = parts.extensions.get::<Peer>().map(Peer::client).unwrap_or_default();
        let (sent_by, version) = (SentBy::take(&auth.config, parts), parts.version);
        let browser = OnceLock::new();
        let offered = match ticket_of(parts)? {
            Some(offered) => offered,
            None if caller.has_key() => Offered::Nothing,
            None => {
                let new = || auth.browser(&sent_by, version, &parts.headers);
                let is_meant = sent_by.fetch.is_same_origin();
                auth.offered_by_cookie(browser.get_or_init(new), is_meant, &parts.method).await?
            }
        };
        let open = match caller {
            Caller::Key(_) => Ok(()),
            Caller::Nobody => auth.is_open(side, &sent_by.fetch, parts).await?,
        };
        let base = match side {
            Side::Public => auth.base.for_caller(&parts.headers),
            // Links lead to the public listener.
            Side::Admin => None,
        };
        // Nothing behind a visitor looks at the fields again.
        let headers = std::mem::take(&mut parts.headers);
        let auth = auth.clone();
        let is_safe = is_safe_method(parts.method.as_str());
        Ok(Self {
            auth,
            sent_by,
            version,
            browser,
            caller,
            offered,
            open,
            is_safe,
            headers,
            base,
            client,
        })
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
                (Offered::Ticket(..) | Offered::Session(_), Err(_)) => {
                    Err(Refusal::not_granted(scope))
                }
                (Offered::Withheld, Err(_)) => Err(Refusal::cookie_alone()),
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

    /// What a browser says of the call.
    pub(crate) const fn fetch(&self) -> &Fetch {
        &self.sent_by.fetch
    }

    /// The language of the page that is shown instead of a document, if a person looks at the answer to the
    /// call, which has this method.
    pub(crate) fn page_for(&self, method: &Method) -> Option<Language> {
        self.fetch().page_for(method, &self.headers)
    }

    /// The browser, if it is one: its session may be changed whatever else came along.
    pub(crate) fn browser(&self) -> &Browser {
        let new = || self.auth.browser(&self.sent_by, self.version, &self.headers);
        self.browser.get_or_init(new)
    }

    /// The fields of the request.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whose share of a queue the tasks take that the visitor hands in.
    pub(crate) fn share(&self) -> Option<relais_core::Source> {
        self.sent_by.source.share(&self.auth.mac, &self.caller)
    }

    /// On whose account the bytes are that it sends.
    pub(crate) fn holder(&self) -> Holder {
        Holder::of(&self.caller, &self.sent_by.source)
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
                None if self.is_withheld(&sight.access) => Refusal::cookie_alone().about(id),
                None => self.missing(id),
            });
        }
        let (ticket, ends) = match &self.offered {
            Offered::Ticket(ticket, text) if ticket.task == id => {
                (Some(text.as_str()), Some(ticket.expires_at))
            }
            Offered::Session(session) => (None, session.task(id).map(|joined| joined.expires_at)),
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
        let right = match (&self.offered, grants) {
            _ if has_right(action) || !matches!(sight.access, Access::Ticket) => Right::Own,
            (Offered::Session(_), Some(grants)) => Right::Session(grants),
            (Offered::Ticket(ticket, _), Some(grants)) if ticket.is_of_session => {
                Right::OfSession(grants, ticket.expires_at)
            }
            (_, grants) => grants.map_or(Right::Own, Right::Ticket),
        };
        let (read, cancel, retry) = (may(Action::Read), may(Action::Cancel), may(Action::Retry));
        let grants = Grants { read, cancel, retry };
        Ok(Seen { task, right, grants, viewer, until })
    }

    /// The right to see a task, as a session may keep it: that of the ticket, or what the ticket of
    /// the task's 202 gave.
    ///
    /// # Errors
    /// When the visitor does not see the task, or nobody follows it by ticket.
    pub(crate) async fn right_to(&self, id: TaskId) -> Result<Joined, Refusal> {
        let seen = self.task(id, Action::Read).await?;
        let usual = session::right_to(&seen.task)?.ok_or_else(|| {
            let why = "the task is not followed by ticket, but by a key or by being its caller";
            Refusal::new(&codes::FORBIDDEN).because(why).about(id)
        })?;
        Ok(match &self.offered {
            Offered::Ticket(ticket, _) if ticket.task == id => {
                Joined::new(id, ticket.grants, ticket.expires_at)
            }
            Offered::Session(session) => session.task(id).cloned().unwrap_or(usual),
            _ => usual,
        })
    }

    /// Whether a ticket came along with the call, other than by a session.
    pub(crate) fn has_ticket(&self) -> bool {
        matches!(self.offered, Offered::Ticket(..))
    }

    /// Whether a page of our own origin made a call about the browser's session.
    ///
    /// # Errors
    /// When it did not, or nobody knows.
    pub(crate) fn is_meant(&self) -> Result<(), Refusal> {
        self.fetch().is_same_origin().then_some(()).ok_or_else(Refusal::cookie_alone)
    }

    /// The right to a task by which a browser is here, if it is its session's.
    pub(crate) fn joined(&self, id: TaskId) -> Option<&Joined> {
        match &self.offered {
            Offered::Session(session) => session.task(id),
            Offered::Nothing | Offered::Ticket(..) | Offered::Bad(_) | Offered::Withheld => None,
        }
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

    /// What a ticket, a session, or being the caller that the task is bound to, grants; `None` without
    /// any of them.
    fn grants(&self, task: &Task, access: &Access, grants: Grants) -> Option<Grants> {
        let given = match &self.offered {
            Offered::Ticket(ticket, _) => ticket.grants_on(task, access),
            Offered::Session(session) if matches!(access, Access::Ticket) => {
                session.task(task.spec.id).map(|joined| joined.grants)
            }
            Offered::Session(_) | Offered::Nothing | Offered::Bad(_) | Offered::Withheld => None,
        };
        match access {
            _ if given.is_some() => given,
            _ if self.is_withheld(access) => None,
            Access::Caller { field, mac: Some(mac) } => {
                let sent = self.auth.mac.of_field(&self.headers, field)?;
                aws_lc_rs::constant_time::verify_slices_are_equal(&sent, mac).ok()?;
                Some(grants)
            }
            Access::Caller { mac: None, .. } | Access::Ticket | Access::Key => None,
        }
    }

    /// Whether a task is bound to a cookie, the upstream's, which counts as little as ours: the call
    /// changes something, and no page of our own origin made it.
    fn is_withheld(&self, access: &Access) -> bool {
        let by_cookie =
            matches!(access, Access::Caller { field, .. } if header::COOKIE == *field.as_str());
        by_cookie && !self.is_safe && !self.fetch().is_same_origin()
    }

    /// What somebody is told about a task that is not there for them.
    fn missing(&self, id: TaskId) -> Refusal {
        match &self.offered {
            Offered::Ticket(ticket, _) if ticket.task == id => {
                Refusal::new(&codes::TASK_GONE).about(id)
            }
            Offered::Session(session) if session.task(id).is_some() => {
                Refusal::new(&codes::TASK_GONE).about(id)
            }
            Offered::Bad(bad) if !self.caller.has_key() => (*bad).into(),
            Offered::Ticket(..) | Offered::Session(_) | Offered::Bad(_) => {
                Refusal::new(&codes::TASK_NOT_FOUND).about(id)
            }
            Offered::Withheld => Refusal::cookie_alone().about(id),
            Offered::Nothing => match &self.open {
                Ok(()) => Refusal::new(&codes::TASK_NOT_FOUND).about(id),
                Err(refusal) => refusal.clone(),
            },
        }
    }
}
