//! Frames of RFC 6455, read from borrowed bytes: an idle connection holds no buffer. The library reads and
//! writes heads of frames; here they become messages, and what breaks the rules is found as soon as it is
//! there. See ADR 0017.

use std::io::Cursor;

use relais_api::ws::Close;
use relais_core::limits;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// Longest payload of a frame that says something of the connection (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: u64 = 125;
/// Longest head of a frame.
const HEAD_BYTES_MAX: usize = 14;

/// Something whole that a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    /// Nothing, in a frame of a message that goes on: told, so that somebody counts them.
    Empty,
    /// It wants to end the connection; with its code, if it gave one.
    Close(Option<u16>),
}

/// Where a client is in what it sends: nothing, between two frames of whole messages.
#[derive(Debug, Default)]
pub(crate) struct Reader(Option<Box<Part>>);

/// What has come of something that is not whole.
#[derive(Debug, Default)]
struct Part {
    head: [u8; HEAD_BYTES_MAX],
    head_len: usize,
    frame: Option<Frame>,
    message: Option<Text>,
    control: Vec<u8>,
}

/// The frame whose payload comes.
#[derive(Debug)]
struct Frame {
    what: OpCode,
    is_final: bool,
    mask: [u8; 4],
    /// Bytes of its payload that came, and that are to come.
    came: usize,
    left: usize,
}

/// A text, in the frames that have come of it.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    /// Up to here it is whole characters.
    checked: usize,
}

impl Reader {
    /// How many bytes are held of what is not whole.
    pub(crate) fn held(&self) -> usize {
        let message = self.0.as_ref().and_then(|part| part.message.as_ref());
        message.map_or(0, |message| message.bytes.len())
    }

    /// The next thing that is whole, read from the front of the bytes that came; `None` when all of them
    /// are read, and more must come.
    ///
    /// # Errors
    /// Why the connection must be closed.
    pub(crate) fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Heard>, Close> {
        let part = self.0.get_or_insert_default();
        let heard = part.read(bytes)?;
        let is_empty = part.head_len == 0 && part.frame.is_none() && part.message.is_none();
        if is_empty {
            self.0 = None;
        }
        Ok(heard)
    }
}

impl Part {
    fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Heard>, Close> {
        loop {
            if self.frame.is_none() {
                let Some(frame) = self.read_head(bytes)? else { return Ok(None) };
                self.frame = Some(frame);
            }
            let frame = self.frame.as_mut().expect("it was just read, or was there");
            let (came, rest) = bytes.split_at(frame.left.min(bytes.len()));
            *bytes = rest;
            let into = match (frame.what, &mut self.message) {
                (OpCode::Data(_), Some(message)) => &mut message.bytes,
                _ => &mut self.control,
            };
            into.extend(came.iter().zip(frame.came..).map(|(byte, at)| byte ^ frame.mask[at % 4]));
            frame.came += came.len();
            frame.left -= came.len();
            if let (OpCode::Data(_), Some(message)) = (frame.what, &mut self.message) {
                message.check()?;
            }
            if frame.left > 0 {
                return Ok(None);
            }
            let Frame { what, is_final, came, .. } = self.frame.take().expect("it is there");
            match what {
                OpCode::Data(_) if !is_final && came == 0 => return Ok(Some(Heard::Empty)),
                OpCode::Data(_) if !is_final => {}
                OpCode::Data(_) => {
                    let text = self.message.take().expect("it began with a frame");
                    return text.whole().map(Some);
                }
                OpCode::Control(control) => {
                    let payload = std::mem::take(&mut self.control);
                    return said_of_connection(control, payload).map(Some);
                }
            }
        }
    }

    /// The head of the next frame, once it is whole and as it may be.
    fn read_head(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, Close> {
        let before = self.head_len;
        let taken = bytes.len().min(HEAD_BYTES_MAX - before);
        self.head[before..before + taken].copy_from_slice(&bytes[..taken]);
        self.head_len += taken;
        let mut cursor = Cursor::new(&self.head[..self.head_len]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Close::Protocol)?;
        let Some((header, len)) = parsed else {
            *bytes = &bytes[taken..];
            return Ok(None);
        };
        let head_len = usize::try_from(cursor.position()).expect("a head is short");
        *bytes = &bytes[head_len - before..];
        self.head_len = 0;
        let is_reserved = header.rsv1 || header.rsv2 || header.rsv3;
        // No extension was granted; a client masks what it sends; a length has its shortest form.
        let (false, Some(mask), true) = (is_reserved, header.mask, header.len(len) == head_len)
        else {
            return Err(Close::Protocol);
        };
        match (header.opcode, &self.message) {
            (OpCode::Control(_), _) if header.is_final && len <= CONTROL_BYTES_MAX => {}
            (OpCode::Data(Data::Continue), Some(_)) => {}
            (OpCode::Data(Data::Text), None) => self.message = Some(Text::default()),
            (OpCode::Data(Data::Binary), None) => return Err(Close::Binary),
            _ => return Err(Close::Protocol),
        }
        let before = self.message.as_ref().map_or(0, |message| message.bytes.len());
        let is_data = matches!(header.opcode, OpCode::Data(_));
        let left = usize::try_from(len).unwrap_or(usize::MAX);
        if is_data && left > limits::SOCKET_MESSAGE_BYTES_MAX - before {
            return Err(Close::TooLarge);
        }
        let (what, is_final) = (header.opcode, header.is_final);
        Ok(Some(Frame { what, is_final, mask, came: 0, left }))
    }
}

impl Text {
    /// What came last goes on as text.
    fn check(&mut self) -> Result<(), Close> {
        match std::str::from_utf8(&self.bytes[self.checked..]) {
            Ok(_) => self.checked = self.bytes.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Close::NotUtf8),
        }
        Ok(())
    }

