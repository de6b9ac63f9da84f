//! Sessions of browsers: the id that a cookie carries, and what is done with the session that it names.
//!
//! The cookie is a `token` with the prefix `rs_` that says the id: 16 random bytes.
//!
//! The store knows the session by the HMAC of the token, whole, and not its id: whoever reads the store
//! cannot tell the cookie. What we did not sign is refused before the store is asked, and never adopted. An
//! older key goes on naming the sessions that began under it; with the key they end.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Version};
use relais_core::{
    Destination, Joined, Navigation, Session, SessionOp, SessionReply, Task, TaskId, Timestamp,
};
use relais_engine::{Access, envelope};

use super::cookie::Jar;
use super::signing::{Purpose, SigningKeys};
use super::token::{Form, Token};
use super::{Auth, ticket};
use crate::answer::problem::Refusal;
use crate::request::fetch::Fetch;
use crate::request::sent_by::SentBy;

const FORM: Form<16> = Form { prefix: "rs_", purpose: Purpose::Session };

/// The name of a session: the cookie's text, and what the store calls it.
#[derive(Clone, PartialEq, Eq)]
struct SessionId {
    text: String,
    mac: [u8; 32],
}

impl std::fmt::Debug for SessionId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The text is a secret.
        out.debug_struct("SessionId").finish_non_exhaustive()
    }
}

impl SessionId {
    /// That of a new session, with 128 bits that nobody can guess.
    fn new(keys: &SigningKeys, bits: u128) -> Self {
        let Token { text, mac } = FORM.write(keys, &bits.to_be_bytes());
        Self { text, mac }
    }

    /// What a cookie says, if we wrote it.
    fn read(keys: &SigningKeys, text: &str) -> Option<Self> {
        let (_, mac) = FORM.read(keys, text)?;
        Some(Self { text: text.to_owned(), mac })
    }
}

/// A browser, as far as one of its requests tells.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    /// How it keeps our cookie, if it would.
    jar: Option<Jar>,
    /// The session that its cookie names, which may have ended.
    id: Option<SessionId>,
    /// The network of whose share a session takes that it begins.
    network: Option<IpAddr>,
    /// What it says of the request. Within another page it begins no session.
    fetch: Fetch,
}

impl Browser {
    /// Whether it would keep our cookie.
    #[must_use]
    pub(crate) fn keeps_cookies(&self) -> bool {
        self.jar.is_some() && !self.fetch.is_framed()
    }

    /// Whether it may be led to a page that it follows by our cookie alone. By `https` each browser says
    /// what it does: what only accepts HTML there may be a program, which drops the cookie.
    #[must_use]
    pub(crate) fn may_be_led(&self) -> bool {
        self.keeps_cookies() && (self.jar == Some(Jar::Plain) || self.fetch.says_itself())
    }

    /// Whether it has a cookie that we wrote.
    #[must_use]
    pub(crate) const fn has_cookie(&self) -> bool {
        self.id.is_some()
    }
}

/// The right to a task that its tickets give, as far as a browser may have it by a session; `None` for
/// one that is not followed by ticket.
///
/// # Errors
/// When the task's context cannot be read.
pub(crate) fn right_to(task: &Task) -> Result<Option<Joined>, Refusal> {
    let sight = envelope::context_of(task)?.sight;
    let is_by_ticket = matches!(sight.access, Access::Ticket);
    let right = Joined::new(task.spec.id, sight.grants, ticket::end_of(task));
    Ok(is_by_ticket.then_some(right))
}

impl Auth {
    /// The browser that sent these fields. Reads nothing from the store.
    #[must_use]
    pub(crate) fn browser(
        &self,
        sent_by: &SentBy,
        version: Version,
        headers: &HeaderMap,
    ) -> Browser {
        let jar = Jar::of(&self.config, &sent_by.source, version, headers);
        let text = jar.and_then(|jar| jar.read(headers));
        Browser {
            jar,
            id: text.and_then(|text| SessionId::read(&self.signing.keys(), text)),
            network: sent_by.source.bounded_network(),
            fetch: sent_by.fetch,
        }
    }

