//! The routes, compiled once: which of them takes a request.
//!
//! The most specific path first (a literal segment before a named one, both before a catch-all),
//! then the method. Segments are compared decoded, so that `/%61dmin` is `/admin`.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::config::Route;

/// The compiled routes.
#[derive(Debug)]
pub(crate) struct Table {
    patterns: Vec<Pattern>,
    /// Whether no path makes a difference: there is one catch-all and nothing else.
    is_open: bool,
}

/// A path of routes, and the routes that have it.
#[derive(Debug)]
struct Pattern {
    shape: Shape,
    /// In the order in which they are asked: those that name their methods first.
    routes: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    index: usize,
    methods: Vec<String>,
    names: Vec<String>,
}

/// What a path must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(super) segments: Vec<Segment>,
    /// Whether anything may follow.
    pub(super) is_catch_all: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Exactly this, decoded.
    Literal(String),
    /// Anything but nothing.
    Named,
}

/// What the table says of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The place of the route in the configuration, and the values of the names in its path.
    Route(usize, Vec<(String, String)>),
    /// The path is known, and takes only these methods.
    Methods(Vec<String>),
    /// No route has such a path.
    Nothing,
}

impl Table {
    /// Compiles the routes.
    ///
    /// # Errors
    /// The place of a route whose path cannot be read, and why.
    pub(crate) fn new(routes: &[Route]) -> Result<Self, (usize, &'static str)> {
        let mut patterns: Vec<Pattern> = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let (shape, names) = parse(&route.path).map_err(|why| (index, why))?;
            let rule = Rule { index, methods: route.methods.clone(), names };
            match patterns.iter_mut().find(|pattern| pattern.shape == shape) {
                Some(pattern) => pattern.routes.push(rule),
                None => patterns.push(Pattern { shape, routes: vec![rule] }),
            }
        }
        patterns.sort_by(|left, right| specificity(&left.shape, &right.shape));
        for pattern in &mut patterns {
            pattern.routes.sort_by_key(|rule| rule.methods.is_empty());
        }
        let is_root =
            |pattern: &Pattern| pattern.shape.is_catch_all && pattern.shape.segments.is_empty();
        let is_open = patterns.iter().all(is_root);
        Ok(Self { patterns, is_open })
    }

    /// Whether no path makes a difference, so that even an ambiguous one may be passed on.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// The route that takes a request.
    pub(crate) fn find(&self, method: &str, path: &str) -> Found {
        let segments: Vec<_> = segments(path).collect();
        let mut allowed: Vec<String> = Vec::new();
        for pattern in &self.patterns {
            let Some(values) = pattern.shape.values(&segments) else { continue };
            for rule in &pattern.routes {
                if rule.methods.is_empty() || rule.methods.iter().any(|one| one == method) {
                    let names = rule.names.iter().cloned();
                    return Found::Route(rule.index, names.zip(values).collect());
                }
                for one in &rule.methods {
                    if !allowed.contains(one) {
                        allowed.push(one.clone());
                    }
                }
            }
        }
        if allowed.is_empty() { Found::Nothing } else { Found::Methods(allowed) }
    }
}

impl Shape {
    /// Whether a path looks like this.
    pub(crate) fn takes(&self, path: &[Cow<'_, str>]) -> bool {
        let Some((head, rest)) = path.split_at_checked(self.segments.len()) else { return false };
        (self.is_catch_all || rest.is_empty())
            && self.segments.iter().zip(head).all(|(segment, text)| match segment {
                Segment::Literal(literal) => literal == text,
                Segment::Named => !text.is_empty(),
            })
    }

    /// The values of the names, if the path looks like this; that of the catch-all is the last.
    fn values(&self, path: &[Cow<'_, str>]) -> Option<Vec<String>> {
        if !self.takes(path) {
            return None;
        }
        let (head, rest) = path.split_at(self.segments.len());
        let named = self.segments.iter().zip(head);
        let named = named.filter(|(segment, _)| matches!(segment, Segment::Named));
        let named = named.map(|(_, text)| text.to_string());
        Some(named.chain(self.is_catch_all.then(|| rest.join("/"))).collect())
    }

    /// Whether every path of `other` is also one of this.
    pub(super) fn covers(&self, other: &Self) -> bool {
        if other.is_catch_all && !self.is_catch_all {
            return false;
        }
        let fits = if self.is_catch_all {
            other.segments.len() >= self.segments.len()
        } else {
            other.segments.len() == self.segments.len()
        };
        fits && self.segments.iter().zip(&other.segments).all(|(mine, theirs)| match mine {
            Segment::Named => true,
            Segment::Literal(_) => mine == theirs,
        })
    }
}

/// Reads the path of a route: its shape, and the names in it.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn parse(path: &str) -> Result<(Shape, Vec<String>), &'static str> {
    let path = path.strip_prefix('/').ok_or("a path begins with `/`")?;
    let mut shape = Shape { segments: Vec::new(), is_catch_all: false };
    let mut names: Vec<String> = Vec::new();
    for text in path.split('/') {
        if shape.is_catch_all {
            return Err("a catch-all is the last segment");
        }
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let name = match inner {
            Some(inner) => {
                let rest = inner.strip_prefix('*');
                shape.is_catch_all = rest.is_some();
                rest.unwrap_or(inner)
            }
            None if text.contains(['{', '}', '*', '?', '#']) => {
                return Err("a name is a whole segment, as in `/imports/{id}`");
            }
            None => {
                shape.segments.push(Segment::Literal(decoded(text).into_owned()));
                continue;
            }
        };
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if !is_name(name) {
            return Err("names are made of letters, digits and `_`");
        }
        if names.iter().any(|other| other == name) {
            return Err("a name is used twice");
        }
        names.push(name.to_owned());
        if !shape.is_catch_all {
            shape.segments.push(Segment::Named);
        }
    }
    Ok((shape, names))
}

/// The more specific first.
fn specificity(left: &Shape, right: &Shape) -> Ordering {
    let weights = |shape: &Shape| {
        let segments = shape.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => 1,
            Segment::Named => 2,
        });
        let end = if shape.is_catch_all { 3 } else { 0 };
        segments.chain([end]).collect::<Vec<u8>>()
    };
    weights(left).cmp(&weights(right))
}

