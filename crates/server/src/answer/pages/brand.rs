//! Whose pages these are: the operator's name, colour and logo.
//!
//! A colour is used only where it is told from what is around it, whatever colour it is: behind text
//! that is black or white, the one that is read better on it, and for the bar as much darker or
//! lighter as it takes to stand out from the page (WCAG 2.2, 1.4.3 and 1.4.11).

use std::fmt;

use crate::config::{Color, Page};

/// What the page is written on, in each theme: `--card` of the style.
const GROUNDS: [Color; 2] = [Color { rgb: [0xff, 0xff, 0xff] }, Color { rgb: [0x1a, 0x1e, 0x23] }];
/// What the bar and the button are without a brand, in each theme.
const USUAL: [Color; 2] = [Color { rgb: [0x1c, 0x5f, 0xc4] }, Color { rgb: [0x7f, 0xb2, 0xff] }];
/// How far something that is seen, but not read, must stand out from what is around it.
const SEEN: f64 = 3.0;
/// In how many steps a colour is brought to black or white.
const MIX_STEPS: u32 = 20;

/// The colours as the style knows them.
#[must_use]
pub(super) fn colours(page: &Page) -> String {
    let of = |theme: usize| {
        let fill = page.color.unwrap_or(USUAL[theme]);
        let bar = seen_on(GROUNDS[theme], fill);
        format!(":root{{--fill:{fill};--on-fill:{};--bar:{bar}}}", on(fill))
    };
    format!("{}@media(prefers-color-scheme:dark){{{}}}\n", of(0), of(1))
}

/// A colour that is seen on this ground: the one that is wanted, or the nearest that is darker or
/// lighter.
fn seen_on(ground: Color, wanted: Color) -> Color {
    let towards = on(ground).rgb[0];
    let mixed = |step: u32| {
        let part = |part: u8| {
            let part =
                (u32::from(part) * (MIX_STEPS - step) + u32::from(towards) * step) / MIX_STEPS;
            u8::try_from(part).unwrap_or(u8::MAX)
        };
        Color { rgb: wanted.rgb.map(part) }
    };
    (0..MIX_STEPS).map(mixed).find(|mixed| contrast(*mixed, ground) >= SEEN).unwrap_or(on(ground))
}

/// The colour of a text that is read on another colour: of black and white the better one. On any
/// colour one of them has a contrast of at least 4.58 to 1; text needs 4.5.
fn on(ground: Color) -> Color {
    let (black, white) = (Color { rgb: [0; 3] }, Color { rgb: [0xff; 3] });
    if contrast(ground, white) >= contrast(ground, black) { white } else { black }
}

/// How much two colours differ in brightness, from 1 to 21 (WCAG 2.2).
fn contrast(one: Color, other: Color) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

fn luminance(color: Color) -> f64 {
    let [r, g, b] = color.rgb.map(|part| {
        let part = f64::from(part) / 255.0;
        if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    0.212_6 * r + 0.715_2 * g + 0.072_2 * b
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.rgb;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn color(text: &str) -> Color {
        text.parse().expect("a colour")
    }

    #[test]
    fn text_on_any_colour_is_read_and_the_bar_is_seen() {
        let steps = (0..=255).step_by(15).map(|step| u8::try_from(step).expect("up to 255"));
        let steps: Vec<u8> = steps.collect();
        for r in &steps {
            for g in &steps {
                for b in &steps {
                    let fill = Color { rgb: [*r, *g, *b] };
                    assert!(contrast(fill, on(fill)) >= 4.5, "{fill}");
                    for ground in GROUNDS {
                        assert!(contrast(ground, seen_on(ground, fill)) >= SEEN, "{fill}");
                    }
                }
            }
        }
        let page = Page { color: Some(color("#ffe600")), ..Page::default() };
        let style = colours(&page);
        assert!(
            !style.starts_with(":root{--fill:#ffe600;--on-fill:#000000;--bar:#ffe600"),
            "{style}"
        );
        assert!(style.contains("--fill:#ffe600;--on-fill:#000000;--bar:#ffe600"), "{style}");
        for (usual, ground) in USUAL.into_iter().zip(GROUNDS) {
            assert_eq!(seen_on(ground, usual), usual);
        }
    }

    #[test]
    fn contrast_is_counted_as_the_guidelines_do() {
        assert!((contrast(color("#000000"), color("#ffffff")) - 21.0).abs() < 1e-9);
        assert!((contrast(color("#777777"), color("#ffffff")) - 4.478).abs() < 1e-3);
    }
}