    fn whole(self) -> Result<Heard, Close> {
        let is_whole = self.checked == self.bytes.len();
        if is_whole { Ok(Heard::Text(self.bytes)) } else { Err(Close::NotUtf8) }
    }
}

fn said_of_connection(control: Control, payload: Vec<u8>) -> Result<Heard, Close> {
    match control {
        Control::Ping => Ok(Heard::Ping(payload)),
        Control::Pong => Ok(Heard::Pong),
        Control::Close => {
            let Some((code, reason)) = payload.split_first_chunk() else {
                let is_empty = payload.is_empty();
                return if is_empty { Ok(Heard::Close(None)) } else { Err(Close::Protocol) };
            };
            let code = u16::from_be_bytes(*code);
            if !CloseCode::from(code).is_allowed() {
                return Err(Close::Protocol);
            }
            std::str::from_utf8(reason).map_err(|_| Close::NotUtf8)?;
            Ok(Heard::Close(Some(code)))
        }
        Control::Reserved(_) => Err(Close::Protocol),
    }
}

/// Appends a text, of which each part is a slice.
pub(crate) fn write_text(parts: &[&[u8]], out: &mut Vec<u8>) {
    write_head(OpCode::Data(Data::Text), parts.iter().map(|part| part.len()).sum(), out);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// A ping, whose payload nobody looks at.
pub(crate) const PING: &[u8] = &[0x89, 0];

/// Appends the answer to a ping.
pub(crate) fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write_head(OpCode::Control(Control::Pong), payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends the end of a connection, with a reason that is cut where it is too long.
pub(crate) fn write_close(code: u16, reason: &str, out: &mut Vec<u8>) {
    let is_end = |at: &usize| reason.is_char_boundary(*at);
    let end = (0..=reason.len().min(CONTROL_BYTES_MAX as usize - 2)).rev().find(is_end);
    let reason = &reason[..end.unwrap_or(0)];
    write_head(OpCode::Control(Control::Close), 2 + reason.len(), out);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

fn write_head(opcode: OpCode, len: usize, out: &mut Vec<u8>) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(len as u64, out).expect("a vector takes every byte");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a client sends it; `first` has its kind.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let (is_final, opcode) = (first & 0x80 != 0, OpCode::from(first & 0x0f));
        let header = FrameHeader { is_final, opcode, mask: Some(mask), ..FrameHeader::default() };
        let mut out = Vec::new();
        header.format(payload.len() as u64, &mut out).unwrap();
        out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
        out
    }

    /// What is heard of bytes that come in pieces of a size, and how it ends.
    fn heard(bytes: &[u8], size: usize) -> (Vec<Heard>, Option<Close>) {
        let (mut reader, mut heard) = (Reader::default(), Vec::new());
        for mut piece in bytes.chunks(size) {
            loop {
                match reader.read(&mut piece) {
                    Ok(Some(one)) => heard.push(one),
                    Ok(None) => break,
                    Err(close) => return (heard, Some(close)),
                }
            }
        }
        (heard, None)
    }

    #[test]
    fn what_is_sent_in_pieces_of_any_size_is_heard_as_a_whole() {
        for len in [0, 1, 125, 126, 127, 128, 65_535, 65_536, limits::SOCKET_MESSAGE_BYTES_MAX] {
            let text = vec![b'*'; len];
            let sent = frame(0x81, &text);
            for size in [1, 3, 997, sent.len()] {
                assert_eq!(heard(&sent, size), (vec![Heard::Text(text.clone())], None), "{len}");
            }
        }
    }

    #[test]
    fn a_connection_between_two_messages_holds_nothing() {
        let mut reader = Reader::default();
        let sent = frame(0x81, "κόσμε".as_bytes());
        let mut bytes = &sent[..];
        assert!(reader.read(&mut bytes).unwrap().is_some());
        assert!(reader.0.is_none() && reader.held() == 0);
        assert_eq!(size_of::<Reader>(), 8);
    }

    #[test]
    fn what_is_too_large_is_known_by_its_head() {
        let max = limits::SOCKET_MESSAGE_BYTES_MAX;
        let one = frame(0x81, &vec![b'*'; max + 1]);
        assert_eq!(heard(&one[..14], 14), (vec![], Some(Close::TooLarge)));
        let two = [frame(0x01, &vec![b'*'; max]), frame(0x80, b"*")].concat();
        assert_eq!(heard(&two, 4_096), (vec![], Some(Close::TooLarge)));
        let huge = [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(heard(&huge, 14), (vec![], Some(Close::TooLarge)));
    }

    #[test]
    fn a_text_that_can_be_none_any_more_is_refused_before_its_end() {
        let text = ["κόσμε".as_bytes(), &[0xf4, 0x90]].concat();
        let sent = frame(0x01, &text);
        assert_eq!(heard(&sent, 1), (vec![], Some(Close::NotUtf8)), "no final frame came");
        let cut = [frame(0x01, &[0xce]), frame(0x80, &[0xba])].concat();
        assert_eq!(heard(&cut, 100), (vec![Heard::Text("κ".into())], None), "in two frames");
        assert_eq!(heard(&frame(0x81, &[0xce]), 100), (vec![], Some(Close::NotUtf8)));
    }

    #[test]
    fn a_reason_that_is_too_long_is_cut_between_two_characters() {
        let mut out = Vec::new();
        write_close(4_000, &"é".repeat(100), &mut out);
        assert_eq!(out[..4], [0x88, 124, 0x0f, 0xa0]);
        assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), "é".repeat(61));
    }
}
