//! The accept loops: how many connections there are, and how they end when the server stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use relais_core::limits;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use crate::connection::{self, Peer, Side};
use crate::service::Door;

/// After how long without a word the system asks whether a client is there, how often, and how many times.
const ASK_AFTER: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_secs(10);
const ASKED_TIMES: u32 = 3;
const _: () = assert!(
    ASK_AFTER.as_secs() + ASKED_TIMES as u64 * ASK_EVERY.as_secs()
        == limits::CLIENT_SILENCE_MAX.as_secs()
);
/// How long connections may go on after the server was told to close.
const DRAIN_FOR: Duration = Duration::from_secs(20);
/// How long to wait when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Lets clients connect. Those that come in a burst wait in the system's queue, which is as long as
/// the system permits (`net.core.somaxconn`): beyond it a client's first packet is dropped, and it
/// tries again a second later.
///
/// One that vanishes without a word (a cable, a battery, a tunnel) is known to be gone after
/// [`limits::CLIENT_SILENCE_MAX`], where the system would go on for a quarter of an hour. Connections have
/// this of their listener, so that it costs none of them anything.
///
/// # Errors
/// When the socket cannot be listened on.
pub fn listen(socket: TcpSocket) -> io::Result<TcpListener> {
    let options = SockRef::from(&socket);
    let keepalive =
        TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_EVERY).with_retries(ASKED_TIMES);
    options.set_tcp_keepalive(&keepalive)?;
    // Where something waits to be read nobody is asked. It ends those that read nothing, too, which a
    // guard would end just then.
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(Some(limits::CLIENT_SILENCE_MAX))?;
    socket.listen(limits::BACKLOG_MAX)
}

/// Serves both listeners until [`Stop::close`](crate::Stop::close) is called and the connections
/// have ended, within bounds.
pub async fn serve(door: Arc<Door>, public: TcpListener, admin: TcpListener) {
    let app = &door.app;
    if let Ok(address) = public.local_addr() {
        app.base.listening_on(address);
    }
    let stop = app.stop.clone();
    let connections = Arc::new(Semaphore::new(app.config.connections_max));
    // Administration must stay possible when the front door is full.
    let admin_connections = Arc::new(Semaphore::new(app.config.connections_max.clamp(1, 256)));
    let accepting = async {
        tokio::join!(
            accept(&door, public, Side::Public, connections),
            accept(&door, admin, Side::Admin, admin_connections),
        );
    };
    tokio::select! {
        () = accepting => {}
        () = stop.cancelled() => {}
    }
    door.tracker.close();
    if tokio::time::timeout(DRAIN_FOR, door.tracker.wait()).await.is_err() {
        tracing::warn!("{} connections did not end in time", door.tracker.len());
    }
}

async fn accept(door: &Arc<Door>, listener: TcpListener, side: Side, room: Arc<Semaphore>) {
    loop {
        // Beyond the cap connections wait in the system's queue: nothing is accepted to be dropped.
        let permit = room.clone().acquire_owned().await.expect("never closed");
        let (stream, address) = accept_one(door, &listener).await;
        let peer = Peer::new(address, side, Arc::new(permit));
        door.tracker.spawn(connection::serve(door.clone(), stream, peer));
    }
}

async fn accept_one(door: &Door, listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // Out of file descriptors, or a connection that ended before it was taken.
                let app = &door.app;
                app.refusals.note_not_accepted(&error, app.engine.elapsed());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
