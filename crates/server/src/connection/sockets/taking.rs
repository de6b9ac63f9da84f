//! How a connection comes to a shard: out of the HTTP library, and past TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::conn::Link;
use super::{Arrival, CLOSE_WITHIN, First};
use crate::connection::guard::Guard;
use crate::connection::shard::WRITE_MAX;
use crate::connection::shard::wheel::TICK;
use crate::connection::transport::Transport;
use crate::service::Door;
use crate::socket::Begun;

/// Bytes on their way out through TLS.
const PAIR_BYTES: usize = 8 << 10;
/// How long a client may read nothing of them: longer than the near end has patience, which says why it
/// closes, and waits for an answer.
const PASS_WITHIN: Duration =
    WRITE_MAX.saturating_add(CLOSE_WITHIN).saturating_add(TICK.saturating_mul(2));

/// Takes a connection on once its handshake is answered, and serves its TLS if it has any.
pub(in crate::connection) async fn take_over(door: Arc<Door>, begun: Begun) {
    let Begun { upgrade, speaker, standing, token, counted } = begun;
    let stop = door.app.stop.clone();
    let Some(Ok(upgraded)) = stop.run_until_cancelled(upgrade).await else { return };
    let Ok(parts) = upgraded.downcast::<TokioIo<Guard>>() else { return };
    let (early, first) = (parts.read_buf, Box::new(First { speaker, standing, token, counted }));
    // A socket that cannot be taken from the runtime is closed.
    match parts.io.into_inner().into_inner() {
        Transport::Plain(stream) => {
            let Ok(stream) = stream.into_std() else { return };
            let link = Link::Tcp(mio::net::TcpStream::from_std(stream));
            door.sockets.take(&door, Arrival::New { link, early, first });
        }
        Transport::Tls(stream) => {
            let Ok((near, far)) = UnixStream::pair() else { return };
            let Ok(near) = near.into_std() else { return };
            let link = Link::Pair(mio::net::UnixStream::from_std(near));
            door.sockets.take(&door, Arrival::New { link, early, first });
            pass(stream, far).await;
        }
    }
}

/// Passes bytes both ways between TLS and the far end of a pair. Either side's end is that of the other: who
/// closes has said so in a frame.
async fn pass(stream: Box<TlsStream<TcpStream>>, far: UnixStream) {
    let (mut from_client, mut to_client) = tokio::io::split(stream);
    let (mut from_near, mut to_near) = far.into_split();
    let incoming = tokio::io::copy(&mut from_client, &mut to_near);
    let outgoing = async {
        let mut piece = vec![0; PAIR_BYTES];
        loop {
            let len = from_near.read(&mut piece).await?;
            if len == 0 {
                return timeout(PASS_WITHIN, to_client.shutdown()).await?;
            }
            // The near end may be gone by now, and nobody else would end this.
            timeout(PASS_WITHIN, to_client.write_all(&piece[..len])).await??;
            timeout(PASS_WITHIN, to_client.flush()).await??;
        }
    };
    let _ended: io::Result<()> = tokio::select! {
        ended = incoming => ended.map(drop),
        ended = outgoing => ended,
    };
}
