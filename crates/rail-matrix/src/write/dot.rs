//! Nodes and cables for Graphviz.

use std::fmt::Write as _;

use super::{
    cabling::{Cabling, Shown},
    svg::{SPARE, colour},
};
use crate::{Plan, Topology};

pub fn dot(topology: &Topology, plan: &Plan) -> String {
    let cabling = Cabling::of(topology, plan);
    let mut text = format!(
        "graph rails {{\n  layout=circo;\n  mindist=2;\n  label={};\n  node [shape=box, style=rounded];\n",
        quoted(&format!(
            "{}, rails a link: {}",
            plan.backend.name(),
            plan.rails
        ))
    );
    for (n, node) in cabling.nodes.iter().enumerate() {
        let Shown { rank, .. } = node;
        let style = if rank.is_none() {
            ", style=\"rounded,dashed\""
        } else {
            ""
        };
        let rank = rank.map_or_else(|| "takes no part".to_owned(), |r| format!("rank {r}"));
        let label = quoted(&format!("{}\n{rank}", node.title()));
        let _ = writeln!(text, "  n{n} [label={label}{style}];");
    }
    for cable in &cabling.cables {
        let [(a, on_a), (b, on_b)] = cable.ends;
        let (label, look) = match cable.rail {
            Some(rail) => (
                format!("rail {rail}"),
                format!("color=\"{}\", penwidth=2", colour(rail)),
            ),
            None => (String::new(), format!("color=\"{SPARE}\", style=dashed")),
        };
        let _ = writeln!(
            text,
            "  n{a} -- n{b} [label={}, taillabel={}, headlabel={}, tooltip={}, {look}];",
            quoted(&label),
            quoted(on_a),
            quoted(on_b),
            quoted(&cable.name),
        );
    }
    text.push_str("}\n");
    text
}

/// A string of the DOT language that displays as `text`.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push('\u{fffd}'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
