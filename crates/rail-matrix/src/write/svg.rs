//! Nodes on a circle and a curve for each cable, as SVG.

mod layout;

use std::fmt::Write as _;

use rig::units;

use self::layout::{APART, BOX, Curve, Layout, MARGIN, Point};
use super::cabling::{Cabling, Laid, Shown};
use crate::{MAX_RAILS, Plan, Topology};

/// By rail, in hues that people with any colour vision can distinguish (Okabe and Ito,
/// 2008).
const RAILS: [&str; MAX_RAILS] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"];
/// The colour of an unused cable.
pub const SPARE: &str = "#999999";

/// The characters of a name that fit a box; the tooltip has the whole name.
const SHOWN: usize = 19;

/// The colour of a rail.
pub fn colour(rail: usize) -> &'static str {
    RAILS[rail % RAILS.len()]
}

pub fn svg(topology: &Topology, plan: &Plan) -> String {
    let cabling = Cabling::of(topology, plan);
    let layout = Layout::of(&cabling);
    let legend = legend(&cabling, plan);
    let [width, height] = [
        layout.width,
        layout.height + 26.0 * (legend.len() as f64 + 1.0),
    ];
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>{} of {} ranks</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        plan.backend,
        plan.nodes.len(),
    );
    // Labels come after all curves, so that no curve crosses a label.
    let mut labels = String::new();
    for link in cabling.links() {
        let middle = (link.len() as f64 - 1.0) / 2.0;
        for (k, cable) in link.iter().enumerate() {
            let curve = layout.curve(cable, (k as f64 - middle) * APART);
            draw(&mut text, &mut labels, cable, &curve);
        }
    }
    text.push_str(&labels);
    for (node, &at) in cabling.nodes.iter().zip(&layout.nodes) {
        draw_node(&mut text, node, at);
    }
    for (row, (look, what)) in legend.iter().enumerate() {
        let y = layout.height + 26.0 * (row as f64 + 0.5);
        let _ = writeln!(
            text,
            "<line x1=\"{MARGIN}\" y1=\"{y:.0}\" x2=\"{:.0}\" y2=\"{y:.0}\" {look}/>\
             <text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            MARGIN + 40.0,
            MARGIN + 50.0,
            y + 4.0,
            escaped(what),
        );
    }
    text.push_str("</svg>\n");
    text
}

fn look(rail: Option<usize>) -> String {
    match rail {
        Some(rail) => format!("stroke=\"{}\" stroke-width=\"3\"", colour(rail)),
        None => format!("stroke=\"{SPARE}\" stroke-width=\"2\" stroke-dasharray=\"6 5\""),
    }
}

fn draw(curves: &mut String, labels: &mut String, cable: &Laid<'_>, curve: &Curve) {
    let Curve { from, control, to } = curve;
    let rate = cable.rate.map(units::format_rate);
    let _ = writeln!(
        curves,
        "<path d=\"M{:.1} {:.1} Q{:.1} {:.1} {:.1} {:.1}\" fill=\"none\" {}>\
         <title>{}{}{}</title></path>",
        from.x,
        from.y,
        control.x,
        control.y,
        to.x,
        to.y,
        look(cable.rail),
        escaped(&cable.name),
        if rate.is_some() { ", " } else { "" },
        rate.unwrap_or_default(),
    );
    // Behind the boxes of the nodes, in whichever direction the curve leaves them.
    let length = (to.x - from.x).hypot(to.y - from.y).max(1.0);
    let near = ((BOX.0 / 2.0 + 36.0) / length).min(0.35);
    for (t, (_, device)) in [near, 1.0 - near].into_iter().zip(cable.ends) {
        let Point { x, y } = curve.at(t);
        let _ = writeln!(
            labels,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\" stroke=\"white\" \
             stroke-width=\"4\" paint-order=\"stroke\" fill=\"{}\">{}</text>",
            y + 4.0,
            cable.rail.map_or("#666666", |_| "#222222"),
            escaped(&shortened(device)),
        );
    }
}

fn draw_node(text: &mut String, node: &Shown<'_>, at: Point) {
    let (stroke, rank) = match node.rank {
        Some(rank) => ("stroke=\"#222222\"", format!("rank {rank}")),
        None => (
            "stroke=\"#999999\" stroke-dasharray=\"4 4\"",
            "takes no part".to_owned(),
        ),
    };
    let (width, height) = BOX;
    let _ = writeln!(
        text,
        "<g><title>{}</title><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{width}\" height=\"{height}\" \
         rx=\"8\" fill=\"#f4f4f4\" {stroke}/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"14\">{}</text>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555555\">{rank}</text></g>",
        escaped(&node.title()),
        at.x - width / 2.0,
        at.y - height / 2.0,
        at.x,
        at.y - 3.0,
        escaped(&shortened(node.label_or_name())),
        at.x,
        at.y + 15.0,
    );
}

/// The style of each line, and its text.
fn legend(cabling: &Cabling<'_>, plan: &Plan) -> Vec<(String, String)> {
    let rails = (0..plan.rails).map(|rail| (look(Some(rail)), format!("rail {rail}")));
    let unused = cabling.cables.iter().any(|cable| cable.rail.is_none());
    let unused = unused.then(|| (look(None), "not used".to_owned()));
    rails.chain(unused).collect()
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= SHOWN {
        return name.to_owned();
    }
    let kept: String = name.chars().take(SHOWN - 1).collect();
    kept + "…"
}

/// Text for an XML 1.0 document. Some characters cannot occur in one even when escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
