//! A browser that a person goes somewhere with.

use super::{House, Reply};

const ACCEPT: &str = "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";
pub(crate) const GOES: &str = "sec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";

/// A browser with the cookies that it was given, and those of the service.
#[derive(Default, Clone)]
pub(crate) struct Browser {
    pub(crate) cookies: Vec<String>,
    pub(crate) fields: String,
}

impl Browser {
    pub(crate) fn new() -> Self {
        Self { cookies: vec!["login=alice".to_owned()], fields: [ACCEPT, GOES].concat() }
    }

    pub(crate) fn with(&self, fields: &str) -> Self {
        Self { fields: [ACCEPT, fields].concat(), ..self.clone() }
    }

    pub(crate) fn request(&self, house: &House, line: &str, body: &str) -> String {
        let host = format!("host: {}\r\ncookie: {}\r\n", house.address, self.cookies.join("; "));
        let len = if body.is_empty() {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        format!("{line} HTTP/1.1\r\n{host}{}{len}\r\n{body}", self.fields)
    }

    pub(crate) async fn go(&mut self, house: &House, line: &str) -> Reply {
        self.send(house, line, "").await
    }

    pub(crate) async fn send(&mut self, house: &House, line: &str, body: &str) -> Reply {
        let reply = house.call(&self.request(house, line, body)).await;
        self.keep(&reply);
        reply
    }

    fn keep(&mut self, reply: &Reply) {
        for line in reply.all("set-cookie") {
            let pair = line.split(';').next().unwrap().to_owned();
            let name = pair.split('=').next().unwrap();
            self.cookies.retain(|cookie| cookie.split('=').next() != Some(name));
            self.cookies.push(pair);
        }
    }

    /// Where the page of a task leads by itself.
    pub(crate) async fn page(&mut self, house: &House, task: &Reply) -> (Reply, String) {
        let page = self.go(house, &format!("GET {}", task.field("location"))).await;
        assert_eq!((page.status, page.field("content-type")), (200, "text/html; charset=utf-8"));
        let next = page.text().split_once("data-next=\"").unwrap().1;
        let next = next.split('"').next().unwrap().replace("&amp;", "&");
        (page, next)
    }
}

pub(crate) fn led(reply: &Reply) -> &Reply {
    assert_eq!(reply.status, 303, "{reply:?}");
    reply
}
