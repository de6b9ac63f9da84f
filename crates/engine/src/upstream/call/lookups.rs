//! What addresses names have: the system is asked, for one name once at a time.
//!
//! It may answer late, if a name server is silent, and cannot be told to stop. Whoever wants the same name
//! meanwhile waits for the answer that is on its way: a name that hangs holds one thread, however often it
//! is called.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use relais_core::limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Asks what addresses a name has, with any port. It has a thread of its own.
type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// What a look-up that goes on will have found.
type Looking = Shared<oneshot::Receiver<Vec<SocketAddr>>>;

/// The look-ups that go on.
pub(super) struct LookUps {
    look_up: Arc<LookUp>,
    threads: Arc<Semaphore>,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running(Mutex<HashMap<String, Looking>>);

impl Running {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Looking>> {
        self.0.lock().expect("nothing panics while it is held")
    }
}

/// One that goes on, until it is dropped: also if nobody waits for it any more.
struct GoesOn {
    name: String,
    running: Arc<Running>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for GoesOn {
    fn drop(&mut self) {
        self.running.lock().remove(&self.name);
    }
}

impl LookUps {
    pub(super) fn of_the_system() -> Self {
        Self::new(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    pub(super) fn new(
        look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        let threads = Arc::new(Semaphore::new(limits::LOOKUPS_MAX));
        Self { look_up: Arc::new(look_up), threads, running: Arc::default() }
    }

    /// The addresses of a name, each with this port; none if it is unknown.
    pub(super) async fn addresses(&self, name: &str, port: u16) -> Vec<SocketAddr> {
        let name = name.to_ascii_lowercase();
        let goes_on = self.running.lock().get(&name).cloned();
        let looking = match goes_on {
            Some(looking) => looking,
            None => {
                let permit = self.threads.clone().acquire_owned().await;
                self.begin(name, permit.expect("nobody closes it"))
            }
        };
        let mut found = looking.await.unwrap_or_default();
        for address in &mut found {
            address.set_port(port);
        }
        found
    }

    /// Begins a look-up, unless somebody else did while this one waited for its turn.
    fn begin(&self, name: String, permit: OwnedSemaphorePermit) -> Looking {
        let mut running = self.running.lock();
        if let Some(looking) = running.get(&name) {
            return looking.clone();
        }
        let (tell, told) = oneshot::channel();
        let looking = told.shared();
        running.insert(name.clone(), looking.clone());
        drop(running);
        let look_up = self.look_up.clone();
        let goes_on = GoesOn { name, running: self.running.clone(), _permit: permit };
        tokio::task::spawn_blocking(move || {
            let found = look_up(&goes_on.name).unwrap_or_default();
            // Whoever comes behind the answer asks anew.
            drop(goes_on);
            // Nobody waits for it, maybe.
            _ = tell.send(found);
        });
        looking
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{SyncSender, sync_channel};

    use futures_util::StreamExt as _;
    use futures_util::stream::FuturesUnordered;
    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Look-ups that hang until the sender is dropped, but for one name; each that begins is told.
    fn hanging() -> (LookUps, Receiver<String>, SyncSender<()>) {
        let (release, released) = sync_channel::<()>(1);
        let (begun, begins) = channel(2 * limits::LOOKUPS_MAX);
        let released = Mutex::new(released);
        let look_up = move |name: &str| {
            if name == "healthy.example" {
                return Ok(vec![SocketAddr::from(([8, 8, 8, 8], 0))]);
            }
            begun.blocking_send(name.to_owned()).unwrap();
            assert!(released.lock().unwrap().recv().is_err(), "nothing is ever sent");
            Err(io::Error::from(io::ErrorKind::TimedOut))
        };
        (LookUps::new(look_up), begins, release)
    }

    /// One dead zone would else stop what is called everywhere else.
    #[tokio::test]
    async fn a_name_that_hangs_holds_one_thread_however_many_wait_for_it() {
        let (lookups, mut begins, release) = hanging();
        let names = ["dead.example", "Dead.Example"].into_iter().cycle();
        let asked = names.take(2 * limits::LOOKUPS_MAX).map(|name| lookups.addresses(name, 443));
        let mut waiting: FuturesUnordered<_> = asked.collect();
        assert!(waiting.next().now_or_never().is_none(), "all wait");
        assert_eq!(begins.recv().await.unwrap(), "dead.example");
        let healthy = lookups.addresses("healthy.example", 443).await;
        assert_eq!(healthy, [SocketAddr::from(([8, 8, 8, 8], 443))]);
        // Whoever gave up has not ended what holds the thread, and the next one joins it.
        drop(waiting);
        let mut again = Box::pin(lookups.addresses("dead.example", 443));
        assert!((&mut again).now_or_never().is_none());
        assert_eq!(lookups.threads.available_permits(), limits::LOOKUPS_MAX - 1);
        drop(release);
        assert!(again.await.is_empty());
        assert!(begins.try_recv().is_err(), "it was asked once");
        // What is over is asked anew.
        assert!(lookups.addresses("dead.example", 443).await.is_empty());
        assert_eq!(begins.recv().await.unwrap(), "dead.example");
    }

    #[tokio::test]
    async fn no_more_names_are_looked_up_at_once_than_the_limit() {
        let (lookups, mut begins, release) = hanging();
        let names: Vec<_> = (0..=limits::LOOKUPS_MAX).map(|n| format!("{n}.example")).collect();
        let asked = names.iter().map(|name| lookups.addresses(name, 443));
        let mut waiting: FuturesUnordered<_> = asked.collect();
        assert!(waiting.next().now_or_never().is_none(), "all wait");
        for _ in 0..limits::LOOKUPS_MAX {
            begins.recv().await.unwrap();
        }
        assert_eq!(lookups.threads.available_permits(), 0);
        assert!(begins.try_recv().is_err(), "the one beyond waits");
        drop(waiting);
        assert_eq!(lookups.threads.available_permits(), 0);
        drop(release);
        drop(lookups.threads.acquire().await.unwrap());
    }
}
