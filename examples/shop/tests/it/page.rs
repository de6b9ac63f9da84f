//! What people and their browsers are served.

use serde_json::{Value, json};
use shop::limits::{QUESTION_BYTES_MAX, SAMPLE_LINES_MAX};

use crate::http::{Answer, Service, read, service};

impl Service {
    async fn get_with(&self, target: &str, fields: &str) -> Answer {
        read(self.open("GET", target, 0, fields).await).await.expect("an answer")
    }
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

#[tokio::test]
async fn a_page_speaks_the_language_of_its_reader_unless_the_address_names_one() {
    let shop = service().await;
    for (target, accept, lang, said) in [
        ("/", "", "en", "Slow work, without the wait"),
        ("/", "accept-language: fr-FR, en;q=0.5\r\n", "fr", "Un travail lent, sans attendre"),
        ("/?lang=en", "accept-language: fr\r\n", "en", "Import 25,000 products"),
        ("/elsewhere?lang=fr", "", "fr", "Pendant ce temps"),
    ] {
        let page = shop.get_with(target, accept).await;
        assert_eq!((page.status, page.field("content-language")), (200, Some(lang)), "{target}");
        assert!(text(&page).contains(&format!("<html lang=\"{lang}\">")), "{target}");
        assert!(text(&page).contains(said), "{target}");
        assert!(!text(&page).contains("{{"), "no gap is left: {target}");
        assert_eq!(page.field("vary"), Some("accept-language"));
    }
    assert_eq!(shop.get("/?lang=xx").await.status, 400);
}

#[tokio::test]
async fn a_page_loads_nothing_from_elsewhere_and_all_that_it_loads_is_there() {
    let shop = service().await;
    let page = shop.get("/").await;
    let mut names: Vec<String> = linked(text(&page), "assets/");
    let scripts = names.iter().filter(|name| name.ends_with(".js")).count();
    assert_eq!((names.len(), scripts), (6, 1), "{names:?}");
    let mut at = 0;
    while at < names.len() {
        let file = shop.get(&format!("/assets/{}", names[at])).await;
        assert_eq!(file.status, 200, "{}", names[at]);
        assert!(!text(&file).contains("url("), "{}", names[at]);
        let imported = linked(text(&file), "'./").into_iter();
        let new: Vec<String> = imported.filter(|name| !names.contains(name)).collect();
        names.extend(new);
        at += 1;
    }
    assert!(names.contains(&"way-websocket.js".to_owned()), "{names:?}");
    for origin in ["src=\"http", "href=\"http", "src=\"//"] {
        assert!(!text(&page).contains(origin), "{origin}");
    }
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    assert_eq!(shop.get("/assets/nothing.js").await.status, 404);
}

/// What stands between `before` and the next quote.
fn linked(text: &str, before: &str) -> Vec<String> {
    let pieces = text.split(before).skip(1);
    let names = pieces.filter_map(|piece| piece.split(['"', '\'']).next());
    names.map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn a_browser_is_told_from_others_by_a_cookie_that_it_is_given_once() {
    let shop = service().await;
    let given = async |fields| {
        let page = shop.get_with("/", fields).await;
        page.field("set-cookie").map(ToOwned::to_owned)
    };
    let (one, other) = (given("").await.unwrap(), given("cookie: a=b\r\n").await.unwrap());
    assert!(one.starts_with("customer=c-") && one != other, "{one}, {other}");
    assert_eq!(given("cookie: a=b; customer=c-1\r\n").await, None);
}

#[tokio::test]
async fn an_import_whose_caller_waits_is_the_import_of_the_worker() {
    let shop = service().await;
    let sample = shop.get("/samples/products.csv?lines=2000").await;
    assert_eq!(sample.field("content-type"), Some("text/csv"));
    let done = shop.post("/imports/now", &sample.body).await;
    let result = done.json();
    assert_eq!(
        (done.status, &result["imported"], &result["rejected"]),
        (200, &json!(1998), &json!(2))
    );
    assert_eq!(shop.post("/imports/now", "a,b\n").await.status, 422);
    let largest = shop.get(&format!("/samples/products.csv?lines={SAMPLE_LINES_MAX}")).await;
    assert_eq!(shop.post("/imports/now", &largest.body).await.json()["lines"], SAMPLE_LINES_MAX);
    let beyond = format!("/samples/products.csv?lines={}", SAMPLE_LINES_MAX + 1);
    assert_eq!(shop.get(&beyond).await.status, 400);
}

#[tokio::test]
async fn a_form_leads_to_the_page_of_its_order() {
    let shop = service().await;
    let order = async |body: &str| shop.form("/checkout?slow=0&lang=fr", body).await;
    let sent = order("reference=%3Cb%3E&article=lamp&quantity=2").await;
    assert_eq!((sent.status, sent.field("location")), (303, Some("checkout/SO-000001?lang=fr")));
    let page = shop.get("/checkout/SO-000001?lang=fr").await;
    for said in ["&lt;b&gt;", "99,80&nbsp;€", "Lampe"] {
        assert!(text(&page).contains(said), "{}", text(&page));
    }
    assert!(text(&shop.get("/checkout/SO-000001?lang=en").await).contains("99.80&nbsp;€"));
    assert!(text(&page).contains("href=\"../assets/base.css\""), "it lies a folder deeper");
    assert!(!text(&page).contains("{{"));
    assert_eq!(order("reference=a&article=castle&quantity=1").await.status, 422);
    assert_eq!(order("reference=&article=lamp&quantity=1").await.status, 422);
    assert_eq!(order("article=lamp").await.status, 422);
    assert_eq!(shop.get("/orders").await.json()["count"], 1);
    for number in ["SO-000002", "SO-1", "SO-000000", "x"] {
        assert_eq!(shop.get(&format!("/checkout/{number}")).await.status, 404, "{number}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_bit_by_bit_has_the_same_bytes_each_time() {
    let shop = service().await;
    let ask = async |question: &str, lang: &str| {
        let body = json!({"question": question, "lang": lang}).to_string();
        shop.pieces("/assistant?slow=0", &body).await
    };
    let whole = include_str!("../../page/answers/fails.fr.txt").trim_end();
    let (pieces, answer) = ask("Et si cela échoue ?", "fr").await;
    assert_eq!(answer, whole);
    assert!(pieces > 50, "{pieces} pieces");
    assert_eq!(ask("Et si cela échoue ?", "fr").await.1, whole);
    let english = include_str!("../../page/answers/why.en.txt").trim_end();
    assert_eq!(ask("Hello", "en").await.1, english);
    let long = json!({"question": "a".repeat(QUESTION_BYTES_MAX + 1), "lang": "en"});
    assert_eq!(shop.post("/assistant", long.to_string()).await.status, 422);
    let target = "/assistant?slow=600001";
    assert_eq!(
        shop.post(target, json!({"question": "", "lang": "en"}).to_string()).await.status,
        400
    );
    let strange: Value = json!({"question": "", "lang": "tlh"});
    assert_eq!(shop.post("/assistant", strange.to_string()).await.status, 422);
}
