//! What is wrong with the routes of a configuration: `relais check` tells it
//! before anybody is served.

use std::fmt;

use relais_api::paths;
use relais_core::limits;

use super::table::{Shape, parse};
use crate::config::{LaneSource, Mode, Route, ServerConfig};

/// A route that cannot be served as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RouteProblem {
    /// Its place in the configuration, from 0; `None` is the fallback.
    pub route: Option<usize>,
    pub path: String,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for RouteProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.route {
            Some(route) => write!(out, "route {} (`{}`): {}", route + 1, self.path, self.why),
            None => write!(out, "fallback: {}", self.why),
        }
    }
}

/// What is wrong with the routes of a configuration: paths that make no sense, routes that Relais'
/// own paths or other routes hide, upstreams that are no addresses.
#[must_use]
pub fn validate_routes(config: &ServerConfig) -> Vec<RouteProblem> {
    let mut problems = Vec::new();
    let mut earlier: Vec<(usize, Shape)> = Vec::new();
    for (index, route) in config.routes.iter().enumerate() {
        let mut tell = |why: String| {
            problems.push(RouteProblem { route: Some(index), path: route.path.clone(), why });
        };
        for why in mistakes_of(route) {
            tell(why);
        }
        let (shape, names) = match parse(&route.path) {
            Ok(parsed) => parsed,
            Err(why) => {
                tell(why.to_owned());
                continue;
            }
        };
        if let Some(own) = own_path_over(&shape, &config.api_prefix) {
            tell(format!("hidden by Relais' own `{own}`; set `api_prefix`"));
        }
        if let Some(LaneSource::Path(name)) = &route.lane
            && !names.contains(name)
        {
            tell(format!("the lane is `path:{name}`, and the path has no such name"));
        }
        for (other, its_shape) in &earlier {
            if *its_shape == shape
                && let Some(method) = shared_method(&config.routes[*other], route)
            {
                tell(format!("hidden for {method} by route {}", other + 1));
            }
        }
        earlier.push((index, shape));
    }
    problems
}

fn mistakes_of(route: &Route) -> Vec<String> {
    let mut mistakes = Vec::new();
    let may_pass_on = matches!(route.mode, Mode::Sync | Mode::Prefer);
    if may_pass_on && route.upstream().is_none() {
        mistakes
            .push("without an upstream nothing can be passed on: use `auto` or `async`".to_owned());
    }
    if route.wait_max > limits::WAIT_MAX {
        mistakes.push(format!("`wait_max` is over {} s", limits::WAIT_MAX.as_secs()));
    }
    if route.wait > route.wait_max {
        mistakes.push("`wait` is longer than `wait_max`".to_owned());
    }
    for method in &route.methods {
        if matches!(method.as_str(), "CONNECT" | "TRACE") {
            mistakes.push(format!("{method} is never passed on"));
        } else if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
        {
            mistakes.push(format!("`{method}` is no method; they are written in upper case"));
        }
    }
    mistakes
}

/// The own path that covers a route's, if there is one.
fn own_path_over(shape: &Shape, prefix: &str) -> Option<String> {
    own_paths(prefix).find(|(_, own)| own.covers(shape)).map(|(path, _)| path)
}

/// What is Relais' own on the public listener.
pub(crate) fn own_paths(prefix: &str) -> impl Iterator<Item = (String, Shape)> {
    let with_prefix = paths::OWN.iter().map(move |own| format!("{prefix}{own}"));
    with_prefix.map(|path| {
        let (shape, _) = parse(&path).expect("paths of our own, and a prefix that was checked");
        (path, shape)
    })
}

/// A method that both routes name, or that neither restricts.
fn shared_method<'a>(one: &'a Route, other: &Route) -> Option<&'a str> {
    match (one.methods.is_empty(), other.methods.is_empty()) {
        (true, true) => Some("all methods"),
        (true, false) | (false, true) => None,
        (false, false) => {
            one.methods.iter().find(|method| other.methods.contains(method)).map(String::as_str)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Run;

    /// Paths of the other listener, which hide nothing.
    const ONLY_ON_ADMIN: [&str; 1] = ["/metrics"];

    fn problems(routes: &[(&str, &[&str])], prefix: &str) -> Vec<(usize, String)> {
        let [template, _] =
            Route::everything_to(&"http://127.0.0.1:9".parse().expect("an address"));
        let mut config = ServerConfig::on_loopback();
        prefix.clone_into(&mut config.api_prefix);
        config.routes = routes
            .iter()
            .map(|(path, methods)| Route {
                path: (*path).to_owned(),
                methods: methods.iter().map(|&method| method.to_owned()).collect(),
                ..template.clone()
            })
            .collect();
        let problems = validate_routes(&config);
        problems.into_iter().map(|one| (one.route.expect("no fallback"), one.why)).collect()
    }

    #[test]
    fn hidden_routes_are_told() {
        let told =
            problems(&[("/v1/tasks", &[]), ("/v1/tasks/{x}", &[]), ("/v1/tasks/17", &[])], "");
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(
            problems(&[("/v1/tasks", &[]), ("/v1/{*rest}", &[]), ("/{*rest}", &[])], "/_relais"),
            []
        );
        assert_eq!(problems(&[("/v1/{*rest}", &[]), ("/v1/orders/{a}", &[])], ""), []);
        // Beneath an own path all is Relais' own, also what is not there.
        let told = problems(&[("/v1/tasks/{a}/b", &[]), ("/v1/queues/{*rest}", &[])], "");
        assert_eq!(told.len(), 2, "{told:?}");
        let told = problems(&[("/a/{x}", &["GET", "POST"]), ("/a/{y}", &["POST"])], "");
        assert_eq!(told, [(1, "hidden for POST by route 1".to_owned())]);
        assert_eq!(problems(&[("/a", &[]), ("/a", &["GET"]), ("/a", &["PUT"])], ""), []);
        assert_eq!(problems(&[("/a", &[]), ("/a", &[])], "").len(), 1);
    }

    #[test]
    fn the_upstream_for_everything_has_no_problem() {
        let mut config = ServerConfig::on_loopback();
        config.routes =
            Route::everything_to(&"http://127.0.0.1:9000".parse().expect("an address")).to_vec();
        assert_eq!(validate_routes(&config), []);
        config.routes[1].methods = vec!["TRACE".to_owned()];
        config.routes[1].lane = Some(LaneSource::Path("id".to_owned()));
        let told = validate_routes(&config);
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn every_path_of_the_api_is_known_here() {
        let document = relais_api::openapi::document("");
        let documented = document["paths"].as_object().expect("paths");
        let documented = documented.keys().map(String::as_str);
        let unknown: Vec<_> = documented
            .chain(paths::LATER)
            .filter(|path| {
                let (shape, _) = parse(path).expect("a path");
                own_path_over(&shape, "").is_none()
            })
            .filter(|path| !ONLY_ON_ADMIN.contains(path))
            .collect();
        assert_eq!(unknown, [""; 0], "add them to `paths::OWN`");
    }

    #[test]
    fn workers_pass_nothing_on() {
        let mut config = ServerConfig::on_loopback();
        let [route, _] = Route::everything_to(&"http://a".parse().expect("an address"));
        let route = Route { run: Run::Workers, ..route };
        config.routes = vec![Route { mode: Mode::Prefer, ..route.clone() }];
        assert_eq!(validate_routes(&config).len(), 1);
        config.routes = vec![Route { mode: Mode::Async, ..route }];
        assert_eq!(validate_routes(&config), []);
    }
}
