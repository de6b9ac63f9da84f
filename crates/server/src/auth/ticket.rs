//! Tickets: signed, scoped, expiring tokens that let their bearer follow one task.
//!
//! A ticket is a `token` with the prefix `rt_` that says, numbers with the highest byte first:
//!
//! | bytes | what |
//! |---|---|
//! | 16 | the task |
//! | 1 | what its bearer may do, a bit each; the highest says that it came of a session |
//! | 5 | when it ends, in seconds since 1970 |
//!
//! It names no tenant: the tenant is the task's.

use relais_core::{Grants, Task, TaskId, Timestamp, limits};
use relais_engine::Access;

use super::signing::{Purpose, SigningKeys};
use super::token::Form;

/// What a ticket says, in bytes.
const SAYS_BYTES: usize = 22;
const FORM: Form<SAYS_BYTES> = Form { prefix: "rt_", purpose: Purpose::Ticket };
const _: () = assert!(FORM.text_bytes() <= limits::TICKET_BYTES_MAX);
/// The last second that five bytes can say, in the year 36812.
const LAST_SECOND: i64 = (1 << 40) - 1;

const READ: u8 = 1;
const CANCEL: u8 = 1 << 1;
const RETRY: u8 = 1 << 2;
// 1 << 3 is kept for `answer`: to answer what a task asks its caller.
/// Beside what it grants: it came of a browser's session.
const OF_SESSION: u8 = 1 << 7;

/// What a ticket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The one task it is for.
    pub task: TaskId,
    /// What its bearer may do.
    pub grants: Grants,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether it was given for the session of a browser. None of its renewals ends later than it
    /// does: what a page reads out while it is open is not to be a right for good.
    pub is_of_session: bool,
}

impl Ticket {
    /// The one for a task: valid to its deadline and retention.
    #[must_use]
    pub(crate) fn of(task: &Task, grants: Grants) -> Self {
        Self { task: task.spec.id, grants, expires_at: end_of(task), is_of_session: false }
    }

    /// One more of a ticket that came of a session and ends then.
    #[must_use]
    pub(crate) fn of_session(task: &Task, grants: Grants, end: Timestamp) -> Self {
        let own = Self::of(task, grants);
        Self { expires_at: own.expires_at.min(end), is_of_session: true, ..own }
    }

    /// The text of it, signed.
    #[must_use]
    pub(crate) fn sign(&self, keys: &SigningKeys) -> String {
        FORM.write(keys, &self.says()).text
    }

    /// What the ticket grants on a task: nothing on any but its own, and nothing where the task is
    /// not followed by ticket.
    #[must_use]
    pub(crate) fn grants_on(&self, task: &Task, access: &Access) -> Option<Grants> {
        let is_for_it = self.task == task.spec.id && matches!(access, Access::Ticket);
        is_for_it.then_some(self.grants)
    }

    fn says(&self) -> [u8; SAYS_BYTES] {
        let mut says = [0; SAYS_BYTES];
        let seconds = self.expires_at.as_ms().div_euclid(1_000).clamp(0, LAST_SECOND);
        says[..16].copy_from_slice(&self.task.as_u128().to_be_bytes());
        says[16] = bits_of(self.grants) | if self.is_of_session { OF_SESSION } else { 0 };
        says[17..].copy_from_slice(&seconds.to_be_bytes()[3..]);
        says
    }

    fn read(says: &[u8; SAYS_BYTES]) -> Self {
        let mut seconds = [0; 8];
        seconds[3..].copy_from_slice(&says[17..]);
        let task = u128::from_be_bytes(*says.first_chunk().expect("sixteen bytes"));
        Self {
            task: TaskId::from_u128(task),
            grants: grants_of(says[16]),
            expires_at: Timestamp::from_ms(i64::from_be_bytes(seconds) * 1_000),
            is_of_session: says[16] & OF_SESSION != 0,
        }
    }
}

/// Why a token is no ticket that is valid now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadTicket {
    /// We did not sign it, or not this.
    Unknown,
    /// We signed it, and it has ended.
    Expired,
}

/// What a text says that has the form of a ticket, and the name of the key that is said to have
/// signed it. Whether that is true only the server knows.
#[must_use]
pub fn read_unverified(text: &str) -> Option<(Ticket, u32)> {
    let (says, key) = FORM.read_unverified(text)?;
    Some((Ticket::read(&says), key))
}

/// When the last ticket of a task ends.
#[must_use]
pub(crate) fn end_of(task: &Task) -> Timestamp {
    let ends = task.expires_at().unwrap_or_else(|| task.life.deadline.plus(task.spec.retention));
    // Rounded up: a ticket ends with its task, not before it.
    Timestamp::from_ms(ends.as_ms().saturating_add(1_000))
}

/// What a token says, if it is a ticket that we signed and that has not ended.
///
/// # Errors
/// When it is not. A version or a key that is not known takes as long as a wrong signature.
pub(crate) fn verify(keys: &SigningKeys, text: &str, now: Timestamp) -> Result<Ticket, BadTicket> {
    let (says, _) = FORM.read(keys, text).ok_or(BadTicket::Unknown)?;
    let ticket = Ticket::read(&says);
    if ticket.expires_at <= now { Err(BadTicket::Expired) } else { Ok(ticket) }
}

fn bits_of(grants: Grants) -> u8 {
    let bit = |is_granted, bit| if is_granted { bit } else { 0 };
    bit(grants.read, READ) | bit(grants.cancel, CANCEL) | bit(grants.retry, RETRY)
}

