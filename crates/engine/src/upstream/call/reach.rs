//! From a URL to a socket: the name is looked up once, each address is judged, and one of those that were
//! judged is dialled.

use std::convert::Infallible;
use std::fmt;
use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use relais_core::address::{Passage, Reserved};
use relais_core::{Guard, limits};
use tokio::net::TcpStream;
use tower::{ServiceExt as _, service_fn};

use super::dial::{Unreachable, bare_host};
use super::lookups::LookUps;

/// How often a silent upstream is asked, on the connection's level, whether it still lives.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Where somebody may call.
pub(super) struct Reach {
    lookups: LookUps,
    /// `None` for upstreams, which an operator names.
    guard: Option<RwLock<Arc<Guard>>>,
}

/// An address that may be dialled.
#[derive(Debug, Clone, Copy)]
struct Way {
    to: SocketAddr,
    passage: Option<Passage>,
}

impl Reach {
    pub(super) fn anywhere() -> Self {
        Self { lookups: LookUps::of_the_system(), guard: None }
    }

    pub(super) fn outward(guard: Guard) -> Self {
        Self { guard: Some(RwLock::new(Arc::new(guard))), ..Self::anywhere() }
    }

    /// Judges by another list from the next connection on.
    pub(super) fn guard(&self, next: Guard) {
        if let Some(guard) = &self.guard {
            *guard.write().expect("nothing panics while it is held") = Arc::new(next);
        }
    }

    /// A socket to the upstream of a URI, and by which right it leads there.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn connect(
        &self,
        upstream: &Uri,
    ) -> Result<(TcpStream, Option<Passage>), Unreachable> {
        let ways = self.ways(upstream).await?;
        let known = ways.iter().map(|way| way.to).collect::<Vec<_>>();
        // It is told what to dial, and asks no name server itself.
        let known =
            service_fn(move |_: Name| ready(Ok::<_, Infallible>(known.clone().into_iter())));
        let mut tcp = HttpConnector::new_with_resolver(known);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Divided among the addresses of a name, so that a dead one does not take it all.
        tcp.set_connect_timeout(Some(limits::CONNECT_MAX));
        tcp.set_keepalive(Some(KEEPALIVE));
        let socket = tcp.oneshot(upstream.clone()).await;
        let socket = socket.map_err(|error| Unreachable::of_connect(&error))?.into_inner();
        if self.guard.is_none() {
            return Ok((socket, None));
        }
        let peer = socket.peer_addr().map_err(|error| Unreachable::Network(error.kind()))?;
        let way = ways.iter().find(|way| way.to == peer).ok_or(Unreachable::NotAllowed)?;
        Ok((socket, way.passage))
    }

    /// The addresses of an upstream that may be dialled, the best first.
    async fn ways(&self, upstream: &Uri) -> Result<Vec<Way>, Unreachable> {
        let host = bare_host(upstream).ok_or(Unreachable::NoAddress)?;
        let is_https = upstream.scheme() == Some(&Scheme::HTTPS);
        let port = upstream.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => self.lookups.addresses(host, port).await,
        };
        let guard = self.guard.as_ref();
        let guard =
            guard.map(|guard| guard.read().expect("nothing panics while it is held").clone());
        let Some(guard) = guard else {
            if found.is_empty() {
                return Err(Unreachable::NoName);
            }
            return Ok(found.into_iter().map(|to| Way { to, passage: None }).collect());
        };
        let Judged { ways, refused } = judged(&guard, host, found);
        if let Some(Refused { first, kept_for, count }) = refused {
            tracing::warn!(
                host, address = %first, %kept_for, count,
                "did not call what a caller or tenant named: see [webhooks] allow"
            );
        }
        if ways.is_empty() { Err(Unreachable::NotAllowed) } else { Ok(ways) }
    }
}

/// What became of the addresses of one name.
#[derive(Debug, Default)]
struct Judged {
    ways: Vec<Way>,
    refused: Option<Refused>,
}

/// The addresses of a name that are not called. The operator is told of them by one line a connection,
/// because whoever owns the name decides how many they are; whoever named it is told of none.
#[derive(Debug)]
struct Refused {
    first: SocketAddr,
    kept_for: Reserved,
    count: usize,
}

