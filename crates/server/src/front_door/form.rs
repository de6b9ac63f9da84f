//! A form's body as far as it says whether the form is sent again: its digest, and whether it has a
//! field. It is looked at piece by piece, on its way into the store.

use aws_lc_rs::digest;

use super::table::decoded;

/// Bytes looked at of each part of a body: names stand at its beginning.
const HEAD_BYTES: usize = 1 << 10;
/// Longest boundary of a multipart body (RFC 2046, 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// Reads a body.
pub(super) struct Form {
    hash: digest::Context,
    kind: Kind,
    /// The field that is looked for, until it was found.
    wanted: Option<String>,
    is_found: bool,
    /// Bytes that may be the beginning of what separates two parts.
    held: Vec<u8>,
    /// The beginning of the part that is being read…
    head: Vec<u8>,
    /// …and its length, bytes.
    len: u64,
}

/// How a body is made of parts.
enum Kind {
    /// By a boundary that the browser draws anew each time, with the dashes before it.
    Multipart(Vec<u8>),
    UrlEncoded,
    /// Not as far as we know.
    Other,
}

impl Form {
    /// Of a body of this media type, in which a field is looked for if it is named.
    pub(super) fn of(content_type: &[u8], wanted: Option<&str>) -> Self {
        let kind = match boundary_of(content_type) {
            Some(boundary) => Kind::Multipart([b"--", boundary].concat()),
            None if wanted.is_some() && is_url_encoded(content_type) => Kind::UrlEncoded,
            None => Kind::Other,
        };
        Self {
            hash: digest::Context::new(&digest::SHA256),
            kind,
            wanted: wanted.map(str::to_owned),
            is_found: false,
            held: Vec::new(),
            head: Vec::new(),
            len: 0,
        }
    }

    /// Of a body that is what its bytes are.
    pub(super) fn as_it_is() -> Self {
        Self::of(b"", None)
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, piece: &[u8]) {
        let separator = match &self.kind {
            Kind::Other => return self.hash.update(piece),
            Kind::UrlEncoded => {
                self.hash.update(piece);
                b"&".to_vec()
            }
            Kind::Multipart(separator) => separator.clone(),
        };
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(piece);
        let mut rest = &bytes[..];
        while let Some(at) = find(rest, &separator) {
            self.take(&rest[..at]);
            self.end_part();
            rest = &rest[at + separator.len()..];
        }
        let whole = rest.len().saturating_sub(separator.len() - 1);
        self.take(&rest[..whole]);
        self.held = rest[whole..].to_vec();
    }

    /// The digest, without the boundary, and whether the field that was looked for is there, with a
    /// value.
    pub(super) fn finish(mut self) -> ([u8; 32], bool) {
        let held = std::mem::take(&mut self.held);
        self.take(&held);
        self.end_part();
        let digest = self.hash.finish();
        (digest.as_ref().try_into().expect("SHA-256 has 32 bytes"), self.is_found)
    }