    /// Its session as it is now, by a cookie that has come back.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn session(&self, browser: &Browser) -> Result<Option<Session>, Refusal> {
        let Some(id) = &browser.id else { return Ok(None) };
        let session = self.engine.session(id.mac).await?;
        if session.as_ref().is_some_and(|session| !session.is_seen) {
            // Who only reads is not kept from it by a store that cannot be written: the next time tells it.
            let _ = self.change(browser, SessionOp::See).await;
        }
        Ok(session)
    }

    /// Whether a browser would keep a session, and follows the task by none yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn may_join(&self, browser: &Browser, id: TaskId) -> Result<bool, Refusal> {
        if !browser.keeps_cookies() {
            return Ok(false);
        }
        Ok(self.session(browser).await?.is_none_or(|session| session.task(id).is_none()))
    }

    /// Lets a browser follow a task by its session; one that has none, or whose session has ended, is
    /// given a new one, with an id that nobody knew before. Answers the `Set-Cookie`, or `None`
    /// where the browser would not keep it, in a frame, and where a foreign page would push out a task
    /// that is not over.
    ///
    /// # Errors
    /// When there are too many sessions, or the store cannot be written.
    pub(crate) async fn join(
        &self,
        browser: &Browser,
        joined: Joined,
    ) -> Result<Option<HeaderValue>, Refusal> {
        let Some(jar) = browser.jar.filter(|_| !browser.fetch.is_framed()) else { return Ok(None) };
        let cookie = |id: &SessionId, ends_at: Timestamp| {
            Ok(Some(jar.keeps(&id.text, ends_at.since(self.engine.now()))))
        };
        if let Some(id) = &browser.id {
            let is_foreign = browser.fetch.is_led_by_foreign_page();
            let join = if is_foreign { SessionOp::JoinBeside } else { SessionOp::Join };
            match self.engine.change_session(id.mac, join(joined.clone()), None).await? {
                SessionReply::Joined { ends_at } => return cookie(id, ends_at),
                SessionReply::Full => return Ok(None),
                // It has ended.
                _ => {}
            }
        }
        let id = SessionId::new(&self.signing.keys(), self.engine.chance().bits());
        let source = browser.network.map(|network| self.mac.of_network(network));
        match self.engine.change_session(id.mac, SessionOp::Begin(joined), source).await? {
            SessionReply::Joined { ends_at } => cookie(&id, ends_at),
            _ => Ok(None),
        }
    }

    /// Whether the page of a task, which shows its end, is the one that goes on to its answer there.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(crate) async fn goes_on(
        &self,
        browser: &Browser,
        task: TaskId,
        to: Destination,
    ) -> Result<bool, Refusal> {
        let op = SessionOp::GoOn { task, to };
        Ok(self.change(browser, op).await? == SessionReply::Done)
    }

    /// Whether the result of a task is opened by the page that has gone on to it: once, and in time.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(crate) async fn opens_result(
        &self,
        browser: &Browser,
        task: TaskId,
    ) -> Result<bool, Refusal> {
        Ok(self.change(browser, SessionOp::OpenResult(task)).await? == SessionReply::Done)
    }

    /// Which task's page this navigation brings back, this once. Most bring back none: they cost a read,
    /// and no turn of the writer.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub(crate) async fn comes_back(
        &self,
        browser: &Browser,
        navigation: Navigation,
    ) -> Result<SessionReply, Refusal> {
        let (session, now) = (self.session(browser).await?, self.engine.now());
        match session.map(|session| session.awaits(navigation, now)) {
            None | Some(SessionReply::Nothing) => Ok(SessionReply::Nothing),
            Some(_) => self.change(browser, SessionOp::UseMark(navigation)).await,
        }
    }

    /// The browser is no longer to follow a task.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(crate) async fn forget(&self, browser: &Browser, task: TaskId) -> Result<(), Refusal> {
        self.change(browser, SessionOp::Forget(task)).await.map(drop)
    }

    /// Its session ends. Answers the `Set-Cookie` that takes the cookie back.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub(crate) async fn forget_all(
        &self,
        browser: &Browser,
    ) -> Result<Option<HeaderValue>, Refusal> {
        self.change(browser, SessionOp::ForgetAll).await?;
        Ok(browser.jar.map(Jar::forgets))
    }

    async fn change(&self, browser: &Browser, op: SessionOp) -> Result<SessionReply, Refusal> {
        match &browser.id {
            Some(id) => Ok(self.engine.change_session(id.mac, op, None).await?),
            None => Ok(SessionReply::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn keys() -> SigningKeys {
        SigningKeys::of(&[(7, b"the newest key"), (6, b"an older one")])
    }

    #[test]
    fn a_cookie_of_ours_is_read_back_and_the_store_cannot_tell_it() {
        let id = SessionId::new(&keys(), 42);
        assert_eq!(SessionId::read(&keys(), &id.text), Some(id.clone()));
        assert_ne!(SessionId::new(&keys(), 43).mac, id.mac);
        let raw = URL_SAFE_NO_PAD.decode(&id.text[3..]).unwrap();
        assert!(!id.mac.windows(16).any(|part| part == &raw[5..21]), "the id is not in it");
        assert!(!format!("{id:?}").contains(&id.text[5..]));
    }

    #[test]
    fn no_bit_of_a_cookie_can_be_changed_and_nothing_else_is_one() {
        let id = SessionId::new(&keys(), 42);
        let raw = URL_SAFE_NO_PAD.decode(&id.text[3..]).unwrap();
        for bit in 0..raw.len() * 8 {
            let mut raw = raw.clone();
            raw[bit / 8] ^= 1 << (bit % 8);
            let forged = format!("rs_{}", URL_SAFE_NO_PAD.encode(raw));
            assert_eq!(SessionId::read(&keys(), &forged), None, "bit {bit}");
        }
        let (shorter, longer) = (&id.text[..id.text.len() - 1], format!("{}A", id.text));
        for forged in ["", "rs_", shorter, &longer, &id.text[3..]] {
            assert_eq!(SessionId::read(&keys(), forged), None, "{forged}");
        }
    }

    #[test]
    fn what_is_signed_for_another_purpose_names_no_session() {
        let signed = Form::<16> { purpose: Purpose::Ticket, ..FORM }.write(&keys(), &[0; 16]);
        assert_eq!(SessionId::read(&keys(), &signed.text), None);
    }

    #[test]
    fn an_older_key_goes_on_naming_its_sessions_and_the_newest_names_new_ones() {
        let before = SigningKeys::of(&[(6, b"an older one")]);
        let id = SessionId::new(&before, 42);
        assert_eq!(SessionId::read(&keys(), &id.text), Some(id.clone()), "under the same name");
        let next = SessionId::new(&keys(), 42);
        assert_ne!(next.mac, id.mac);
        assert_eq!(SessionId::read(&before, &next.text), None, "a key that is not known");
    }
}