/// Judges each address of a name, and takes the first few of each family that may be dialled.
fn judged(guard: &Guard, host: &str, found: Vec<SocketAddr>) -> Judged {
    let mut judged = Judged::default();
    let mut left = [limits::ADDRESSES_MAX / 2; 2];
    for to in found {
        match guard.judge(host, to.ip(), to.port()) {
            Ok(passage) => {
                let left = &mut left[usize::from(to.is_ipv6())];
                if *left > 0 {
                    *left -= 1;
                    judged.ways.push(Way { to, passage: Some(passage) });
                }
            }
            Err(kept_for) => {
                let refused =
                    judged.refused.get_or_insert(Refused { first: to, kept_for, count: 0 });
                refused.count += 1;
            }
        }
    }
    judged
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").field("guard", &self.guard).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// A name server that gives these answers in turn, each once.
    fn answers<const N: usize>(reach: Reach, answers: [&[&str]; N]) -> Reach {
        let parse =
            |answer: &[&str]| answer.iter().map(|one| one.parse::<IpAddr>().unwrap()).collect();
        let left = Mutex::new(answers.map(parse).into_iter().collect::<Vec<Vec<_>>>().into_iter());
        let look_up = move |_: &str| {
            let answer = left.lock().unwrap().next().expect("it is asked no more often");
            Ok(answer.into_iter().map(|address| SocketAddr::new(address, 0)).collect())
        };
        Reach { lookups: LookUps::new(look_up), ..reach }
    }

    fn outward(allow: &[String]) -> Reach {
        Reach::outward(Guard::new(allow.iter().map(|entry| entry.parse().unwrap()).collect()))
    }

    async fn listener(address: &str) -> (TcpListener, u16) {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// Two that listen at one port of two addresses: one that will be let through, and one that will not.
    async fn two_listeners() -> (TcpListener, TcpListener, u16) {
        loop {
            let (inner, port) = listener("127.0.0.2:0").await;
            if let Ok(allowed) = TcpListener::bind(("127.0.0.1", port)).await {
                return (allowed, inner, port);
            }
        }
    }

    fn url(host: &str, port: u16) -> Uri {
        format!("http://{host}:{port}/").parse().unwrap()
    }

    /// P81: the first answer is good, for whoever checks; the next is for whoever dials.
    #[tokio::test]
    async fn a_name_that_is_rebound_is_judged_by_what_is_dialled() {
        let reach = answers(Reach::outward(Guard::default()), [&["8.8.8.8"], &["169.254.169.254"]]);
        let rebound = url("rebound.example", 80);
        let first = reach.ways(&rebound).await.unwrap();
        assert_eq!(first[0].to, SocketAddr::from(([8, 8, 8, 8], 80)));
        assert_eq!(first[0].passage, Some(Passage::Public));
        assert_eq!(reach.connect(&rebound).await.unwrap_err(), Unreachable::NotAllowed);

        // One look-up for each connection: between judging and dialling nobody is asked again.
        let (allowed, inner, port) = two_listeners().await;
        let list = [format!("127.0.0.1:{port}")];
        let reach =
            answers(outward(&list), [&["127.0.0.1"], &["127.0.0.2"], &["::ffff:127.0.0.2"]]);
        let rebound = url("rebound.example", port);
        let (socket, passage) = reach.connect(&rebound).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), allowed.local_addr().unwrap());
        assert_eq!(passage, Some(Passage::Allowed));
        for _ in 0..2 {
            assert_eq!(reach.connect(&rebound).await.unwrap_err(), Unreachable::NotAllowed);
        }
        assert!(inner.accept().now_or_never().is_none(), "nobody knocked");
    }

    #[tokio::test]
    async fn of_many_addresses_those_alone_are_dialled_that_are_let_through() {
        let (allowed, inner, port) = two_listeners().await;
        let mixed: &[&str] = &["127.0.0.2", "10.0.0.1", "::1", "127.0.0.1"];
        let reach = answers(outward(&[format!("127.0.0.1:{port}")]), [mixed]);
        let (socket, _) = reach.connect(&url("mixed.example", port)).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), allowed.local_addr().unwrap());
        assert!(inner.accept().now_or_never().is_none(), "nobody knocked");
    }

    /// Else whoever names URLs could ask for the names of an inner network.
    #[tokio::test]
    async fn a_name_that_is_unknown_looks_like_one_of_the_inside() {
        let reach = answers(outward(&[]), [&[], &["10.0.0.1"]]);
        for host in ["nobody.corp.example", "vault.corp.example"] {
            let refused = reach.connect(&url(host, 443)).await.unwrap_err();
            assert_eq!(refused, Unreachable::NotAllowed, "{host}");
        }
        let upstreams = answers(Reach::anywhere(), [&[]]);
        let refused = upstreams.connect(&url("nobody.internal", 443)).await.unwrap_err();
        assert_eq!(refused, Unreachable::NoName);
    }

    /// Else the difference would say where in an inner network somebody listens.
    #[tokio::test]
    async fn open_and_closed_ports_of_the_inside_look_the_same() {
        let (inner, open) = listener("127.0.0.1:0").await;
        let (freed, closed) = listener("127.0.0.1:0").await;
        drop(freed);
        let reach = answers(outward(&[]), [&["127.0.0.1"], &["127.0.0.1"]]);
        for port in [open, closed] {
            for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "inner.example"] {
                let refused = reach.connect(&url(host, port)).await.unwrap_err();
                assert_eq!(refused, Unreachable::NotAllowed, "{host}");
            }
        }
        assert!(inner.accept().now_or_never().is_none(), "nobody knocked");
    }

    /// What the URL's judge refuses, for whoever comes past it: the system makes addresses of numbers.
    #[tokio::test]
    async fn an_address_in_disguise_is_judged_as_what_the_system_makes_of_it() {
        let (inner, port) = listener("127.0.0.1:0").await;
        let reach = outward(&[]);
        for host in ["localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1"] {
            let refused = reach.connect(&url(host, port)).await.unwrap_err();
            assert_eq!(refused, Unreachable::NotAllowed, "{host}");
        }
        assert!(inner.accept().now_or_never().is_none(), "nobody knocked");
    }

    #[tokio::test]
    async fn upstreams_of_the_configuration_are_called_wherever_they_are() {
        let (upstream, port) = listener("127.0.0.1:0").await;
        let reach = answers(Reach::anywhere(), [&["127.0.0.1"]]);
        for host in ["127.0.0.1", "shop.internal"] {
            let (_, passage) = reach.connect(&url(host, port)).await.unwrap();
            assert_eq!(passage, None);
            assert!(upstream.accept().await.is_ok());
        }
    }

    /// Its owner could else have Relais knock at hundreds of other people's hosts.
    #[tokio::test]
    async fn of_a_name_with_many_addresses_a_few_of_each_family_are_tried() {
        let four = (1..=250).map(|last| format!("8.8.8.{last}"));
        let six = (1..=250).map(|last| format!("2606:4700::{last}"));
        let all: Vec<_> = four.chain(six).collect();
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        let reach = answers(Reach::outward(Guard::default()), [&all]);
        let ways = reach.ways(&url("many.example", 8443)).await.unwrap();
        let ways: Vec<_> = ways.iter().map(|way| way.to.ip().to_string()).collect();
        let first: Vec<_> =
            all[..4].iter().chain(&all[250..254]).map(|&ip| ip.to_owned()).collect();
        assert_eq!((ways.len(), ways), (limits::ADDRESSES_MAX, first));
    }

    #[test]
    fn of_the_addresses_that_are_not_called_the_log_has_the_first_and_their_number() {
        let inner = (1..=200).map(|last| SocketAddr::from(([10, 0, 0, last], 443)));
        let found = [SocketAddr::from(([8, 8, 8, 8], 443))].into_iter().chain(inner).collect();
        let judged = judged(&Guard::default(), "inner.example", found);
        assert_eq!(judged.ways.len(), 1);
        let refused = judged.refused.unwrap();
        assert_eq!((refused.first.to_string().as_str(), refused.count), ("10.0.0.1:443", 200));
    }
}
