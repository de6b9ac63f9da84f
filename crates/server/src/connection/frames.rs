//! Where the heads of an HTTP/2 connection begin and end (RFC 9113, 4.1): what its driver needs to
//! bound how long one takes. Not here: whether anything is right, which the HTTP library judges.

/// What comes before the first frame.
const PREFACE_BYTES: usize = 24;
/// Length, type, flags, stream.
const HEADER_BYTES: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Follows the frames that a client sends.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Bytes of the preface that are still to come.
    preface: usize,
    header: [u8; HEADER_BYTES],
    /// Bytes of it that have come.
    len: usize,
    /// Bytes of the frame's payload that are still to come.
    payload: usize,
    /// Whether a head has begun whose last frame was not seen.
    is_open: bool,
}

impl Frames {
    pub(crate) const fn new() -> Self {
        let header = [0; HEADER_BYTES];
        // The settings that every client sends first are waited for like a head.
        Self { preface: PREFACE_BYTES, header, len: 0, payload: 0, is_open: true }
    }

    /// Whether a head has begun and is not complete.
    pub(crate) fn is_in_head(&self) -> bool {
        self.is_open || (self.payload > 0 && self.is_head())
    }

    /// Looks at the next bytes.
    pub(crate) fn scan(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = if self.preface > 0 {
                let taken = self.preface.min(rest.len());
                self.preface -= taken;
                taken
            } else if self.payload > 0 {
                let taken = self.payload.min(rest.len());
                self.payload -= taken;
                taken
            } else {
                self.header[self.len] = rest[0];
                self.len += 1;
                if self.len == HEADER_BYTES {
                    self.begin();
                }
                1
            };
            rest = &rest[taken..];
        }
    }

    /// A frame's header is complete.
    fn begin(&mut self) {
        self.len = 0;
        let [first, second, third, ..] = self.header;
        self.payload = u32::from_be_bytes([0, first, second, third]) as usize;
        self.is_open = self.is_head() && self.header[4] & END_HEADERS == 0;
    }

    fn is_head(&self) -> bool {
        matches!(self.header[3], HEADERS | CONTINUATION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let header = [len[1], len[2], len[3], kind, flags, 0, 0, 0, 1];
        [&header[..], payload].concat()
    }

    #[test]
    fn a_head_is_open_until_its_last_frame_has_come() {
        let settings = [vec![b'x'; PREFACE_BYTES], frame(4, 0, b"")].concat();
        let mut frames = Frames::new();
        for byte in &settings {
            assert!(frames.is_in_head(), "the settings are waited for");
            frames.scan(&[*byte]);
        }
        assert!(!frames.is_in_head());
        // A ping and a body are no heads, however slowly they come.
        for byte in [frame(6, 0, &[0; 8]), frame(0, 1, b"body")].concat() {
            frames.scan(&[byte]);
            assert!(!frames.is_in_head());
        }
        let head = [frame(HEADERS, 0, b"abc"), frame(CONTINUATION, END_HEADERS, b"de")].concat();
        for cut in 1..=head.len() {
            let mut frames = Frames::new();
            frames.scan(&settings);
            head.chunks(cut).for_each(|piece| frames.scan(piece));
            assert!(!frames.is_in_head(), "cut every {cut}");
        }
        frames.scan(&head[..HEADER_BYTES]);
        for byte in &head[HEADER_BYTES..] {
            assert!(frames.is_in_head());
            frames.scan(&[*byte]);
        }
        assert!(!frames.is_in_head());
    }
}