/// A bit that is not known grants nothing here.
const fn grants_of(bits: u8) -> Grants {
    Grants { read: bits & READ != 0, cancel: bits & CANCEL != 0, retry: bits & RETRY != 0 }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const SECRET: &[u8] = b"a secret of the newest key";
    const NOW: Timestamp = Timestamp::from_ms(1_700_000_000_000);

    fn keys() -> SigningKeys {
        SigningKeys::of(&[(7, SECRET), (6, b"an older one")])
    }

    fn ticket() -> Ticket {
        let grants = Grants { read: true, cancel: false, retry: true };
        let expires_at = Timestamp::from_ms(1_700_000_001_000);
        Ticket { task: TaskId::from_u128(0x0123_4567), grants, expires_at, is_of_session: false }
    }

    /// A ticket made by hand: the test of `write` and `verify` that does not trust either.
    fn signed(purpose: u8, claims: &[u8], secret: &[u8]) -> String {
        let message = [&[purpose], claims].concat();
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &message);
        let raw = [claims, &mac.as_ref()[..16]].concat();
        format!("rt_{}", URL_SAFE_NO_PAD.encode(raw))
    }

    fn claims() -> Vec<u8> {
        let mut claims = vec![1, 0, 0, 0, 7];
        claims.extend(0x0123_4567_u128.to_be_bytes());
        claims.extend([0b101, 0, 0x65, 0x53, 0xf1, 0x01]);
        claims
    }

    #[test]
    fn a_ticket_has_at_most_64_characters_and_says_what_was_put_in() {
        let text = ticket().sign(&keys());
        assert_eq!(text, signed(1, &claims(), SECRET));
        assert!(text.len() <= 64, "{text}");
        assert_eq!(verify(&keys(), &text, NOW), Ok(ticket()));
        assert_eq!(read_unverified(&text), Some((ticket(), 7)));
        let late = Ticket { expires_at: Timestamp::from_ms(i64::MAX), ..ticket() };
        let last = Timestamp::from_ms(LAST_SECOND * 1_000);
        let read = verify(&keys(), &late.sign(&keys()), NOW).unwrap();
        assert_eq!(read.expires_at, last, "the last moment that can be said");
    }

    #[test]
    fn a_token_of_another_purpose_never_passes_for_a_ticket() {
        for purpose in (0..=255).filter(|purpose| *purpose != Purpose::Ticket as u8) {
            let text = signed(purpose, &claims(), SECRET);
            assert_eq!(verify(&keys(), &text, NOW), Err(BadTicket::Unknown), "{purpose}");
        }
    }

    #[test]
    fn no_bit_of_a_ticket_can_be_changed() {
        let text = ticket().sign(&keys());
        let raw = URL_SAFE_NO_PAD.decode(&text[3..]).unwrap();
        for bit in 0..raw.len() * 8 {
            let mut raw = raw.clone();
            raw[bit / 8] ^= 1 << (bit % 8);
            let forged = format!("rt_{}", URL_SAFE_NO_PAD.encode(raw));
            assert_eq!(verify(&keys(), &forged, NOW), Err(BadTicket::Unknown), "bit {bit}");
        }
        let (head, last) = text.split_at(text.len() - 1);
        let other_end = format!("{head}{}", if last == "A" { 'B' } else { 'A' });
        for forged in [&text[3..], head, &format!("{text}A"), &other_end, "", "rt_", "rk_x"] {
            assert_eq!(verify(&keys(), forged, NOW), Err(BadTicket::Unknown), "{forged}");
        }
    }

    #[test]
    fn an_unknown_version_or_key_is_like_a_forgery_even_if_it_is_signed_well() {
        let mut newer = claims();
        newer[0] = 2;
        let mut elsewhere = claims();
        elsewhere[4] = 8;
        for claims in [newer, elsewhere] {
            let text = signed(1, &claims, SECRET);
            assert_eq!(verify(&keys(), &text, NOW), Err(BadTicket::Unknown), "{claims:?}");
        }
    }

    #[test]
    fn an_older_key_verifies_and_the_newest_signs() {
        let before = SigningKeys::of(&[(6, b"an older one")]);
        let text = ticket().sign(&before);
        assert_eq!(verify(&keys(), &text, NOW), Ok(ticket()));
        assert_eq!(verify(&before, &ticket().sign(&keys()), NOW), Err(BadTicket::Unknown));
    }

    #[test]
    fn what_we_signed_and_has_ended_is_expired_and_a_forgery_of_it_is_not() {
        let end = ticket().expires_at;
        let text = ticket().sign(&keys());
        assert_eq!(verify(&keys(), &text, end), Err(BadTicket::Expired));
        let forged = signed(1, &claims(), b"a guess");
        assert_eq!(verify(&keys(), &forged, end), Err(BadTicket::Unknown));
    }

    #[test]
    fn whether_it_came_of_a_session_is_signed_with_it_and_grants_nothing() {
        let lent = Ticket { is_of_session: true, ..ticket() };
        let mut claims = claims();
        claims[21] = 0b1000_0101;
        assert_eq!(lent.sign(&keys()), signed(1, &claims, SECRET));
        assert_eq!(verify(&keys(), &lent.sign(&keys()), NOW), Ok(lent));
    }

    #[test]
    fn a_grant_that_is_not_known_grants_nothing() {
        let mut later = claims();
        later[21] = 0b1111_1000;
        let read = verify(&keys(), &signed(1, &later, SECRET), NOW).unwrap();
        assert_eq!(read.grants, Grants::default());
    }
}
