//! What a program writes: its result, and its last words.

use std::io::Write as _;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, BufReader};

use super::reports::{Line, next_line};

/// Standard output, in memory as long as it is small.
#[derive(Debug)]
pub(super) enum Captured {
    /// All of it.
    Whole(Bytes),
    /// All of it, in a file that is gone when it is closed.
    Spilled(std::fs::File),
}

impl Captured {
    /// Reads to the end; `None` when there is more than `limit` bytes.
    pub(super) async fn read(
        stdout: Option<impl AsyncRead + Unpin>,
        limit: u64,
    ) -> anyhow::Result<Option<Self>> {
        match stdout {
            Some(stdout) => read(stdout, limit).await,
            None => Ok(Some(Self::Whole(Bytes::new()))),
        }
    }
}

async fn read(mut stdout: impl AsyncRead + Unpin, limit: u64) -> anyhow::Result<Option<Captured>> {
    let mut bytes = BytesMut::new();
    let mut file: Option<std::fs::File> = None;
    let mut total = 0;
    loop {
        bytes.reserve(PIECE_BYTES);
        let len = stdout.read_buf(&mut bytes).await?;
        total += len as u64;
        if total > limit {
            return Ok(None);
        }
        if len == 0 {
            break;
        }
        if bytes.len() >= MEMORY_BYTES_MAX || file.is_some() {
            let piece = bytes.split();
            let mut target = match file.take() {
                Some(file) => file,
                None => tempfile::tempfile()?,
            };
            // The page cache takes it; a disk that does not keep up must not stop other programs.
            file = Some(
                tokio::task::spawn_blocking(move || target.write_all(&piece).map(|()| target))
                    .await??,
            );
        }
    }
    Ok(Some(match file {
        Some(file) => Captured::Spilled(file),
        None => Captured::Whole(bytes.freeze()),
    }))
}

/// Passes standard error on, and keeps its last line that says something.
pub(super) async fn last_words(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let Some(stderr) = stderr else { return String::new() };
    let mut reader = BufReader::new(stderr);
    let mut last = String::new();
    while let Ok(Some(line)) = next_line(&mut reader, LINE_BYTES_MAX).await {
        let (Line::Whole(bytes) | Line::Cut(bytes)) = line;
        let text = clean(&String::from_utf8_lossy(&bytes));
        crate::cli::show::error(&text);
        if !text.trim().is_empty() {
            last = text.trim().to_owned();
        }
    }
    last
}

/// A line without colours and other control characters, and not too long for a message.
fn clean(line: &str) -> String {
    let mut text = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // An escape sequence ends at its first letter.
            let _ = chars.by_ref().find(char::is_ascii_alphabetic);
        } else if c == '\t' {
            text.push(' ');
        } else if !c.is_control() {
            text.push(c);
        }
        if text.len() >= LINE_BYTES_MAX {
            break;
        }
    }
    text
}

/// What stays in memory: as much as a settle carries itself.
const MEMORY_BYTES_MAX: usize = 64 << 10;
const PIECE_BYTES: usize = 16 << 10;
/// Longest line of standard error that is kept: a message has at most 2,048 bytes.
const LINE_BYTES_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_cleaned_and_bounded() {
        assert_eq!(clean("\u{1b}[31mno\u{1b}[0m\tsuch\u{7} file\r"), "no such file");
        assert!(clean(&"é".repeat(5_000)).len() <= LINE_BYTES_MAX + 1);
    }

    #[tokio::test]
    async fn a_result_is_kept_whole_up_to_its_limit() {
        let bytes = |len: usize| vec![b'x'; len];
        let small = read(&bytes(1000)[..], 1000).await.unwrap();
        assert!(matches!(small, Some(Captured::Whole(bytes)) if bytes.len() == 1000));
        let Some(Captured::Spilled(file)) = read(&bytes(200_000)[..], 200_000).await.unwrap()
        else {
            panic!("it is large")
        };
        assert_eq!(file.metadata().unwrap().len(), 200_000);
        assert!(read(&bytes(1001)[..], 1000).await.unwrap().is_none());
    }
}
