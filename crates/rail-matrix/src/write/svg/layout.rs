//! The positions of nodes and cables in a drawing.

use std::f64::consts::{PI, TAU};

use crate::write::cabling::{Cabling, Laid};

/// The size of a node's box.
pub const BOX: (f64, f64) = (150.0, 46.0);
/// The distance between the middles of two cables of a pair.
pub const APART: f64 = 34.0;
/// The margin around the drawing.
pub const MARGIN: f64 = 40.0;

/// A point in pixels, to the right and down.
#[derive(Clone, Copy)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

/// A quadratic curve.
pub struct Curve {
    pub from: Point,
    pub control: Point,
    pub to: Point,
}

/// The layout of a drawing.
pub struct Layout {
    /// By node, the middle of its box.
    pub nodes: Vec<Point>,
    pub width: f64,
    pub height: f64,
}

impl Layout {
    pub fn of(cabling: &Cabling<'_>) -> Self {
        let count = cabling.nodes.len().max(1) as f64;
        let most = cabling.links().map(<[_]>::len).max().unwrap_or(0) as f64;
        // Wide enough for the boxes beside each other, and for the curves of a pair.
        let radius = (count * (BOX.0 + 60.0) / TAU).max(BOX.0 + 1.5 * most * APART / 2.0 + 60.0);
        let bulge = most * APART / 2.0;
        let middle = Point {
            x: MARGIN + BOX.0 / 2.0 + radius,
            y: if count > 2.0 {
                MARGIN + BOX.1 / 2.0 + bulge / 2.0 + radius
            } else {
                MARGIN + BOX.1 / 2.0 + bulge
            },
        };
        let node = |n| {
            // Two are side by side; more begin at the top.
            let start = if count > 2.0 { -PI / 2.0 } else { PI };
            let angle = start + TAU * f64::from(n) / count;
            Point {
                x: middle.x + radius * angle.cos(),
                y: middle.y + radius * angle.sin(),
            }
        };
        Self {
            nodes: (0..cabling.nodes.len() as u32).map(node).collect(),
            width: 2.0 * middle.x,
            height: 2.0 * middle.y,
        }
    }

    /// The curve from one end of a cable to the other, with its middle this far from the
    /// straight line.
    pub fn curve(&self, cable: &Laid<'_>, beside: f64) -> Curve {
        let [from, to] = cable.ends.map(|(node, _)| self.nodes[node]);
        let (dx, dy) = (to.x - from.x, to.y - from.y);
        let length = dx.hypot(dy).max(1.0);
        // A curve's middle is half as far out as its control point.
        let out = 2.0 * beside / length;
        Curve {
            from,
            control: Point {
                x: (from.x + to.x) / 2.0 - dy * out,
                y: (from.y + to.y) / 2.0 + dx * out,
            },
            to,
        }
    }
}

impl Curve {
    /// The point of the curve at a position from 0 at its start to 1 at its end.
    pub fn at(&self, t: f64) -> Point {
        let mix = |from: f64, control: f64, to: f64| {
            (1.0 - t).powi(2) * from + 2.0 * (1.0 - t) * t * control + t.powi(2) * to
        };
        Point {
            x: mix(self.from.x, self.control.x, self.to.x),
            y: mix(self.from.y, self.control.y, self.to.y),
        }
    }
}
