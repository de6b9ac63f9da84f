//! What the head of a request says of who sent it: read once, as it comes in.

use std::net::{IpAddr, Ipv4Addr};

use http::{Extensions, HeaderMap, Request, request};

use super::fetch::Fetch;
use crate::config::ServerConfig;
use crate::connection::Peer;
use crate::proxy::source::Source;

/// Where a call without a connection is made: in this process.
const NO_CONNECTION: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What the head of a request says of who sent it: an extension of the request.
#[derive(Debug, Clone)]
pub(crate) struct SentBy {
    /// From where it came.
    pub(crate) source: Source,
    /// What a browser says of it.
    pub(crate) fetch: Fetch,
}

impl SentBy {
    /// What the head of a request says: it is read unless it was before.
    pub(crate) fn of<'a, B>(config: &ServerConfig, request: &'a mut Request<B>) -> &'a Self {
        if request.extensions().get::<Self>().is_none() {
            let read = Self::read(config, request.extensions(), request.headers());
            request.extensions_mut().insert(read);
        }
        request.extensions().get().expect("it is there by now")
    }

    /// The same, taken out of a head.
    pub(crate) fn take(config: &ServerConfig, parts: &mut request::Parts) -> Self {
        let was_read = parts.extensions.remove();
        was_read.unwrap_or_else(|| Self::read(config, &parts.extensions, &parts.headers))
    }

    fn read(config: &ServerConfig, extensions: &Extensions, headers: &HeaderMap) -> Self {
        let peer = extensions.get::<Peer>().map_or(NO_CONNECTION, |peer| peer.address.ip());
        Self { source: Source::of(config, peer, headers), fetch: Fetch::of(config, headers) }
    }
}
