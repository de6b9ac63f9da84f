//! Options of a task that its caller sets by header, where the route allows it. `POST /v1/tasks` has
//! them in its body alone.

use std::fmt::Display;
use std::str::FromStr;

use http::{HeaderMap, HeaderName};
use relais_api::{Deadline, Span, Time, codes, fields};
use relais_core::{Asked, InvalidOption, OptionName, Options, Timestamp};

use crate::answer::problem::Refusal;
use crate::routes::{later, moments};

/// What the names of Relais' own fields begin with.
const PREFIX: &str = "relais-";
/// So much is repeated of the name of a field that is not known.
const NAME_SHOWN_BYTES: usize = 64;

/// The field of an option.
const fn field_of(option: OptionName) -> &'static str {
    match option {
        OptionName::RunAt => "relais-run-at",
        OptionName::Delay => "relais-delay",
        OptionName::Priority => "relais-priority",
        OptionName::Lane => "relais-lane",
        OptionName::Deadline => "relais-deadline",
        OptionName::Label => "relais-label",
        OptionName::Retention => "relais-retention",
    }
}

/// Reads the options of a request.
///
/// # Errors
/// For an option of a later order, for one that the route does not allow, and for one that cannot be
/// read.
pub(super) fn of(
    headers: &HeaderMap,
    allow: &[OptionName],
    now: Timestamp,
) -> Result<Options, Refusal> {
    if let Some(option) = given(headers)?.into_iter().find(|option| !allow.contains(option)) {
        let why = format!(
            "the route does not allow `{}`: leave it out, or have the operator add \"{}\" to its \
             `allow`",
            field_of(option),
            option.as_str()
        );
        return Err(Refusal::new(&codes::OPTION_NOT_ALLOWED).because(why));
    }
    asked(headers).and_then(|asked| asked.judge(now)).map_err(|error| {
        let field = field_of(error.option);
        Refusal::new(&codes::INVALID_OPTION).because(format!("`{field}`: {}", error.why))
    })
}

/// Refuses options by header where the body has them.
///
/// # Errors
/// Names the field.
pub(crate) fn refuse(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(option) = given(headers)?.into_iter().next() else { return Ok(()) };
    let why = format!("`{}`: this call has its options in its body only", field_of(option));
    Err(Refusal::new(&codes::INVALID_OPTION).because(why))
}

/// The options that a request has by header. What begins like one and is none would otherwise be
/// taken for done.
fn given(headers: &HeaderMap) -> Result<Vec<OptionName>, Refusal> {
    // First: that the operator should allow it would be no help.
    later::refuse_fields(headers)?;
    let mut options = Vec::new();
    for name in headers.keys().map(HeaderName::as_str) {
        if !name.starts_with(PREFIX) || fields::KNOWN.contains(&name) {
            continue;
        }
        match OptionName::BY_FIELD.into_iter().find(|option| field_of(*option) == name) {
            Some(option) => options.push(option),
            None => {
                let known = OptionName::BY_FIELD.map(|option| format!("`{}`", field_of(option)));
                let shown = &name[..name.len().min(NAME_SHOWN_BYTES)];
                let why = format!("`{shown}` is no option; there are {}", known.join(", "));
                return Err(Refusal::new(&codes::INVALID_OPTION).because(why));
            }
        }
    }
    Ok(options)
}

fn asked(headers: &HeaderMap) -> Result<Asked, InvalidOption> {
    let priority = |text: &str| text.parse::<i64>().map_err(|_| "must be a whole number");
    Ok(Asked {
        run_at: one(headers, OptionName::RunAt, Time::from_str)?.map(moments::stamp),
        delay: one(headers, OptionName::Delay, Span::from_str)?.map(Span::as_duration),
        priority: one(headers, OptionName::Priority, priority)?,
        lane: one(headers, OptionName::Lane, String::from_str)?,
        deadline: one(headers, OptionName::Deadline, Deadline::from_str)?.map(moments::deadline),
        labels: labels(headers)?,
        retention: None,
    })
}

/// The value of an option that may be given once.
fn one<T, E: Display>(
    headers: &HeaderMap,
    option: OptionName,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, InvalidOption> {
    let mut lines = headers.get_all(field_of(option)).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(InvalidOption::new(option, "is given twice"));
    }
    let text = std::str::from_utf8(line.as_bytes());
    let text = text.map_err(|_| InvalidOption::new(option, "is not UTF-8"))?;
    parse(text.trim()).map(Some).map_err(|why| InvalidOption::new(option, why.to_string()))
}