/// The segments of a path, decoded.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = Cow<'_, str>> {
    path.strip_prefix('/').unwrap_or(path).split('/').map(decoded)
}

/// Whether Relais and an upstream could read a path differently: dot segments, an encoded slash, an
/// empty segment.
pub(crate) fn is_ambiguous(path: &str) -> bool {
    if path.as_bytes().windows(3).any(|three| three.eq_ignore_ascii_case(b"%2f")) {
        return true;
    }
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        // Some servers cut `;…` off before they look for dots.
        let name = segment.split(';').next().unwrap_or_default();
        let is_dots = matches!(&*decoded(name), "." | "..");
        if is_dots || (segment.is_empty() && !is_last) {
            return true;
        }
    }
    false
}

/// A text without percent-encoding. What is not UTF-8 becomes replacement characters.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[(&str, &[&str])]) -> Table {
        let [template, _] = Route::everything_to(&"http://u".parse().expect("an address"));
        let routes: Vec<_> = routes
            .iter()
            .map(|(path, methods)| Route {
                path: (*path).to_owned(),
                methods: methods.iter().map(|&method| method.to_owned()).collect(),
                ..template.clone()
            })
            .collect();
        Table::new(&routes).expect("valid paths")
    }

    #[test]
    fn the_most_specific_path_wins_then_the_method() {
        let table = table(&[
            ("/{*rest}", &[]),
            ("/imports/{*rest}", &["POST"]),
            ("/imports/{id}", &["GET"]),
            ("/imports/new", &["GET"]),
            ("/imports/{id}/lines", &["GET"]),
            ("/{kind}/new/lines", &["GET"]),
        ]);
        for (method, path, expected) in [
            ("GET", "/imports/new", 3),
            ("GET", "/imports/%6eew", 3),
            ("GET", "/imports/17", 2),
            ("GET", "/imports/17/", 0),
            ("POST", "/imports/17", 1),
            ("POST", "/imports", 1),
            ("POST", "/imports/", 1),
            ("POST", "/imports/a/b/c", 1),
            ("POST", "/importsX", 0),
            ("GET", "/imports/new/lines", 4),
            ("GET", "/other/new/lines", 5),
            ("DELETE", "/imports/17", 0),
            ("GET", "/", 0),
        ] {
            let found = table.find(method, path);
            assert!(matches!(found, Found::Route(at, _) if at == expected), "{method} {path}");
        }
    }

    #[test]
    fn names_have_their_decoded_values() {
        let table = table(&[("/a/{id}/b/{*rest}", &[])]);
        let found = table.find("GET", "/a/caf%C3%A9/b/x/y");
        let values = [("id", "café"), ("rest", "x/y")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(found, Found::Route(0, values.to_vec()));
        assert_eq!(table.find("GET", "/a//b"), Found::Nothing);
    }

    #[test]
    fn other_methods_of_a_known_path_are_told() {
        let table = table(&[("/a", &["GET"]), ("/{x}", &["PUT"]), ("/b", &["POST"])]);
        let methods = ["GET", "PUT"].map(str::to_owned).to_vec();
        assert_eq!(table.find("DELETE", "/a"), Found::Methods(methods));
        assert_eq!(table.find("DELETE", "/a/b"), Found::Nothing);
        assert!(matches!(table.find("PUT", "/a"), Found::Route(1, _)));
    }

    #[test]
    fn a_route_for_all_methods_leaves_those_that_another_names() {
        let table = table(&[("/a", &[]), ("/a", &["GET"])]);
        assert!(matches!(table.find("GET", "/a"), Found::Route(1, _)));
        assert!(matches!(table.find("POST", "/a"), Found::Route(0, _)));
    }

    #[test]
    fn paths_that_can_be_read_in_two_ways_are_told() {
        for path in [
            "/a/../b",
            "/a/./b",
            "/..",
            "/a/..",
            "/%2e%2e/b",
            "/.%2E/b",
            "/a%2fb",
            "/a%2Fb",
            "//a",
            "/a//b",
            "/a//",
            "/a/..;x=1/b",
        ] {
            assert!(is_ambiguous(path), "{path}");
        }
        for path in ["/", "/a", "/a/", "/a/...", "/a.b/..c", "/a%20b", "/a;x=1/b", "/%zz"] {
            assert!(!is_ambiguous(path), "{path}");
        }
    }

    #[test]
    fn only_a_single_catch_all_is_open() {
        assert!(table(&[("/{*rest}", &["GET"]), ("/{*all}", &[])]).is_open());
        assert!(table(&[]).is_open());
        assert!(!table(&[("/{*rest}", &[]), ("/a", &[])]).is_open());
        assert!(!table(&[("/a/{*rest}", &[])]).is_open());
    }

    #[test]
    fn paths_that_make_no_sense_are_refused() {
        for path in ["a", "", "/{*rest}/a", "/a{b}", "/{}", "/{a}/{a}", "/{a-b}", "/a*", "/a?b"] {
            assert!(parse(path).is_err(), "{path}");
        }
    }
}
