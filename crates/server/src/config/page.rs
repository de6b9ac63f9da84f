//! Whose the pages are that people see.

use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;
use relais_core::limits;

/// Name, colour and logo of the operator; without them pages are nobody's.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// What its customers call it.
    pub name: Option<String>,
    /// Its colour, on buttons and bars.
    pub color: Option<Color>,
    /// Its logo, in place of the name.
    pub logo: Option<Arc<Logo>>,
}

/// A colour, as red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color {
    /// From 0 to 255 each.
    pub rgb: [u8; 3],
}

impl FromStr for Color {
    type Err = InvalidColor;

    /// Reads `#rrggbb`.
    fn from_str(text: &str) -> Result<Self, InvalidColor> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let [_, r, g, b] = number.ok_or(InvalidColor)?.to_be_bytes();
        Ok(Self { rgb: [r, g, b] })
    }
}

/// A text that is no colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a colour as #rrggbb")]
pub struct InvalidColor;

/// A picture that pages show.
#[derive(Debug)]
pub struct Logo {
    pub(crate) bytes: Bytes,
    pub(crate) media_type: &'static str,
    /// Another picture has another name, so that it may be kept for ever under this one.
    pub(crate) file: String,
}

impl Logo {
    /// Takes a picture for what its bytes say it is.
    ///
    /// # Errors
    /// When it is too large, or of a kind that pages do not show.
    pub fn new(bytes: Vec<u8>) -> Result<Self, InvalidLogo> {
        if bytes.len() > limits::PAGE_LOGO_BYTES_MAX {
            return Err(InvalidLogo::TooLarge);
        }
        let (media_type, ending) = kind_of(&bytes).ok_or(InvalidLogo::Unknown)?;
        let sum = digest::digest(&digest::SHA256, &bytes);
        let name: String = sum.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { bytes: bytes.into(), media_type, file: format!("{name}.{ending}") })
    }
}

impl Logo {
    /// The name of its file, by which pages call it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }
}

/// Why a picture is no logo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLogo {
    /// It has too many bytes.
    #[error("has more than {} bytes", limits::PAGE_LOGO_BYTES_MAX)]
    TooLarge,
    /// It is of another kind.
    #[error("is no picture in SVG, PNG, JPEG or WebP")]
    Unknown,
}

/// The media type of a picture, and how its file's name ends.
fn kind_of(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some(("image/png", "png"));
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        return Some(("image/jpeg", "jpg"));
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some(("image/webp", "webp"));
    }
    let text = std::str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}').trim_start();
    let is_xml =
        ["<svg", "<?xml", "<!--", "<!DOCTYPE svg"].iter().any(|start| text.starts_with(start));
    (is_xml && text.contains("<svg")).then_some(("image/svg+xml", "svg"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_has_six_digits() {
        assert_eq!("#0A7d4f".parse(), Ok(Color { rgb: [0x0a, 0x7d, 0x4f] }));
        for text in ["", "#fff", "0a7d4f", "#0a7d4g", "#+a7d4f", "red", "#0a7d4f;"] {
            assert_eq!(text.parse::<Color>(), Err(InvalidColor), "{text}");
        }
    }

    #[test]
    fn a_logo_is_a_small_picture_of_a_known_kind() {
        let kind = |bytes: &[u8]| Logo::new(bytes.to_vec()).map(|logo| logo.media_type);
        assert_eq!(kind(b"<?xml version=\"1.0\"?>\n<svg xmlns=\"\"/>"), Ok("image/svg+xml"));
        assert_eq!(kind(b"\x89PNG\r\n\x1a\n..."), Ok("image/png"));
        assert_eq!(kind(b"\xff\xd8\xff\xe0"), Ok("image/jpeg"));
        assert_eq!(kind(b"RIFF\0\0\0\0WEBP"), Ok("image/webp"));
        for bytes in [&b""[..], b"<html><svg>", b"GIF89a", b"hello", b"\xff<svg"] {
            assert_eq!(kind(bytes), Err(InvalidLogo::Unknown));
        }
        let mut largest = b"\xff\xd8\xff".to_vec();
        largest.resize(limits::PAGE_LOGO_BYTES_MAX, 0);
        assert!(kind(&largest).is_ok());
        largest.push(0);
        assert_eq!(kind(&largest), Err(InvalidLogo::TooLarge));
    }

    #[test]
    fn another_logo_has_another_name() {
        let file = |text: &str| Logo::new(text.as_bytes().to_vec()).expect("a logo").file;
        assert_ne!(file("<svg/>"), file("<svg />"));
        assert_eq!(file("<svg/>"), file("<svg/>"));
    }
}
