//! A client of the WebSocket that sees every byte, and may send any.

use serde_json::Value;

use crate::house::{Client, House, Reply};

/// The key of every handshake: the example of RFC 6455, 1.3.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The mask of every frame.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An open WebSocket.
pub(crate) struct Ws {
    pub(crate) client: Client,
}

/// A handshake, with these fields besides.
pub(crate) fn handshake(fields: &str) -> String {
    format!(
        "GET /v1/ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\
         sec-websocket-protocol: relais.v1.json\r\n{fields}\r\n"
    )
}

/// A frame as a client sends it; `first` has its kind.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ MASK[at % 4]));
    out
}

/// A document as a frame.
pub(crate) fn text(document: &Value) -> Vec<u8> {
    frame(0x81, document.to_string().as_bytes())
}

/// Submits by HTTP; answers the body of the 202.
pub(crate) async fn post(house: &House, document: &Value) -> Value {
    let body = document.to_string();
    let request = format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\nrelais-api-key: rk_all\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let with_key = house.call(&request).await;
    // A server without keys knows none.
    let reply = match with_key.status {
        401 => house.call(&request.replace("relais-api-key: rk_all\r\n", "")).await,
        _ => with_key,
    };
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply.json()
}

/// A task of the queue `work`, for workers.
pub(crate) async fn task(house: &House) -> String {
    let accepted = post(house, &serde_json::json!({"queue": "work", "input": {}})).await;
    accepted["id"].as_str().unwrap().to_owned()
}

/// Leases the next task of the queue `work`, and settles it with this result.
pub(crate) async fn settle(house: &House, result: Value) {
    let lease = "POST /v1/queues/work/leases HTTP/1.1\r\nhost: localhost\r\nrelais-api-key: rk_all\r\n\
                 content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let mut leased = house.call(lease).await;
    if leased.status == 401 {
        leased = house.call(&lease.replace("relais-api-key: rk_all\r\n", "")).await;
    }
    let token = leased.json()["leases"][0]["token"].clone();
    let item = serde_json::json!({"token": token, "outcome": "succeed", "result": result});
    let body = serde_json::json!({ "items": [item] }).to_string();
    let settle = format!(
        "POST /v1/leases/settle HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let settled = house.call(&settle).await;
    assert_eq!(settled.json()["items"][0]["status"], 200, "{}", settled.text());
}

impl Ws {
    /// One whose handshake has these fields besides.
    pub(crate) async fn open(house: &House, fields: &str) -> Self {
        let (ws, head) = Self::shake(house, &handshake(fields)).await;
        assert_eq!(head.status, 101, "{}", head.text());
        assert_eq!(head.field("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(head.field("sec-websocket-protocol"), "relais.v1.json");
        assert_eq!(head.field("sec-websocket-extensions"), "");
        ws
    }

    /// One for which the system keeps little of what it does not read. It was told that it is known.
    pub(crate) async fn with_little_room(house: &House) -> Self {
        let mut client = Client::with_little_room(house.address).await;
        client.send(handshake("")).await;
        assert_eq!(client.head().await.status, 101);
        let mut ws = Self { client };
        assert_eq!(ws.json().await["op"], "ready");
        ws
    }

    /// Sends a handshake, and reads the head of what answers it.
    pub(crate) async fn shake(house: &House, handshake: &str) -> (Self, Reply) {
        let mut client = house.send(handshake).await;
        let head = client.head().await;
        (Self { client }, head)
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.client.send(bytes).await;
    }

    pub(crate) async fn say(&mut self, document: Value) {
        self.raw(&text(&document)).await;
    }

    /// The next frame: its kind, with the bit for the last of a message, and its payload.
    pub(crate) async fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.client.bytes(2).await;
        assert_eq!(head[0] & 0x70, 0, "no extension was granted");
        assert_eq!(head[1] & 0x80, 0, "a server masks nothing");
        let len = match head[1] {
            126 => u16::from_be_bytes(self.client.bytes(2).await.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.client.bytes(8).await.try_into().unwrap()),
            len => u64::from(len),
        };
        (head[0], self.client.bytes(usize::try_from(len).unwrap()).await)
    }

    /// The next frame, however long it takes.
    pub(crate) async fn late_frame(&mut self) -> (u8, Vec<u8>) {
        if self.client.has_read_all() {
            self.client.stream.readable().await.unwrap();
        }
        self.frame().await
    }

    /// The next document; a close instead fails the test.
    pub(crate) async fn json(&mut self) -> Value {
        loop {
            let (kind, payload) = self.frame().await;
            match kind {
                0x81 => return serde_json::from_slice(&payload).unwrap(),
                0x89 => self.raw(&frame(0x8a, &payload)).await,
                _ => panic!("{kind:x}: {}", String::from_utf8_lossy(&payload)),
            }
        }
    }

    /// The code of the close that comes, behind whatever else was said. Pings are answered, the close is not.
    pub(crate) async fn told_to_close(&mut self) -> u16 {
        loop {
            let (kind, payload) = self.late_frame().await;
            match kind {
                0x88 => return u16::from_be_bytes([payload[0], payload[1]]),
                0x89 => self.raw(&frame(0x8a, &payload)).await,
                _ => {}
            }
        }
    }

    /// All documents up to one that is awaited.
    pub(crate) async fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut told = Vec::new();
        loop {
            told.push(self.json().await);
            if is_it(told.last().unwrap()) {
                return told;
            }
        }
    }

    /// All events of a task up to the first of a kind.
    pub(crate) async fn events_until(&mut self, id: &str, kind: &str) -> Vec<Value> {
        let is_of_it = |frame: &Value| frame["event"]["task"] == id;
        let told = self.until(|frame| is_of_it(frame) && frame["event"]["type"] == kind).await;
        told.into_iter().filter(is_of_it).collect()
    }

    /// Why Relais closes: the code and the reason, behind whatever else was said. It closes its side
    /// once the close is answered.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let (code, reason) = loop {
            let (kind, payload) = self.frame().await;
            if kind == 0x88 {
                let (code, reason) = payload.split_first_chunk().expect("a code");
                break (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap());
            }
        };
        // It may be gone by itself.
        let _ = tokio::io::AsyncWriteExt::write_all(
            &mut self.client.stream,
            &frame(0x88, &code.to_be_bytes()),
        )
        .await;
        assert!(self.client.rest().await.0.is_empty(), "nothing comes behind a close");
        (code, reason)
    }
}
