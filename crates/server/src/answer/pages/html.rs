//! Markup in the making: what is not part of the program is escaped, there is no other way in.

/// Markup, and text that cannot become any.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup of our own.
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Somebody's text, also as the value of an attribute in double quotes.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                character => self.0.push(character),
            }
        }
        self
    }

    /// More that was made the same way.
    pub(super) fn html(&mut self, other: &Self) -> &mut Self {
        self.0.push_str(&other.0);
        self
    }

    /// A sentence with something else in the place of its `%`, if it has one.
    pub(super) fn sentence(&mut self, sentence: &str, value: impl FnOnce(&mut Self)) -> &mut Self {
        match sentence.split_once('%') {
            Some((before, after)) => {
                self.text(before);
                value(self);
                self.text(after)
            }
            None => self.text(sentence),
        }
    }

    /// What there is to say of a value, if there is one.
    pub(super) fn given<T>(
        &mut self,
        value: Option<T>,
        then: impl FnOnce(&mut Self, T),
    ) -> &mut Self {
        if let Some(value) = value {
            then(self, value);
        }
        self
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut html = Html::default();
        html.markup("<p title=\"").text("\"'><script>&").markup("\">");
        assert_eq!(html.as_str(), "<p title=\"&quot;&#39;&gt;&lt;script&gt;&amp;\">");
        let mut sentence = Html::default();
        sentence.sentence("a % b", |html| {
            html.text("<%>");
        });
        assert_eq!(sentence.into_string(), "a &lt;%&gt; b");
    }
}
