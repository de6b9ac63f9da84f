//! Whether Relais lives and takes work: `GET /healthz` and `/readyz`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::object::object;
use crate::words::words;

words! {
    /// How a node is.
    HealthStatus {
        /// It lives; at `/readyz`: it takes work.
        Ok = "ok",
    }
}

/// The answer when all is well; otherwise it is a problem with status 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct Health {
    /// How the node is.
    pub status: HealthStatus,
}

object!(Health);
