//! How many bytes of bodies that are not whole yet are held: in all, for one tenant, for one
//! address, and for all addresses together.
//!
//! Each body has a limit of its own, and a connection costs nothing: without a bound on their sum,
//! whoever opens enough of them fills the memory, or the disk. A connection of HTTP/2 carries many
//! at once, so that only the first few KiB of each are not counted.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use relais_api::codes;
use relais_core::{TenantName, limits};

use crate::answer::problem::Refusal;
use crate::auth::Caller;
use crate::config::ServerConfig;
use crate::proxy::source::Source;

/// How much room a body takes at once: the books are opened once in so many bytes.
const STEP: u64 = 16 << 10;
/// Up to here a body is not counted: a call that says little is taken even where there is no room.
const SMALL: u64 = 4 << 10;

/// Where a body is while it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In memory, because it is read as a whole.
    Memory,
    /// In the store, piece by piece.
    Store,
}

/// The bytes of bodies that are not whole yet.
#[derive(Debug)]
pub(crate) struct Bodies {
    memory: Arc<Books>,
    store: Arc<Books>,
}

impl Bodies {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let books = |max| Arc::new(Books { max, counts: Mutex::default() });
        Self {
            memory: books(config.unfinished_memory_bytes_max),
            store: books(config.unfinished_store_bytes_max),
        }
    }

    /// A body that begins. Its bytes are counted from the first on that is
    /// more than a small one has.
    pub(crate) fn begin(&self, place: Place, holder: Holder) -> Held {
        let books = match place {
            Place::Memory => &self.memory,
            Place::Store => &self.store,
        };
        Held { books: books.clone(), holder, bytes: 0 }
    }
}

/// On whose account a body is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// The tenant of an API key.
    Tenant(TenantName),
    /// Somebody without a key, at this address.
    Address(IpAddr),
}

impl Holder {
    /// Who sends a request.
    pub(crate) fn of(caller: &Caller, source: &Source) -> Self {
        match caller {
            Caller::Key(key) => Self::Tenant(key.tenant.clone()),
            Caller::Nobody => Self::Address(source.network()),
        }
    }
}

impl Holder {
    fn is_keyless(&self) -> bool {
        matches!(self, Self::Address(_))
    }
}

/// Room that one body takes, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    books: Arc<Books>,
    holder: Holder,
    bytes: u64,
}

impl Held {
    /// Makes sure that there is room for `len` bytes of this body.
    ///
    /// # Errors
    /// 429 when its sender, 503 when all together hold as many as they may.
    pub(crate) fn grow(&mut self, len: u64) -> Result<(), Refusal> {
        if len <= SMALL || len <= self.bytes {
            return Ok(());
        }
        let bytes = len.next_multiple_of(STEP);
        self.books.take(&self.holder, bytes - self.bytes).map_err(Full::refusal)?;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.books.give_back(&self.holder, self.bytes);
        }
    }
}

/// What is out of room.
#[derive(Debug, PartialEq, Eq)]
enum Full {
    All(u64),
    Holder(u64),
    Keyless(u64),
}

impl Full {
    fn refusal(self) -> Refusal {
        match self {
            Self::All(max) => Refusal::new(&codes::OVERLOADED)
                .because("too many bytes of unfinished bodies are held")
                .limit(max),
            Self::Holder(max) => Refusal::new(&codes::RATE_LIMITED)
                .because(format!("the bodies you send at once hold over {max} bytes"))
                .limit(max),
            Self::Keyless(max) => Refusal::new(&codes::RATE_LIMITED)
                .because(format!("the bodies sent without a key hold over {max} bytes"))
                .limit(max),
        }
    }
}

#[derive(Debug)]
struct Books {
    max: u64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: u64,
    /// Of all addresses together, whose share leaves the rest to those who have a key.
    keyless: u64,
    by_holder: HashMap<Holder, u64>,
}

