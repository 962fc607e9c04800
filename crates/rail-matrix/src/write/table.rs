//! A plan as a table for people.

use std::fmt::Write as _;

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use rig::units;

use super::{
    cabling::{Cabling, Laid, Shown},
    one_line,
};
use crate::{Plan, Topology};

pub fn table(topology: &Topology, plan: &Plan) -> String {
    let cabling = Cabling::of(topology, plan);
    let rails = if plan.rails == 1 { "rail" } else { "rails" };
    let mut text = format!(
        "{} of {} ranks, {} {rails} a link\n\n{}\n\n{}\n",
        plan.backend,
        plan.nodes.len(),
        plan.rails,
        ranks(&cabling, plan),
        cables(&cabling),
    );
    for (n, note) in plan.notes.iter().enumerate() {
        let before = if n == 0 { "\n" } else { "" };
        let _ = writeln!(text, "{before}- {}", one_line(&note.to_string()));
    }
    text
}

fn ranks(cabling: &Cabling<'_>, plan: &Plan) -> Table {
    let mut table = titled(&["rank", "node", "coordinator"]);
    for Shown { rank, .. } in &cabling.nodes {
        let Some(rank) = rank else { continue };
        let coordinator = plan.coordinator.as_ref().map(|at| match rank {
            0 => format!("listens on {}:{}", at.ip, at.port),
            _ => format!("{}:{}", at.ip, at.port),
        });
        table.add_row([
            rank.to_string(),
            cell(&cabling.nodes[*rank].title()),
            coordinator.unwrap_or_else(|| "?".to_owned()),
        ]);
    }
    table
}

fn cables(cabling: &Cabling<'_>) -> Table {
    let mut table = titled(&["link", "rail", "device", "device", "rate", "cable"]);
    for Laid {
        name,
        ends,
        rate,
        rail,
    } in &cabling.cables
    {
        let [a, b] = ends.map(|(node, _)| cabling.nodes[node].label_or_name());
        let [on_a, on_b] = ends.map(|(_, device)| cell(device));
        table.add_row([
            cell(&format!("{a} - {b}")),
            rail.map_or_else(|| "not used".to_owned(), |rail| rail.to_string()),
            on_a,
            on_b,
            rate.map_or_else(|| "?".to_owned(), units::about_rate),
            cell(name),
        ]);
    }
    table
}

fn titled(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(titles);
    table
}

/// A name in which nothing ends its cell or its line.
fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}
