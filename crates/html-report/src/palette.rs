//! The colours, by what they stand for, in light and in dark.

use std::fmt::Write;

use plotters::style::RGBColor;

/// What a colour stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Text.
    Text,
    /// Text of less weight, and the labels of axes.
    Muted,
    /// The lines of a grid.
    Grid,
    /// A series, by its position.
    Series(usize),
}

/// The name of a variable of the style sheet, and its values.
struct Colour {
    name: &'static str,
    light: &'static str,
    dark: &'static str,
}

const fn colour(name: &'static str, light: &'static str, dark: &'static str) -> Colour {
    Colour { name, light, dark }
}

const TEXT: usize = 0;
const MUTED: usize = 1;
const GRID: usize = 2;
const FIRST_SERIES: usize = 3;

/// Series differ in lightness too, and each has a shape of its own, so that the colour
/// alone carries nothing.
const SERIES: usize = 6;

/// The colours that a chart draws with, and after them those of the page.
const COLOURS: [Colour; 14] = [
    colour("text", "#1b1f24", "#e8eaed"),
    colour("muted", "#57606a", "#a6adb8"),
    colour("grid", "#d8dee4", "#343a43"),
    colour("series-1", "#0b5cad", "#6cb2ff"),
    colour("series-2", "#c04a00", "#ff9d5c"),
    colour("series-3", "#0a7a5c", "#3fcf9f"),
    colour("series-4", "#7a3fb5", "#c79bff"),
    colour("series-5", "#8a6000", "#e8c04a"),
    colour("series-6", "#a3195b", "#ff8cbc"),
    colour("page", "#f6f8fa", "#101317"),
    colour("surface", "#ffffff", "#191d23"),
    colour("good", "#116329", "#57d27a"),
    colour("bad", "#b3141d", "#ff8a85"),
    colour("warn", "#8a5a00", "#f0c04f"),
];

impl Ink {
    fn index(self) -> usize {
        match self {
            Self::Text => TEXT,
            Self::Muted => MUTED,
            Self::Grid => GRID,
            Self::Series(position) => FIRST_SERIES + position % SERIES,
        }
    }

    /// The name of its variable.
    #[cfg(test)]
    fn name(self) -> &'static str {
        COLOURS[self.index()].name
    }

    /// The colour by which a chart names it. It is never seen: the backend writes the
    /// class instead.
    pub fn key(self) -> RGBColor {
        RGBColor(0, 0, self.index() as u8)
    }

    /// The name of the ink with this key.
    pub fn of_key((_, _, index): (u8, u8, u8)) -> &'static str {
        COLOURS.get(usize::from(index)).map_or("text", |it| it.name)
    }
}

/// The variables, and the classes of what charts draw, as a style sheet.
pub fn style_sheet() -> String {
    let variables = |value: fn(&Colour) -> &'static str| {
        let all = COLOURS.iter();
        all.fold(String::new(), |mut text, colour| {
            let _ = write!(text, "--{}:{};", colour.name, value(colour));
            text
        })
    };
    let (light, dark) = (variables(|it| it.light), variables(|it| it.dark));
    let mut text = format!(
        ":root{{color-scheme:light dark;{light}}}\n\
         @media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    );
    for Colour { name, .. } in &COLOURS[..FIRST_SERIES + SERIES] {
        let _ = writeln!(
            text,
            ".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contrast of two colours by WCAG 2.1.
    fn contrast(one: &str, other: &str) -> f64 {
        let luminance = |hex: &str| {
            let part = |at: usize| {
                let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
                match value <= 0.04045 {
                    true => value / 12.92,
                    false => ((value + 0.055) / 1.055).powf(2.4),
                }
            };
            0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
        };
        let (a, b) = (luminance(one), luminance(other));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_colour_but_the_grid_s_can_be_read_on_either_ground() {
        let named = |name: &str| COLOURS.iter().find(|it| it.name == name).unwrap();
        for ground in ["page", "surface"].map(named) {
            for colour in &COLOURS {
                if ["grid", "page", "surface"].contains(&colour.name) {
                    continue;
                }
                for (ink, ground) in [(colour.light, ground.light), (colour.dark, ground.dark)] {
                    let contrast = contrast(ink, ground);
                    assert!(
                        contrast >= 4.5,
                        "{} {ink} on {ground}: {contrast}",
                        colour.name
                    );
                }
            }
        }
    }

    #[test]
    fn an_ink_is_found_by_its_key() {
        for ink in [
            Ink::Text,
            Ink::Muted,
            Ink::Grid,
            Ink::Series(2),
            Ink::Series(7),
        ] {
            let RGBColor(red, green, blue) = ink.key();
            assert_eq!(Ink::of_key((red, green, blue)), ink.name());
        }
    }
}