impl Books {
    fn take(&self, holder: &Holder, bytes: u64) -> Result<(), Full> {
        let share = self.max / limits::UNFINISHED_SHARE_DIVISOR;
        let mut counts = self.counts.lock().expect("nothing panics while it is held");
        if counts.all + bytes > self.max {
            return Err(Full::All(self.max));
        }
        let held = counts.by_holder.get(holder).copied().unwrap_or(0);
        if held + bytes > share {
            return Err(Full::Holder(share));
        }
        if holder.is_keyless() && counts.keyless + bytes > share {
            return Err(Full::Keyless(share));
        }
        counts.all += bytes;
        counts.keyless += if holder.is_keyless() { bytes } else { 0 };
        counts.by_holder.insert(holder.clone(), held + bytes);
        Ok(())
    }

    fn give_back(&self, holder: &Holder, bytes: u64) {
        let mut counts = self.counts.lock().expect("nothing panics while it is held");
        counts.all -= bytes;
        counts.keyless -= if holder.is_keyless() { bytes } else { 0 };
        let held = counts.by_holder.get_mut(holder).expect("it was taken");
        *held -= bytes;
        if *held == 0 {
            counts.by_holder.remove(holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(max: u64) -> Bodies {
        let config = ServerConfig {
            unfinished_memory_bytes_max: max,
            unfinished_store_bytes_max: max,
            ..ServerConfig::on_loopback()
        };
        Bodies::new(&config)
    }

    fn tenant(name: &str) -> Holder {
        Holder::Tenant(name.parse().expect("a name"))
    }

    fn code(grown: Result<(), Refusal>) -> Option<(u16, &'static str)> {
        grown.err().map(|refusal| (refusal.code().status, refusal.code().code))
    }

    #[test]
    fn nobody_holds_more_than_a_share_and_all_together_not_more_than_the_whole() {
        let bodies = bodies(8 * STEP);
        let begin = |name| bodies.begin(Place::Memory, tenant(name));
        let mut first = begin("a");
        assert_eq!(code(first.grow(4 * STEP)), None);
        let mut second = begin("a");
        assert_eq!(code(second.grow(SMALL)), None, "it is small");
        assert_eq!(code(second.grow(STEP)), Some((429, "rate-limited")));
        let mut other = begin("b");
        assert_eq!(code(other.grow(3 * STEP + 1)), None, "another tenant has its own share");
        let mut third = begin("c");
        assert_eq!(code(third.grow(STEP)), Some((503, "overloaded")));
        drop(first);
        assert_eq!(code(second.grow(STEP)), None, "what ended has given its room back");
        assert_eq!(code(third.grow(STEP)), None);
        drop((second, other, third));
        assert_eq!(bodies.memory.counts.lock().expect("whole").all, 0);
        assert!(bodies.memory.counts.lock().expect("whole").by_holder.is_empty());
    }

    #[test]
    fn an_address_without_a_key_has_a_share_of_its_own() {
        let bodies = bodies(8 * STEP);
        let address = |text: &str| Holder::Address(text.parse().expect("an address"));
        let mut one = bodies.begin(Place::Store, address("192.0.2.1"));
        let mut more = bodies.begin(Place::Store, address("192.0.2.1"));
        let mut other = bodies.begin(Place::Store, address("192.0.2.2"));
        assert_eq!(code(one.grow(3 * STEP)), None);
        assert_eq!(code(more.grow(2 * STEP)), Some((429, "rate-limited")));
        assert_eq!(code(other.grow(STEP)), None);
    }

    /// Two addresses without a key took all the room of those who have one.
    #[test]
    fn those_without_a_key_leave_half_of_all_to_those_with_one() {
        let bodies = bodies(8 * STEP);
        let address = |text: &str| Holder::Address(text.parse().expect("an address"));
        let mut one = bodies.begin(Place::Memory, address("192.0.2.1"));
        let mut other = bodies.begin(Place::Memory, address("192.0.2.2"));
        let mut keyed = bodies.begin(Place::Memory, tenant("a"));
        assert_eq!(code(one.grow(3 * STEP)), None);
        assert_eq!(code(other.grow(2 * STEP)), Some((429, "rate-limited")));
        assert_eq!(code(other.grow(STEP)), None);
        assert_eq!(code(keyed.grow(4 * STEP)), None);
        drop(one);
        assert_eq!(code(other.grow(3 * STEP)), None, "what ended has given its room back");
    }
}
