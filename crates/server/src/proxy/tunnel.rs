//! Two connections that have changed to another protocol, as one.

use std::error::Error;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::connection::{Guard, Permit};
use crate::stop::Stop;

/// Bytes buffered in each direction.
const BUFFER_BYTES: usize = 8 << 10;

/// Passes bytes both ways until either side ends, or the server stops.
pub(super) async fn run(client: OnUpgrade, upstream: OnUpgrade, stop: Stop, permit: Permit) {
    let pass = async {
        let (client, upstream) = tokio::try_join!(client, upstream)?;
        let (mut client, mut upstream) = (Guard::of_tunnel(client)?, TokioIo::new(upstream));
        let copied = tokio::io::copy_bidirectional_with_sizes(
            &mut client,
            &mut upstream,
            BUFFER_BYTES,
            BUFFER_BYTES,
        );
        // A side that breaks off ends the tunnel, as one that closes does.
        drop(copied.await);
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    };
    tokio::select! {
        passed = pass => {
            if let Err(error) = passed {
                tracing::debug!(%error, "a tunnel was not begun");
            }
        }
        () = stop.cancelled() => {}
    }
    drop(permit);
}
