//! What the engine stores of requests, answers and tasks, as bytes (`tests/rows/`): see the store's
//! test of its rows for what to do where they differ.

use relais_core::Grants;
use relais_engine::envelope::decode;
use relais_engine::{Access, Calling, Context, Presented, RequestHead, ResultHead, Sight};
use relais_store::row;

/// The context of a task for an upstream, bound to its caller.
fn context() -> Context {
    Context {
        calling: Some(Calling {
            upstream: "http://a/base".to_owned(),
            host: Some("a.example".to_owned()),
            idempotency_key: Some("k".to_owned()),
            traceparent: "00-1-2-00".to_owned(),
            forwarded: "for=_x".to_owned(),
            may_report: true,
        }),
        presented: Presented {
            called_as: "https://b".to_owned(),
            called_target: "/orders?x=1".to_owned(),
        },
        sight: Sight {
            access: Access::Caller { field: "authorization".to_owned(), mac: Some([7; 32]) },
            grants: Grants { read: true, cancel: true, retry: false },
        },
    }
}

fn of_workers(access: Access) -> Context {
    let Context { presented, sight, .. } = context();
    Context { calling: None, presented, sight: Sight { access, ..sight } }
}

fn request() -> RequestHead {
    RequestHead {
        method: "POST".to_owned(),
        target: "/orders?x=1".to_owned(),
        fields: vec![("x-a".to_owned(), "1".into()), ("x-a".to_owned(), "\u{e9}".into())],
        params: vec![("id".to_owned(), "7".to_owned())],
    }
}

fn answer() -> ResultHead {
    let fields = vec![("content-type".to_owned(), "text/plain".into())];
    ResultHead { status: 201, fields, has_body: true }
}

fn encode<T: minicbor::Encode<u32>>(envelope: &T) -> Vec<u8> {
    row::encode(envelope, row::FORMAT)
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn envelopes_are_written_as_their_format_says_and_read_back() {
    let contexts = [context(), of_workers(Access::Ticket), of_workers(Access::Key)];
    let mut rows: Vec<_> = contexts.iter().map(encode).collect();
    rows.extend([encode(&request()), encode(&answer())]);
    let fresh: String = rows.iter().map(|bytes| hex_of(bytes) + "\n").collect();
    let file = format!("{}/tests/rows/{}.txt", env!("CARGO_MANIFEST_DIR"), row::FORMAT);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &fresh).unwrap();
    }
    assert!(std::fs::read_to_string(file).unwrap() == fresh, "what is stored changed:\n{fresh}");
    for (bytes, expected) in rows.iter().zip(contexts) {
        assert_eq!(decode::<Context>(bytes).unwrap(), expected);
    }
    assert_eq!(decode::<RequestHead>(&rows[3]).unwrap(), request());
    assert_eq!(decode::<ResultHead>(&rows[4]).unwrap(), answer());
}
