//! The page around the charts.

mod about;
mod cells;
mod charts;
mod gains;
mod repeats;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    Inputs,
    figures::{self, groups},
    input::{Bench, Cell, Collectives},
    palette,
    words::count,
};

/// What a page is made of.
pub struct Page<'a> {
    pub inputs: &'a Inputs<'a>,
    pub bench: &'a Bench,
    pub against: Option<&'a Bench>,
    pub collectives: Option<&'a Collectives>,
}

/// Nothing is fetched, and nothing runs, whatever an input has in it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'";

impl Page<'_> {
    /// The whole page.
    pub fn render(&self) -> Markup {
        let build = &self.bench.build;
        let groups = groups(self.bench);
        let many = groups.len() > 1;
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { "What each cable brings: MLX " (build.mlx) ", " (build.series) }
                    style { (PreEscaped(palette::style_sheet())) (PreEscaped(include_str!("style.css"))) }
                }
                body {
                    (self.head(many))
                    main {
                        @for (k, group) in groups.iter().enumerate() {
                            section {
                                @if many { h2 { (group.task.name()) } }
                                (gains::cards(group))
                                (charts::legend(group, self.against.is_some()))
                                (charts::scaling(&format!("g{k}"), group, self.against))
                                (charts::split(&format!("g{k}"), group))
                                (charts::bytes(&format!("g{k}"), group))
                                (repeats::strip(group))
                                (cells::table(group, self.against))
                            }
                        }
                        (charts::depth(&groups))
                        (charts::bandwidth(self.collectives, self.bench))
                        (about::section(self))
                    }
                    (data("bench", self.inputs.bench))
                    @if let Some(text) = self.inputs.against { (data("against", text)) }
                    @if let Some(text) = self.inputs.collectives { (data("collectives", text)) }
                }
            }
        }
    }

    /// What was measured, and whether it went well.
    fn head(&self, many: bool) -> Markup {
        let Bench {
            build,
            cells,
            warnings,
            interrupted,
            error,
            ..
        } = self.bench;
        let mut facts = vec![format!("MLX {}, {}", build.mlx, build.series)];
        facts.extend(
            self.bench
                .model
                .get("name")
                .and_then(|it| it.as_str())
                .map(str::to_owned),
        );
        if let [cell, ..] = &cells[..]
            && !many
        {
            facts.push(cell.task.name());
        }
        facts.extend(about::cables(&self.bench.rig));
        let measured = cells
            .iter()
            .filter(|cell| cell.verdict != "not-run")
            .count();
        let failed: Vec<_> = cells.iter().filter(|cell| !cell.passed()).collect();
        html! {
            header {
                h1 { "What each cable brings" }
                p { (facts.join(" \u{b7} ")) }
                @if let Some(other) = self.against {
                    p.muted {
                        "Hollow marks and changes: against MLX " (other.build.mlx) ", "
                        (other.build.series) " (build " code { (other.build.key) } ")."
                    }
                    @if !cells.iter().any(|cell| figures::same(other, cell).is_some()) {
                        p.bad {
                            "\u{2717} No cell of the other report computes what a cell of this one does, "
                            "so nothing is beside anything."
                        }
                    }
                    @let different = figures::differences(self.bench, other);
                    @if !different.is_empty() {
                        p.warn {
                            "\u{26a0} The other report differs in more than its build: "
                            (different.join(", ")) "."
                        }
                    }
                }
                @if failed.is_empty() {
                    p.status.good {
                        "\u{2713} " (count(cells.len() as u32, "cell")) " passed"
                        @if cells.iter().all(|cell| cell.tokens_match == Some(true)) {
                            ": every token is the single process's"
                        }
                    }
                } @else {
                    p.status.bad {
                        "\u{2717} " (failed.len()) " of " (count(cells.len() as u32, "cell")) " did not pass"
                    }
                }
                @let drifting = cells.iter().filter(|cell| cell.drifts()).count() as u32;
                @if drifting > 0 {
                    p.warn { "~ " (count(drifting, "cell")) " with drift: near the reference's tokens, and not the same" }
                }
                @if *interrupted {
                    p.status.warn {
                        "\u{26a0} Interrupted: " (measured) " of " (cells.len()) " cells were measured"
                    }
                } @else if let Some(error) = error {
                    p.status.bad {
                        "\u{2717} Stopped: " (measured) " of " (cells.len()) " cells were measured. " (error)
                    }
                }
                @if !failed.is_empty() {
                    ul {
                        @for cell in failed {
                            li {
                                strong { (cell.place.name()) ": " (cell.verdict) }
                                @if let Some(detail) = &cell.detail { ". " (detail) }
                            }
                        }
                    }
                }
                @for warning in warnings { p.warn { "\u{26a0} " (warning) } }
            }
        }
    }
}

/// A table that scrolls by itself where the page is narrower, also by keys.
fn scrolling(label: &str, table: &Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" { (table) }
    }
}

/// A verdict, not by its colour alone.
fn verdict(cell: &Cell) -> Markup {
    let (class, sign) = match cell.verdict.as_str() {
        "pass" => ("good", "\u{2713}"),
        "not-run" => ("muted", "\u{2013}"),
        "drift" => ("warn", "~"),
        _ => ("bad", "\u{2717}"),
    };
    html! { span class=(class) { (sign) " " (cell.verdict) } }
}

/// A JSON text as data of the page.
fn data(id: &str, json: &str) -> Markup {
    html! {
        script type="application/json" id=(id) { (PreEscaped(in_script(json))) }
    }
}

/// JSON that cannot end the script element that it is in, or begin another one.
///
/// In JSON a `<` is part of a string, where `\u003c` is the same character. Only what HTML
/// would take for a tag or a comment is written so: every other text keeps its bytes.
fn in_script(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('<') {
        safe += &rest[..at];
        rest = &rest[at + 1..];
        safe += match rest.starts_with(['!', '/', 's', 'S']) {
            true => "\\u003c",
            false => "<",
        };
    }
    safe + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_html_would_take_for_markup_is_escaped() {
        let hostile = r#"["</script>","<!--","<SCRIPT>"]"#;
        let safe = in_script(hostile);
        assert_eq!(safe, r#"["\u003c/script>","\u003c!--","\u003cSCRIPT>"]"#);
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&safe), value(hostile));

        let harmless = r#"{"patch":"Somebody <a@example.org>, 1 < 2"}"#;
        assert_eq!(in_script(harmless), harmless);
    }
}
