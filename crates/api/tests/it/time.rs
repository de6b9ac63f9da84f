use proptest::prelude::*;
use relais_api::{Rate, Span, Time};

#[test]
fn a_time_is_written_in_utc_with_exactly_milliseconds() {
    for (ms, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_795_341_605_007, "2026-11-22T10:00:05.007Z"),
        (Time::MIN.as_ms(), "0000-01-01T00:00:00.000Z"),
        (Time::MAX.as_ms(), "9999-12-31T23:59:59.999Z"),
    ] {
        let time = Time::from_ms(ms);
        assert_eq!(time.to_string(), text);
        assert_eq!(serde_json::to_string(&time).unwrap(), format!("{text:?}"));
        assert_eq!(text.parse(), Ok(time));
    }
}

#[test]
fn a_time_is_read_from_any_text_of_rfc_3339() {
    for (text, ms) in [
        ("1985-04-12T23:20:50.52Z", 482_196_050_520),
        ("1996-12-19T16:39:57-08:00", 851_042_397_000),
        ("1990-12-31T23:59:60Z", 662_687_999_000),
        ("1937-01-01T12:00:27.87+00:20", -1_041_337_172_130),
        ("2026-11-22t10:00:05z", 1_795_341_605_000),
        ("2026-11-22T10:00:05.0079999Z", 1_795_341_605_007),
        ("1969-12-31T23:59:59.9995Z", -1),
        ("2026-11-22T10:00:05-00:00", 1_795_341_605_000),
    ] {
        assert_eq!(text.parse::<Time>().map(Time::as_ms), Ok(ms), "{text}");
    }
}

#[test]
fn what_is_not_rfc_3339_is_not_a_time() {
    for text in [
        "",
        "now",
        "2026-11-22",
        "2026-11-22T10:00Z",
        "2026-11-22T10:00:05",
        "2026-11-22 10:00:05Z",
        "2026-11-22T10:00:05,5Z",
        "2026-11-22T10:00:05.Z",
        "2026-11-22T10:00:05.0000000001Z",
        "2026-11-22T10:00:05+0100",
        "2026-11-22T10:00:05+01",
        "2026-11-22T10:00:05+01:00[Europe/Paris]",
        "2026-13-22T10:00:05Z",
        "2026-02-29T10:00:05Z",
        "2026-11-22T25:00:05Z",
        "2026-11-22T10:00:05+25:00",
        "+002026-11-22T10:00:05Z",
        "0000-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "1795341605000",
        "２026-11-22T10:00:05Z",
    ] {
        let error = text.parse::<Time>().unwrap_err().to_string();
        assert!(error.contains("is not a time"), "{text}: {error}");
    }
}

#[test]
fn a_duration_is_whole_numbers_with_units() {
    for (text, ms, written) in [
        ("30s", 30_000, "30s"),
        ("5m", 300_000, "5m"),
        ("1h30m", 5_400_000, "1h30m"),
        ("90m", 5_400_000, "1h30m"),
        ("250ms", 250, "250ms"),
        ("7d", 604_800_000, "7d"),
        ("24h", 86_400_000, "1d"),
        ("1m0s", 60_000, "1m"),
        ("1d2h3m4s5ms", 93_784_005, "1d2h3m4s5ms"),
        ("1h5ms", 3_600_005, "1h5ms"),
        ("0s", 0, "0s"),
        ("0ms", 0, "0s"),
        ("007s", 7000, "7s"),
        ("1500ms", 1500, "1s500ms"),
        ("3650d", 315_360_000_000, "3650d"),
        ("87600h", 315_360_000_000, "3650d"),
    ] {
        let span: Span = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((span.as_ms(), span.to_string().as_str()), (ms, written), "{text}");
    }
}

#[test]
fn a_duration_that_is_refused_says_why() {
    for (text, why) in [
        ("", "it is empty"),
        ("0", "no unit"),
        ("30", "no unit"),
        ("1h30", "no unit"),
        ("-1", "cannot be negative"),
        ("-1s", "cannot be negative"),
        ("+1s", "whole number"),
        ("1e99", "the units are"),
        ("1e9s", "the units are"),
        ("NaN", "whole number"),
        ("inf", "whole number"),
        ("s", "whole number"),
        ("1.5h", "numbers are whole"),
        ("1,5h", "numbers are whole"),
        // It said that the number has no unit.
        ("20 s", "a space in it"),
        (" 1s", "a space in it"),
        ("1s ", "a space in it"),
        ("1h 30m", "a space in it"),
        ("30m1h", "largest to the smallest"),
        ("1s1s", "largest to the smallest"),
        ("1M", "the units are"),
        ("1w", "the units are"),
        ("1µs", "no unit"),
        ("١s", "whole number"),
        ("3651d", "ten years"),
        ("3650d1ms", "ten years"),
        ("99999999999999999999999ms", "ten years"),
        ("18446744073709551615d", "ten years"),
        ("PT30S", "whole number"),
    ] {
        let error = text.parse::<Span>().unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
        assert!(error.contains("write for example"), "{text}: {error}");
    }
    let secret = "hunter2".parse::<Span>().unwrap_err().to_string();
    assert!(!secret.contains("hunter2"), "what was sent is not repeated: {secret}");
}

#[test]
fn a_number_is_never_taken_for_a_duration() {
    for json in ["30", "-1", "1.5", "1e99", "18446744073709551615"] {
        let error = serde_json::from_str::<Span>(json).unwrap_err().to_string();
        assert!(error.contains("has no unit") && error.contains("\"30s\""), "{json}: {error}");
    }
    for json in ["null", "true", "[]", "{}"] {
        let error = serde_json::from_str::<Span>(json).unwrap_err().to_string();
        assert!(error.contains("expected a duration such as"), "{json}: {error}");
    }
}

#[test]
fn a_rate_is_a_count_and_a_period() {
    for (text, count, ms) in [
        ("100/s", 100, 1000),
        ("5/m", 5, 60_000),
        ("10/h", 10, 3_600_000),
        ("1000000/s", 1_000_000, 1000),
    ] {
        let rate: Rate = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            (rate.count(), rate.period().as_ms(), rate.to_string().as_str()),
            (count, ms, text)
        );
        assert_eq!(Rate::new(count, rate.period()), Some(rate));
    }
    for text in
        ["", "100", "0/s", "-1/s", "+1/s", "1.5/s", "1000001/s", "1/d", "1/", "/s", "1/s ", "1/sec"]
    {
        let error = text.parse::<Rate>().unwrap_err().to_string();
        assert!(error.contains("is not a rate"), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn every_time_survives_being_written(ms in Time::MIN.as_ms()..=Time::MAX.as_ms()) {
        let time = Time::from_ms(ms);
        prop_assert_eq!(time.to_string().parse::<Time>(), Ok(time));
    }

    #[test]
    fn times_are_written_in_their_order(a in Time::MIN.as_ms()..=Time::MAX.as_ms(), b in Time::MIN.as_ms()..=Time::MAX.as_ms()) {
        let (a, b) = (Time::from_ms(a), Time::from_ms(b));
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
    }

    #[test]
    fn every_duration_survives_being_written(ms in 0..=Span::MAX.as_ms()) {
        let span = Span::from_ms(ms);
        prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in "\\PC*") {
        let _ = text.parse::<Time>();
        let _ = text.parse::<Span>();
        let _ = text.parse::<Rate>();
    }

    #[test]
    fn almost_durations_do_not_panic(text in "[-+0-9dhms. ]{0,24}") {
        if let Ok(span) = text.parse::<Span>() {
            prop_assert!(span <= Span::MAX);
        }
    }
}
