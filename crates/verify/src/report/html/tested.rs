//! The inputs of a variant's build.

use maud::{Markup, html};
use serde_json::Value;

use crate::run::Variant;

/// The entries of a build's manifest that are shown, with their paths in it.
const FIELDS: [(&str, &str); 6] = [
    ("build", "/key"),
    ("component", "/inputs/component"),
    ("tree of the pin", "/inputs/tree"),
    ("tree that was built", "/inputs/patched_tree"),
    ("compiler", "/inputs/compiler/version"),
    ("built for", "/inputs/compiler/target"),
];

pub fn variant(variant: &Variant) -> Markup {
    let manifest = &variant.manifest;
    let fields = FIELDS
        .into_iter()
        .filter_map(|(name, at)| Some((name, manifest.pointer(at)?.as_str()?)));
    let whole = serde_json::to_string_pretty(manifest).unwrap_or_default();
    html! {
        details {
            summary { (variant.name()) }
            table.tested {
                tr { th { "pin" } td { (variant.mlx) } }
                tr { th { "series" } td { (variant.series) } }
                @for (name, value) in fields {
                    tr { th { (name) } td { code { (value) } } }
                }
                @for (name, hash) in patches(manifest) {
                    tr { th { "patch " (name) } td { code { (hash) } } }
                }
            }
            details { summary { "manifest.json" } pre { (whole) } }
        }
    }
}

/// Name and SHA-256 of each patch, in order.
fn patches(manifest: &Value) -> impl Iterator<Item = (&str, &str)> {
    let patches = manifest
        .pointer("/inputs/patches")
        .and_then(Value::as_array);
    patches
        .into_iter()
        .flatten()
        .filter_map(|patch| Some((patch.get(0)?.as_str()?, patch.get(1)?.as_str()?)))
}