fn labels(headers: &HeaderMap) -> Result<Vec<(String, String)>, InvalidOption> {
    let invalid = |why: &str| InvalidOption::new(OptionName::Label, why);
    let lines = headers.get_all(field_of(OptionName::Label)).iter();
    let pairs = lines.map(|line| {
        let text = std::str::from_utf8(line.as_bytes()).map_err(|_| invalid("is not UTF-8"))?;
        let (name, value) = text.split_once('=').ok_or_else(|| invalid("is not `name=value`"))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;
    use relais_core::{Deadline, LaneKey};

    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_000_000);

    fn read(fields: &[(&'static str, &'static str)]) -> Result<Options, &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        of(&headers, &OptionName::BY_FIELD, NOW).map_err(|refusal| refusal.code().code)
    }

    #[test]
    fn options_are_read() {
        let options = read(&[
            ("relais-delay", "1h30m"),
            ("relais-priority", "-3"),
            ("relais-lane", "customer 17"),
            ("relais-deadline", "2h"),
            ("relais-label", "order=A-1"),
            ("relais-label", "note = a=b"),
            ("relais-attempt", "1"),
            ("x-other", "x"),
        ])
        .expect("all are good");
        assert_eq!(options.run_at, Some(Timestamp::from_ms(1_000_000 + 5_400_000)));
        assert_eq!(options.priority.get(), -3);
        assert_eq!(options.lane.as_ref().map(LaneKey::as_str), Some("customer 17"));
        assert_eq!(options.deadline, Some(Deadline::After(Duration::from_secs(7_200))));
        let labels = [("order", "A-1"), ("note", "a=b")];
        assert_eq!(options.labels, labels.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let at = read(&[("relais-run-at", "1970-01-01T01:00:00Z")]).expect("a time");
        assert_eq!(at.run_at, Some(Timestamp::from_ms(3_600_000)));
        assert_eq!(read(&[]), Ok(Options::default()));
    }

    #[test]
    fn absurd_options_are_refused() {
        // P53: 0, −1, 1e99, NaN…
        for (field, value) in [
            ("relais-delay", "-1s"),
            ("relais-delay", "1e99"),
            ("relais-delay", "NaN"),
            ("relais-delay", ""),
            ("relais-delay", "99999999d"),
            ("relais-run-at", "9999-12-31T00:00:00Z"),
            ("relais-run-at", "tomorrow"),
            ("relais-priority", "11"),
            ("relais-priority", "high"),
            ("relais-lane", ""),
            ("relais-deadline", "0s"),
            ("relais-deadline", "soon"),
            ("relais-deadline", "1970-01-01T00:00:00Z"),
            ("relais-label", "x"),
            ("relais-label", "=x"),
        ] {
            assert_eq!(read(&[(field, value)]), Err("invalid-option"), "{field}: {value}");
        }
        let twice = [("relais-priority", "1"), ("relais-priority", "2")];
        assert_eq!(read(&twice), Err("invalid-option"));
        let both = [("relais-delay", "1s"), ("relais-run-at", "2030-01-01T00:00:00Z")];
        assert_eq!(read(&both), Err("invalid-option"));
    }

    #[test]
    fn options_of_later_orders_are_refused_and_never_ignored() {
        // `Relais-Callback` and `Relais-Await` were dropped without a word.
        for field in ["relais-webhook", "relais-callback", "relais-await"] {
            assert_eq!(read(&[(field, "http://x")]), Err("not-available"), "{field}");
            let mut headers = HeaderMap::new();
            headers.insert(field, HeaderValue::from_static("http://x"));
            let refused = of(&headers, &[], NOW).expect_err("not there, whatever a route allows");
            assert_eq!(refused.code().code, "not-available", "{field}");
        }
    }

    #[test]
    fn a_mistyped_option_is_refused_by_its_name() {
        // `Relais-Dealy: 1h` ran at once.
        for field in ["relais-dealy", "relais-retention"] {
            let mut headers = HeaderMap::new();
            headers.insert(field, HeaderValue::from_static("1h"));
            let refused = of(&headers, &OptionName::BY_FIELD, NOW).expect_err("no such option");
            assert_eq!(refused.code().code, "invalid-option", "{field}");
            let detail = refused.problem("", None).detail.unwrap_or_default();
            assert!(detail.contains(field) && detail.contains("relais-delay"), "{detail}");
        }
    }

    #[test]
    fn a_call_with_its_options_in_its_body_takes_none_by_header() {
        // `POST /v1/tasks` with `Relais-Delay` ran at once.
        for field in ["relais-delay", "relais-label", "relais-dealy"] {
            let mut headers = HeaderMap::new();
            headers.insert(field, HeaderValue::from_static("5s"));
            assert_eq!(refuse(&headers).expect_err("by its name").code().code, "invalid-option");
        }
        assert!(refuse(&HeaderMap::new()).is_ok());
    }

    #[test]
    fn the_field_of_an_option_is_its_word_after_the_prefix() {
        for option in OptionName::BY_FIELD {
            assert_eq!(field_of(option), ["relais-", option.as_str()].concat());
        }
    }

    #[test]
    fn a_known_option_that_the_route_does_not_allow_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert("relais-priority", HeaderValue::from_static("1"));
        let refused = of(&headers, &[OptionName::Delay], NOW).expect_err("only delays are allowed");
        assert_eq!(refused.code().code, "option-not-allowed");
    }
}
