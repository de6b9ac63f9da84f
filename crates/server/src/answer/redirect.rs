//! A stored answer that is a redirect, for the browser that follows it from a page of Relais.

use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use relais_core::Task;
use relais_engine::{Presented, envelope};

use super::links;
use super::problem::Refusal;

/// Where a browser goes that reads an answer with this status and `Location`, at another address than
/// that of its request: on our own origin a path, which leads there whatever proxies call it. `None` where
/// it would have to send the request again, or which is no address of the web.
#[must_use]
pub(crate) fn followed(
    status: StatusCode,
    location: &str,
    is_get: bool,
    presented: &Presented,
) -> Option<String> {
    let is_followed = match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => true,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => is_get,
        _ => false,
    };
    let origin = presented.called_as.as_str();
    let url = links::absolute(location, origin, &presented.called_target);
    let is_web = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
    let path = url.strip_prefix(origin).filter(|path| is_path(path));
    (is_followed && is_web).then(|| path.unwrap_or(&url).to_owned())
}

/// Lets the browser of a person follow it, or not.
///
/// # Errors
/// When the task's context cannot be read.
pub(crate) fn lead(
    task: &Task,
    status: StatusCode,
    headers: &mut HeaderMap,
) -> Result<(), Refusal> {
    let Some(location) = headers.get(LOCATION).filter(|_| status.is_redirection()) else {
        return Ok(());
    };
    let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
    headers.remove(LOCATION);
    let presented = envelope::context_of(task)?.presented;
    if let Some(there) = followed(status, &location, is_get(task), &presented)
        && let Ok(there) = HeaderValue::try_from(there)
    {
        headers.insert(LOCATION, there);
    }
    Ok(())
}

/// Whether the request of a task was a GET.
#[must_use]
pub(crate) fn is_get(task: &Task) -> bool {
    task.spec.request.as_ref().is_some_and(|line| line.method == "GET")
}

/// Whether a browser reads this as a path, and never as the name of another host, as it does behind two
/// slashes. It takes `\` for a slash, and tabs and ends of lines out before it looks.
pub(crate) fn is_path(reference: &str) -> bool {
    let is_plain = |c: char| c != '\\' && !c.is_control();
    reference.starts_with('/') && !reference.starts_with("//") && reference.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_follows_what_is_on_the_web_and_our_own_origin_by_its_path() {
        let presented = Presented {
            called_as: "https://shop.example".to_owned(),
            called_target: "/shop/orders?new".to_owned(),
        };
        for (status, location, expected) in [
            (303, "../orders/7?new#paid", Some("/orders/7?new#paid")),
            (302, "https://shop.example/orders/7", Some("/orders/7")),
            (301, "https://other.example/7", Some("https://other.example/7")),
            (302, "https://shop.example.evil/7", Some("https://shop.example.evil/7")),
            (302, "https://shop.example//evil.example", Some("https://shop.example//evil.example")),
            // A browser would read the path alone as another host; the whole address it reads as ours.
            (
                302,
                "https://shop.example/\\evil.example",
                Some("https://shop.example/\\evil.example"),
            ),
            (
                302,
                "https://shop.example/\t/evil.example",
                Some("https://shop.example/\t/evil.example"),
            ),
            (302, "/\\evil.example", Some("https://shop.example/\\evil.example")),
            (302, "/7\t", Some("https://shop.example/7\t")),
            (302, "//evil.example/7", Some("https://evil.example/7")),
            (302, "javascript:alert(1)", None),
            (302, "mailto:a@b", None),
            (307, "/orders/7", None),
            (308, "/orders/7", None),
            (304, "/orders/7", None),
            (201, "/orders/7", None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let there = followed(status, location, false, &presented);
            assert_eq!(there.as_deref(), expected, "{status} {location}");
        }
        let again = followed(StatusCode::TEMPORARY_REDIRECT, "/7", true, &presented);
        assert_eq!(again.as_deref(), Some("/7"), "a GET is sent again");
    }
}
