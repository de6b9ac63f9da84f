//! Pages with gaps: `{{name}}` stands for a text.

/// Puts into each gap what `said` has for its name; a gap without a text stays as it is.
pub(super) fn fill(template: &str, said: impl Fn(&str) -> Option<String>) -> String {
    let mut page = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{{") {
        page.push_str(before);
        let Some((name, after)) = behind.split_once("}}") else {
            page.push_str("{{");
            rest = behind;
            continue;
        };
        match said(name) {
            Some(text) => page.push_str(&text),
            None => page.extend(["{{", name, "}}"]),
        }
        rest = after;
    }
    page + rest
}

/// The ways of being told, each with the gaps of its own words.
pub(super) fn ways() -> String {
    let way = |(name, more): &(&str, &str)| {
        include_str!("../../page/way.html").replace("WAY", name).replace("{{more}}", more)
    };
    WAYS.iter().map(way).collect()
}

/// The lines of code of a way.
pub(super) fn code(name: &str) -> Option<&'static str> {
    let text = match name {
        "submit" => include_str!("../../page/code/submit.js"),
        "sync" => include_str!("../../page/code/sync.js"),
        "poll" => include_str!("../../page/code/poll.js"),
        "long-poll" => include_str!("../../page/code/long-poll.js"),
        "sse" => include_str!("../../page/code/sse.js"),
        "websocket" => include_str!("../../page/code/websocket.js"),
        "chat" => include_str!("../../page/code/chat.js"),
        "form" => include_str!("../../page/code/form.html"),
        "element" => include_str!("../../page/code/element.html"),
        "word" => include_str!("../../page/code/word.js"),
        _ => return None,
    };
    Some(text.trim_end())
}

/// A text as it may stand in HTML, in an attribute, too.
pub(super) fn escaped(text: impl AsRef<str>) -> String {
    let mut safe = String::with_capacity(text.as_ref().len());
    for c in text.as_ref().chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// The names, and what only one of them has.
const WAYS: [(&str, &str); 5] = [
    ("sync", ""),
    ("poll", include_str!("../../page/interval.html")),
    ("long-poll", ""),
    ("sse", ""),
    ("websocket", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_and_what_is_put_in_is_not_read_again() {
        let said = |name: &str| (name == "a").then(|| "{{b}}".to_owned());
        assert_eq!(fill("1 {{a}} 2 {{b}} 3 {{", said), "1 {{b}} 2 {{b}} 3 {{");
        assert_eq!(fill("", said), "");
    }

    #[test]
    fn a_text_is_no_markup() {
        assert_eq!(escaped("<b a=\"'&\">"), "&lt;b a=&quot;&#39;&amp;&quot;&gt;");
    }
}