    /// More of a part.
    fn take(&mut self, bytes: &[u8]) {
        if matches!(self.kind, Kind::Multipart(_)) {
            self.hash.update(bytes);
            self.len += bytes.len() as u64;
        }
        if self.wanted.is_some() {
            let room = HEAD_BYTES - self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// A part has ended. Its length goes into the digest where the separator does not, so that no two
    /// lists of parts look alike.
    fn end_part(&mut self) {
        if matches!(self.kind, Kind::Multipart(_)) {
            self.hash.update(&self.len.to_be_bytes());
            self.len = 0;
        }
        let head = std::mem::take(&mut self.head);
        let Some(wanted) = &self.wanted else { return };
        let has_it = match &self.kind {
            Kind::Multipart(_) => part_has(&head, wanted),
            Kind::UrlEncoded => pair_has(&head, wanted),
            Kind::Other => false,
        };
        if has_it {
            self.is_found = true;
            self.wanted = None;
        }
    }
}

/// A media type without its boundary.
pub(super) fn without_boundary(content_type: &[u8]) -> Vec<u8> {
    if boundary_of(content_type).is_none() {
        return content_type.to_vec();
    }
    let others = content_type.split(|byte| *byte == b';').filter(|part| value_of(part).is_none());
    others.collect::<Vec<_>>().join(&b';')
}

/// Whether a query has the field, with a value.
pub(super) fn query_has(query: &str, field: &str) -> bool {
    query.split('&').any(|pair| pair_has(pair.as_bytes(), field))
}

fn boundary_of(content_type: &[u8]) -> Option<&[u8]> {
    let kind = content_type.get(..10)?;
    if !kind.eq_ignore_ascii_case(b"multipart/") {
        return None;
    }
    let boundary = content_type.split(|byte| *byte == b';').skip(1).find_map(value_of)?;
    (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()).then_some(boundary)
}

/// The boundary, if this parameter says it.
fn value_of(parameter: &[u8]) -> Option<&[u8]> {
    let at = parameter.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (parameter[..at].trim_ascii(), parameter[at + 1..].trim_ascii());
    let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
    name.eq_ignore_ascii_case(b"boundary").then_some(value)
}

fn is_url_encoded(content_type: &[u8]) -> bool {
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// Whether `name=value` is the field.
fn pair_has(pair: &[u8], field: &str) -> bool {
    let pair = String::from_utf8_lossy(pair);
    let Some((name, value)) = pair.split_once('=') else { return false };
    !value.is_empty() && decoded(&name.replace('+', " ")) == field
}

/// Whether a part of a multipart body, from behind its boundary, is the field.
fn part_has(part: &[u8], field: &str) -> bool {
    let text = String::from_utf8_lossy(part);
    let Some((head, value)) = text.split_once("\r\n\r\n") else { return false };
    let names_it = |line: &str| {
        let Some((name, value)) = line.split_once(':') else { return false };
        name.trim().eq_ignore_ascii_case("content-disposition")
            && value.split(';').any(|parameter| {
                let named = parameter.trim().split_once('=');
                named.is_some_and(|(name, value)| {
                    name.eq_ignore_ascii_case("name") && value.trim_matches('"') == field
                })
            })
    };
    head.lines().any(names_it) && !value.trim_end_matches("\r\n").is_empty()
}

fn find(bytes: &[u8], separator: &[u8]) -> Option<usize> {
    bytes.windows(separator.len()).position(|window| window == separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL_ENCODED: &str = "application/x-www-form-urlencoded";

    fn multipart(boundary: &str, token: &str) -> (String, String) {
        let part = |name: &str, value: &str| {
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
        };
        let body = [part("file", &"-".repeat(3_000)), part("csrf_token", token)].concat();
        (format!("multipart/form-data; boundary={boundary}"), format!("{body}--{boundary}--\r\n"))
    }

    fn read(content_type: &str, body: &str, piece: usize) -> ([u8; 32], bool) {
        let mut form = Form::of(content_type.as_bytes(), Some("csrf_token"));
        body.as_bytes().chunks(piece).for_each(|piece| form.update(piece));
        form.finish()
    }

    #[test]
    fn a_boundary_that_is_drawn_anew_makes_no_other_body_however_it_arrives() {
        let (kind, body) = multipart("----WebKitFormBoundaryAAAA", "t");
        let first = read(&kind, &body, body.len());
        assert!(first.1, "the field is there");
        let (other_kind, other) = multipart("----geckoformboundary0123456789abcdef", "t");
        for piece in [1, 2, 7, 64, 10_000] {
            assert_eq!(read(&other_kind, &other, piece), first, "{piece}");
        }
        assert_eq!(without_boundary(kind.as_bytes()), b"multipart/form-data");
        let quoted = b"Multipart/Form-Data; charset=x; Boundary=\"a b\"";
        assert_eq!(without_boundary(quoted), b"Multipart/Form-Data; charset=x");
        // Another value, and a boundary that moves within the same bytes, are another body.
        let (kind, body) = multipart("----WebKitFormBoundaryAAAA", "u");
        assert_ne!(read(&kind, &body, 99).0, first.0);
        assert_ne!(
            read("multipart/x; boundary=b", "1--b23", 9),
            read("multipart/x; boundary=b", "12--b3", 9)
        );
        assert_ne!(
            read("multipart/x; boundary=b", "1--b", 9),
            read("multipart/x; boundary=b", "1", 9)
        );
    }

    #[test]
    fn a_field_is_there_if_it_has_a_value() {
        for (content_type, body, expected) in [
            (URL_ENCODED, "a=1&csrf_token=x", true),
            (URL_ENCODED, "csrf%5Ftoken=x", true),
            (URL_ENCODED, "csrf_token=&a=1", false),
            (URL_ENCODED, "csrf_token", false),
            (URL_ENCODED, "x=csrf_token=1", false),
            ("application/x-www-form-urlencoded; charset=utf-8", "csrf_token=1", true),
            ("text/plain", "csrf_token=1", false),
            ("", "csrf_token=1", false),
        ] {
            for piece in [1, 3, 100] {
                assert_eq!(read(content_type, body, piece).1, expected, "{content_type} {body}");
            }
        }
        for (token, expected) in [("x", true), ("", false)] {
            let (kind, body) = multipart("b", token);
            for piece in [1, 3, 100] {
                assert_eq!(read(&kind, &body, piece).1, expected, "{token:?} {piece}");
            }
        }
        assert!(query_has("a=1&csrf_token=x", "csrf_token") && !query_has("a=1", "csrf_token"));
        let mut none = Form::of(URL_ENCODED.as_bytes(), None);
        none.update(b"csrf_token=1");
        assert!(!none.finish().1, "none is looked for");
    }

    #[test]
    fn what_is_no_multipart_body_is_hashed_as_it_is() {
        for kind in [URL_ENCODED, "text/plain", "", "multipart/form-data", "multipart/x; boundary="]
        {
            let digest = digest::digest(&digest::SHA256, b"a=1&b=2");
            assert_eq!(read(kind, "a=1&b=2", 2).0, digest.as_ref(), "{kind}");
        }
    }
}
