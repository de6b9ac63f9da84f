//! How many WebSockets one caller has. All together are bounded as connections are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use relais_api::codes;
use relais_core::limits;

use crate::answer::problem::Refusal;
use crate::request::bodies::Holder;

/// The WebSockets of each caller.
#[derive(Debug, Default)]
pub(crate) struct OpenSockets(Mutex<HashMap<Holder, usize>>);

/// One of them, which counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    among: Arc<OpenSockets>,
    holder: Holder,
}

impl OpenSockets {
    /// Counts one more.
    ///
    /// # Errors
    /// When the caller has as many as it may.
    pub(crate) fn take(self: &Arc<Self>, holder: Holder) -> Result<Counted, Refusal> {
        let max = match &holder {
            Holder::Tenant(_) => limits::SOCKETS_PER_TENANT_MAX,
            // Whoever is on this machine has no other bound than all together.
            Holder::Address(address) if address.is_loopback() => limits::CONNECTIONS_MAX,
            Holder::Address(_) => limits::SOCKETS_PER_ADDRESS_MAX,
        };
        let mut counts = self.0.lock().expect("nothing panics while it is held");
        let count = counts.entry(holder.clone()).or_default();
        if *count >= max {
            let why = "you have too many connections of this kind";
            return Err(Refusal::new(&codes::RATE_LIMITED).because(why).limit(max as u64));
        }
        *count += 1;
        Ok(Counted { among: self.clone(), holder })
    }

    /// How many there are of all callers.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().expect("nothing panics while it is held").values().sum()
    }
}

impl Counted {
    /// On whose account it is.
    pub(crate) fn holder(&self) -> &Holder {
        &self.holder
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.among.0.lock().expect("nothing panics while it is held");
        if let Some(count) = counts.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_more_than_its_share_until_one_ends() {
        let open = Arc::new(OpenSockets::default());
        let address = |text: &str| Holder::Address(text.parse().expect("an address"));
        let take = |holder| open.take(holder).map_err(|refusal| refusal.code().code);
        let count = limits::SOCKETS_PER_ADDRESS_MAX;
        let mut kept: Vec<_> =
            (0..count).map(|_| take(address("192.0.2.1")).expect("room")).collect();
        assert_eq!(take(address("192.0.2.1")).err(), Some("rate-limited"));
        assert!(take(address("192.0.2.2")).is_ok(), "another has its own share");
        assert!(take(Holder::Tenant("a".parse().expect("a name"))).is_ok());
        assert_eq!(open.count(), count);
        kept.pop();
        assert!(take(address("192.0.2.1")).is_ok());
        drop(kept);
        assert!(open.0.lock().expect("whole").is_empty());
        assert_eq!(open.count(), 0);
    }
}
