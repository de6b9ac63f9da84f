//! What holds as it is written, and is probably a typing mistake.

use std::collections::BTreeSet;

use relais_server::config::{HostHeader, ServerConfig};
use toml::Spanned;

use super::file::File;

/// Hosts for upstreams that look like a word that was meant. A name in a private network may be
/// short: it is sent, with a warning.
pub(super) fn hosts(server: &ServerConfig) -> Vec<String> {
    let of_routes = server.routes.iter().map(|route| &route.upstream_host);
    let odd: BTreeSet<&str> = (server.upstream_host.iter().chain(of_routes))
        .filter_map(|host| match host {
            HostHeader::Fixed(name) => Some(name.as_str()),
            HostHeader::Client | HostHeader::Upstream => None,
        })
        .filter(|name| !name.contains(['.', ':']) && *name != "localhost")
        .collect();
    let warning = |name: &str| {
        format!(
            "upstream_host: upstreams are sent {name:?} as their Host; the words that mean \
             another one are \"client\" and \"upstream\""
        )
    };
    odd.into_iter().map(warning).collect()
}

/// A table that no route uses, beside a route whose queue has none: either alone is usual (workers
/// and the task API need no route, and a queue without a table has the default policy).
pub(super) fn queues(file: &File) -> Option<String> {
    let tables: BTreeSet<&str> = file.queue.keys().map(|name| name.get_ref().as_str()).collect();
    if tables.contains("*") {
        return None;
    }
    let routes = || file.route.iter().map(Spanned::get_ref);
    let said = || routes().filter_map(|route| Some(route.queue.as_ref()?.get_ref().as_str()));
    let used: BTreeSet<&str> = said().collect();
    let without_table: Vec<&str> = used.difference(&tables).copied().collect();
    let takes_default = routes().any(|route| route.queue.is_none());
    let is_used = |table: &str| used.contains(table) || (takes_default && table == "default");
    let unused: Vec<&str> = tables.into_iter().filter(|table| !is_used(table)).collect();
    if unused.is_empty() || without_table.is_empty() {
        return None;
    }
    Some(format!(
        "no route uses [queue.{}], and no table defines {}, which a route names: such a queue has \
         the default policy",
        unused.join("], [queue."),
        without_table.join(", ")
    ))
}
