//! The Markdown of the problems' pages, of which only headings, paragraphs, code and fenced
//! blocks are used.

use super::html::Html;

pub(super) fn render(text: &str, html: &mut Html) {
    let mut is_fenced = false;
    let mut paragraph = String::new();
    for line in text.lines() {
        let ends = line.is_empty() || line.starts_with("```") || line.starts_with('#');
        if !is_fenced && ends && !paragraph.is_empty() {
            say(&paragraph, html);
            paragraph.clear();
        }
        if line.starts_with("```") {
            is_fenced = !is_fenced;
            html.markup(if is_fenced { "<pre tabindex=\"0\">" } else { "</pre>\n" });
        } else if is_fenced {
            html.text(line).markup("\n");
        } else if let Some(title) = line.strip_prefix("## ") {
            html.markup("<h2>").text(title).markup("</h2>\n");
        } else if let Some(title) = line.strip_prefix("# ") {
            html.markup("<h1>").text(title).markup("</h1>\n");
        } else {
            paragraph.push_str(&line.replace("**", ""));
            paragraph.push(' ');
        }
    }
    if !paragraph.trim().is_empty() {
        say(&paragraph, html);
    }
}

/// A paragraph: what stands between backticks is code.
fn say(paragraph: &str, html: &mut Html) {
    html.markup("<p>");
    for (place, part) in paragraph.trim().split('`').enumerate() {
        if place % 2 == 0 {
            html.text(part);
        } else {
            html.markup("<code>").text(part).markup("</code>");
        }
    }
    html.markup("</p>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_a_page() {
        for code in relais_api::CODES {
            let mut html = Html::default();
            render(code.page(), &mut html);
            let page = html.as_str();
            assert!(page.starts_with(&format!("<h1>{}</h1>", code.code)), "{}", code.code);
            assert_eq!(page.matches("<pre").count(), page.matches("</pre>").count());
        }
    }

    #[test]
    fn what_stands_between_backticks_is_code() {
        let mut html = Html::default();
        render("Send `a < b`\nagain.\n", &mut html);
        assert_eq!(html.as_str(), "<p>Send <code>a &lt; b</code> again.</p>\n");
    }
}
