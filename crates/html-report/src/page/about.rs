//! What was run, on what.

use maud::{Markup, html};
use serde_json::Value;

use super::{Page, scrolling};
use crate::{figures::distinct, words::count};

/// Build, model, rig, machine and command, as far as the report has them.
pub fn section(page: &Page) -> Markup {
    let bench = page.bench;
    let build = &bench.build;
    let manifest = |path: &str| build.manifest.pointer(path);
    let patches = manifest("/inputs/patches").and_then(Value::as_array);
    let names = patches
        .into_iter()
        .flatten()
        .filter_map(|it| it.get(0).unwrap_or(it).as_str());
    let patches: Vec<_> = names.collect();
    html! {
        h2 { "What was run" }
        div.card {
            h3 { "Build" }
            dl {
                (fact("MLX", &build.mlx))
                (fact("series", &build.series))
                (fact("key", &build.key))
                (fact("tree", &build.tree))
                (fact("patched tree", &build.patched_tree))
                (fact("patches", &patches.join(", ")))
                @for language in ["c", "cpp", "c++", "cxx"] {
                    @let version = format!("/inputs/compilers/{language}/program/version");
                    @if let Some(version) = manifest(&version).and_then(Value::as_str) {
                        (fact(&format!("{language} compiler"), version))
                    }
                }
            }
            @if let Some(command) = &bench.command {
                h3 { "Command" }
                p { code { (plain(command)) } }
            }
            @if !bench.model.is_empty() {
                h3 { "Model" }
                dl { @for (key, value) in &bench.model { (fact(key, &plain(value))) } }
            }
            @if let Some(machine) = &bench.machine {
                h3 { "Machine" }
                @match machine.as_object() {
                    Some(fields) => dl { @for (key, value) in fields { (fact(key, &plain(value))) } },
                    None => p { (plain(machine)) },
                }
            }
        }
        (rig(&bench.rig))
        @if let Some(given) = &bench.given {
            p { "The matrix was given, not planned: " code { (plain(given)) } }
        }
        p.muted {
            "This page fetches nothing. The JSON that it is made of (" (bench.schema)
            ") is in its script element " code { "#bench" } "."
        }
    }
}

fn rig(rig: &Value) -> Markup {
    let cables = rig.get("cable").and_then(Value::as_array);
    let cables = cables.map(Vec::as_slice).unwrap_or_default();
    let field = |cable: &Value, name: &str| cable.get(name).map_or("-".to_owned(), plain);
    let faults = rig.get("fault").and_then(Value::as_array);
    let table = html! {
        table {
            thead {
                tr {
                    th scope="col" { "cable" }
                    @for name in ["ends", "bandwidth", "latency"] { th.left scope="col" { (name) } }
                }
            }
            tbody {
                @for cable in cables {
                    tr {
                        th scope="row" { (field(cable, "name")) }
                        @for name in ["ends", "bandwidth", "latency"] { td.left { (field(cable, name)) } }
                    }
                }
            }
        }
    };
    html! {
        @if !cables.is_empty() {
            h2 { "Rig" }
            (scrolling("Rig", &table))
        }
        @for fault in faults.into_iter().flatten() {
            p.warn { "\u{26a0} Fault: " code { (plain(fault)) } }
        }
    }
}

/// The rig in words, with the cables' rate and latency where all are alike.
pub fn cables(rig: &Value) -> Option<String> {
    let of = |key: &str| rig.get(key).and_then(Value::as_array);
    let (nodes, cables) = (of("node")?, of("cable")?);
    let links = distinct(
        cables
            .iter()
            .map(|cable| (cable.get("bandwidth"), cable.get("latency"))),
    );
    let mut text = format!(
        "{}, {}",
        count(nodes.len() as u32, "node"),
        count(cables.len() as u32, "cable")
    );
    if let [(Some(bandwidth), Some(latency))] = links[..] {
        text += &format!(" of {} and {}", plain(bandwidth), plain(latency));
    }
    Some(text)
}

fn fact(name: &str, value: &str) -> Markup {
    html! {
        @if !value.is_empty() { dt { (name) } dd { (value) } }
    }
}

/// A value as people write it: lists without brackets.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) if all.iter().all(Value::is_string) => {
            let all: Vec<_> = all.iter().map(plain).collect();
            all.join(" ")
        }
        other => other.to_string(),
    }
}
