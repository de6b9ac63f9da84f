//! Query parameters: those that a call knows, each once. What is unknown is refused, not ignored.

use axum::extract::Query;
use http::Uri;

use crate::answer::problem::Refusal;

/// Reads a label as `name=value`.
///
/// # Errors
/// When there is no `=`.
pub(crate) fn label_of(text: &str) -> Result<(String, String), Refusal> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| Refusal::parameter("label", "expected name=value"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The query parameters of a call.
#[derive(Debug, Default)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads the query. `known` are the parameters of this call; `ticket` is known to all.
    ///
    /// # Errors
    /// Names what is not known, or is given twice.
    pub(crate) fn of(uri: &Uri, known: &[&str]) -> Result<Self, Refusal> {
        let params = Self::repeatable(uri, known, &[])?;
        Ok(params)
    }

    /// The same, where the parameters in `repeatable` may be given several times.
    ///
    /// # Errors
    /// Names what is not known, or is given twice.
    pub(crate) fn repeatable(
        uri: &Uri,
        known: &[&str],
        repeatable: &[&str],
    ) -> Result<Self, Refusal> {
        let pairs = pairs(uri)?;
        for (index, (name, _)) in pairs.iter().enumerate() {
            if repeatable.contains(&name.as_str()) {
                continue;
            }
            if name != "ticket" && !known.contains(&name.as_str()) {
                return Err(Refusal::parameter(&shown(name), "is not known here"));
            }
            if pairs[..index].iter().any(|(other, _)| other == name) {
                return Err(Refusal::parameter(name, "is given twice"));
            }
        }
        Ok(Self { pairs })
    }

    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter, parsed.
    ///
    /// # Errors
    /// When it is not what the parameter takes: `expected`.
    pub(crate) fn parse<T: std::str::FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Refusal> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Refusal::parameter(name, format_args!("expected {expected}")))
        };
        self.get(name).map(parse).transpose()
    }

    /// The value of a number within a range.
    ///
    /// # Errors
    /// When it is not such a number.
    pub(crate) fn number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Refusal> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let Some(text) = self.get(name) else { return Ok(None) };
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if is_plain && range.contains(&number) => Ok(Some(number)),
            _ => Err(Refusal::parameter(name, format_args!("expected {expected}"))),
        }
    }
}

/// The first value of one parameter, whatever the others are.
///
/// # Errors
/// When the query cannot be read.
pub(crate) fn first(uri: &Uri, name: &str) -> Result<Option<String>, Refusal> {
    Ok(every(uri, name)?.into_iter().next())
}

/// All values of one parameter, whatever the others are.
///
/// # Errors
/// When the query cannot be read.
pub(crate) fn every(uri: &Uri, name: &str) -> Result<Vec<String>, Refusal> {
    if uri.query().is_none_or(|query| !query.contains(name)) {
        return Ok(Vec::new());
    }
    let values = pairs(uri)?.into_iter().filter(|(other, _)| other == name);
    Ok(values.map(|(_, value)| value).collect())
}

fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Refusal> {
    Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map(|Query(pairs)| pairs)
        .map_err(|_| Refusal::parameter("query", "cannot be read"))
}

/// What may be quoted of somebody's text.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}
