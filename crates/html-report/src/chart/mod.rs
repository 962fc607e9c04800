//! The charts, each as one SVG.

pub mod bandwidth;
pub mod bars;
pub mod depth;
pub mod scaling;

use std::ops::Range;

use maud::Markup;
use plotters::{
    coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged},
    prelude::{
        ChartBuilder, Circle, IntoFont, IntoTextStyle, PathElement, Polygon, Rectangle, Text,
        TextStyle,
    },
    style::{
        Color, ShapeStyle, TRANSPARENT,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::{
    palette::Ink,
    svg::{Area, Canvas, Drawn},
};

/// A point in pixels.
pub type Pixel = (i32, i32);

/// As wide as the narrowest phone shows without shrinking it.
pub const WIDTH: u32 = 340;
const HEIGHT: u32 = 250;
const LETTERS: i32 = 12;

/// The axes of a plot.
pub struct Axes<'a> {
    pub x: Range<f64>,
    pub x_ticks: Vec<f64>,
    pub x_name: &'a str,
    pub x_label: &'a dyn Fn(f64) -> String,
    /// It begins at zero.
    pub y_max: f64,
}

/// A linear axis with given ticks. plotters' own cannot be labelled.
struct Scale {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let part = (value - self.range.start) / (self.range.end - self.range.start);
        first + (part * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.ticks.clone(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// A plot whose grid is drawn, and what can be drawn in it.
pub struct Plot<'a> {
    canvas: &'a Canvas,
    area: &'a Area,
    x: Range<f64>,
    y_max: f64,
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl<'a> Plot<'a> {
    /// Draws the axes and the grid over a whole area.
    pub fn new(canvas: &'a Canvas, area: &'a Area, axes: &Axes) -> Drawn<Self> {
        let ticks = y_ticks(axes.y_max);
        let mut chart = ChartBuilder::on(area)
            .margin(4)
            .margin_top(16)
            .x_label_area_size(36)
            .y_label_area_size(42)
            .build_cartesian_2d(
                Scale {
                    range: axes.x.clone(),
                    ticks: axes.x_ticks.clone(),
                },
                Scale {
                    range: 0.0..axes.y_max,
                    ticks,
                },
            )?;
        let letters = style(Ink::Muted, HPos::Left, VPos::Top);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(Ink::Grid.key())
            .axis_style(Ink::Muted.key())
            .label_style(letters.clone())
            .axis_desc_style(letters)
            .x_label_formatter(&|x| (axes.x_label)(*x))
            .y_label_formatter(&|y| crate::words::tick(*y))
            .x_desc(axes.x_name)
            .draw()?;
        let (xs, ys) = chart.plotting_area().get_pixel_range();
        Ok(Self {
            canvas,
            area,
            x: axes.x.clone(),
            y_max: axes.y_max,
            left: xs.start,
            right: xs.end,
            top: ys.start,
            bottom: ys.end,
        })
    }

    /// The pixel of a value.
    pub fn at(&self, x: f64, y: f64) -> Pixel {
        let part = (x - self.x.start) / (self.x.end - self.x.start);
        let (width, height) = (self.right - self.left, self.bottom - self.top);
        let x = self.left + (part * f64::from(width)).round() as i32;
        (
            x,
            self.bottom - (y / self.y_max * f64::from(height)).round() as i32,
        )
    }

    /// Draws marks under words that show when one points at them.
    pub fn group<T>(&self, class: &str, words: &str, draw: impl FnOnce() -> Drawn<T>) -> Drawn<T> {
        self.canvas.group(class, words, draw)
    }

    /// Draws a line through pixels.
    pub fn line(&self, pixels: Vec<Pixel>, ink: Ink, width: u32) -> Drawn {
        line(self.area, pixels, ink, width)
    }

    /// Writes beside a pixel.
    pub fn text(&self, text: &str, at: Pixel, ink: Ink, (across, down): (HPos, VPos)) -> Drawn {
        write(self.area, text, at, ink, (across, down))
    }

    /// Draws a small dot.
    pub fn dot(&self, at: Pixel, ink: Ink) -> Drawn {
        let style = ink.key().mix(0.55).filled();
        self.area.draw(&Circle::new(at, 2, style))
    }

    /// Draws the mark of a series, which has the same shape in every chart.
    pub fn mark(&self, series: usize, at: Pixel, hollow: bool) -> Drawn {
        mark(self.area, series, at, hollow)
    }

    /// Draws a bar with caps, for an interval.
    pub fn interval(&self, x: f64, low: f64, high: f64, ink: Ink) -> Drawn {
        let ((x, low), (_, high)) = (self.at(x, low), self.at(x, high));
        self.line(vec![(x, low), (x, high)], ink, 2)?;
        for y in [low, high] {
            self.line(vec![(x - 4, y), (x + 4, y)], ink, 2)?;
        }
        Ok(())
    }
}

/// The mark of a series, for a legend.
pub fn swatch(series: usize, hollow: bool) -> Markup {
    Canvas::sketch((16, 16), |_, area| mark(area, series, (8, 8), hollow))
}

/// A line of a class, for a legend.
pub fn swatch_of_line(class: &str) -> Markup {
    Canvas::sketch((24, 16), |canvas, area| {
        canvas.group(class, "", || {
            line(area, vec![(1, 8), (23, 8)], Ink::Muted, 2)
        })
    })
}

fn mark(area: &Area, series: usize, at: Pixel, hollow: bool) -> Drawn {
    let ink = Ink::Series(series).key();
    match (outline(series, at), hollow) {
        (None, false) => area.draw(&Circle::new(at, 5, ink.filled())),
        (None, true) => area.draw(&Circle::new(at, 5, ink.stroke_width(2))),
        (Some(corners), false) => area.draw(&Polygon::new(corners, ink.filled())),
        (Some(mut corners), true) => {
            corners.push(corners[0]);
            area.draw(&PathElement::new(corners, ink.stroke_width(2)))
        }
    }
}

/// The corners of a series' mark; none for a circle.
fn outline(series: usize, (x, y): Pixel) -> Option<Vec<Pixel>> {
    let corners: &[Pixel] = match series % 6 {
        0 => return None,
        1 => &[(0, -6), (6, 0), (0, 6), (-6, 0)],
        2 => &[(-5, -5), (5, -5), (5, 5), (-5, 5)],
        3 => &[(0, -6), (6, 5), (-6, 5)],
        4 => &[(0, 6), (6, -5), (-6, -5)],
        _ => &[(-3, -6), (3, -6), (6, 0), (3, 6), (-3, 6), (-6, 0)],
    };
    Some(
        corners
            .iter()
            .map(|(right, down)| (x + right, y + down))
            .collect(),
    )
}

fn line(area: &Area, pixels: Vec<Pixel>, ink: Ink, width: u32) -> Drawn {
    area.draw(&PathElement::new(pixels, stroke(ink, width)))
}

fn stroke(ink: Ink, width: u32) -> ShapeStyle {
    ink.key().stroke_width(width)
}

fn write(area: &Area, text: &str, at: Pixel, ink: Ink, (across, down): (HPos, VPos)) -> Drawn {
    area.draw(&Text::new(text.to_owned(), at, style(ink, across, down)))
}

fn fill(area: &Area, corners: [Pixel; 2], ink: Ink) -> Drawn {
    area.draw(&Rectangle::new(corners, ink.key().filled()))
}

fn style(ink: Ink, across: HPos, down: VPos) -> TextStyle<'static> {
    let letters = ("sans-serif", LETTERS).into_font().color(&ink.key());
    letters
        .pos(Pos::new(across, down))
        .into_text_style(&(WIDTH, HEIGHT))
}

/// Four to eight round values up to a greatest one.
fn y_ticks(most: f64) -> Vec<f64> {
    let rough = most / 5.0;
    let size = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|it| it * size);
    let step = step
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let count = (most / step).floor() as u32;
    (0..=count).map(|k| f64::from(k) * step).collect()
}

/// The greatest of some values with room above it; 1 if there is none.
pub fn top(values: impl IntoIterator<Item = f64>) -> f64 {
    let most = values.into_iter().fold(0.0, f64::max);
    if most > 0.0 { 1.12 * most } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(y_ticks(446.0), [0.0, 100.0, 200.0, 300.0, 400.0]);
        assert_eq!(y_ticks(0.9), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8]);
        for most in [1e-9, 1.0, 3.3, 7.0, 12.0, 99.0, 1e15] {
            assert!((4..=8).contains(&y_ticks(most).len()), "{most}");
        }
    }
}
