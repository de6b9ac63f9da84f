//! Invoices are valid PDF files.

use crate::http::{order, service};

#[tokio::test]
async fn an_invoice_is_a_valid_pdf_with_the_lines_of_the_order() {
    let shop = service().await;
    let answer = shop.post("/invoices", &order("A/1")).await;
    assert_eq!(answer.field("content-type"), Some("application/pdf"));
    let disposition = answer.field("content-disposition");
    assert_eq!(disposition, Some("attachment; filename=\"invoice-A_1.pdf\""));
    check(&answer.body);
    let text = String::from_utf8_lossy(&answer.body);
    assert!(text.contains("(Invoice A/1)") && text.contains("(Customer: Zo\\351 \\(c-17\\))"));
    for (sku, amount) in [("(P-1 ", "37.50)"), ("(P-2 ", "0.05)"), ("(Total ", "37.55)")] {
        let row = text.lines().find(|line| line.starts_with(sku)).unwrap();
        assert!(row.contains(amount), "{row}");
    }
}

#[tokio::test]
async fn an_invoice_is_padded_to_the_byte_and_stays_valid() {
    let shop = service().await;
    let plain = shop.post("/invoices", &order("A-1")).await.body;
    assert_eq!(shop.post("/invoices?bytes=10", &order("A-1")).await.body, plain);
    for bytes in [plain.len() + 200, 65_536, 5_000_001] {
        let padded = shop.post(&format!("/invoices?bytes={bytes}"), &order("A-1")).await.body;
        assert_eq!(padded.len(), bytes);
        check(&padded);
    }
    let barely = plain.len() + 1;
    let padded = shop.post(&format!("/invoices?bytes={barely}"), &order("A-1")).await.body;
    assert!(padded.len() >= barely);
    check(&padded);
}

#[tokio::test]
async fn a_long_invoice_has_several_pages() {
    let shop = service().await;
    let lines = vec![serde_json::json!({"sku": "P-1", "quantity": 1, "price": "1"}); 500];
    let order = serde_json::json!({"reference": "long", "lines": lines}).to_string();
    let pdf = shop.post("/invoices", &order).await.body;
    check(&pdf);
    assert!(String::from_utf8_lossy(&pdf).contains("/Count 9 "));
}

/// Follows the cross-reference table to every object, and each stream to its end.
fn check(pdf: &[u8]) {
    assert!(pdf.starts_with(b"%PDF-1.4\n") && pdf.ends_with(b"\n%%EOF\n"));
    let tail = String::from_utf8_lossy(&pdf[pdf.len() - 40..]).into_owned();
    let start = tail.split("startxref\n").nth(1).unwrap().lines().next().unwrap();
    let table = std::str::from_utf8(&pdf[start.parse::<usize>().unwrap()..]).unwrap();
    let mut lines = table.split_inclusive('\n');
    assert_eq!(lines.next(), Some("xref\n"));
    let size: usize = lines.next().unwrap().trim().strip_prefix("0 ").unwrap().parse().unwrap();
    assert_eq!(lines.next(), Some("0000000000 65535 f \n"));
    let mut end = 0;
    for number in 1..size {
        let entry = lines.next().unwrap();
        assert!(entry.len() == 20 && entry.ends_with(" 00000 n \n"), "{entry:?}");
        let object = &pdf[entry[..10].parse::<usize>().unwrap()..];
        assert!(object.starts_with(format!("{number} 0 obj\n").as_bytes()), "object {number}");
        end = pdf.len() - object.len() + check_object(object);
    }
    assert_eq!(
        end,
        start.parse::<usize>().unwrap(),
        "nothing is between the objects and the table"
    );
    assert_eq!(lines.next(), Some("trailer\n"));
    assert!(lines.next().unwrap().starts_with(&format!("<< /Size {size} /Root 1 0 R ")));
}

/// Returns the length of the object.
fn check_object(object: &[u8]) -> usize {
    let find = |what: &[u8], from: usize| {
        from + object[from..].windows(what.len()).position(|at| at == what).unwrap()
    };
    let plain_end = find(b"\nendobj\n", 0) + b"\nendobj\n".len();
    let head = String::from_utf8_lossy(&object[..plain_end.min(80)]).into_owned();
    let Some((_, length)) = head.split_once("<< /Length ") else { return plain_end };
    let length: usize = length.split(' ').next().unwrap().parse().unwrap();
    let end = find(b"stream\n", 0) + b"stream\n".len() + length;
    assert!(object[end..].starts_with(b"\nendstream\nendobj\n"), "the length of a stream is right");
    end + b"\nendstream\nendobj\n".len()
}
