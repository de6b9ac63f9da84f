//! What is said of a task, and how: the 202, the stored outcome, its links, pages for people, and the one
//! conversion of errors to HTTP.

pub(crate) mod accepted;
pub(crate) mod answers;
pub(crate) mod base;
pub(crate) mod cors;
pub(crate) mod etag;
pub(crate) mod incremental;
pub(crate) mod keepalive;
pub(crate) mod links;
pub(crate) mod live;
pub(crate) mod pace;
pub(crate) mod pages;
pub(crate) mod part;
pub(crate) mod present;
pub(crate) mod problem;
pub(crate) mod redirect;
pub(crate) mod replay;
pub(crate) mod script;
pub(crate) mod shared_caches;
pub(crate) mod stored;
pub(crate) mod submitted;
