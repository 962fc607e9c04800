//! The page as a parser of HTML sees it.

use std::collections::HashSet;

use html_report::{Error, Input, Inputs, ReadError, page};
use scraper::{ElementRef, Html, Selector};
use serde_json::{Value, json};

const PATCHED: &str = include_str!("data/patched.json");

fn of(bench: &str) -> String {
    beside(bench, None, None)
}

fn beside(bench: &str, against: Option<&str>, collectives: Option<&str>) -> String {
    page(&Inputs {
        bench,
        against,
        collectives,
    })
    .unwrap()
}

fn refused(bench: &str) -> ReadError {
    let inputs = Inputs {
        bench,
        against: None,
        collectives: None,
    };
    let Error { input, reason } = page(&inputs).unwrap_err();
    assert_eq!(input, Input::Bench);
    assert!(!reason.help().is_empty());
    reason
}

fn patched() -> Value {
    serde_json::from_str(PATCHED).unwrap()
}

/// The report with some of its cells changed.
fn changed(mut change: impl FnMut(usize, &mut Value)) -> Value {
    let mut report = patched();
    let cells = report["cells"].as_array_mut().unwrap();
    cells
        .iter_mut()
        .enumerate()
        .for_each(|(k, cell)| change(k, cell));
    report
}

fn minimal(cells: &Value) -> String {
    json!({ "schema": "mlx-rails/bench/2", "build": { "mlx": "0.31.2", "series": "stock" }, "cells": cells })
        .to_string()
}

fn collectives() -> String {
    let row = |cables: u32, bytes: u64, busbw: Value| {
        json!({ "mlx": "0.31.2", "series": "patched", "op": "all_sum", "backend": "ring", "ranks": 2,
            "cables": cables, "frames": "small", "bytes": bytes, "verdict": "pass", "busbw": busbw,
            "line_share": 0.5 })
    };
    let rows: Vec<_> = [1, 2, 3]
        .into_iter()
        .flat_map(|cables| {
            [12, 16, 20, 24].map(|k| row(cables, 1 << k, json!(1e6 * f64::from(k * cables))))
        })
        .chain([row(1, 4096, Value::Null)])
        .collect();
    json!({ "schema": "mlx-rails/collectives/1", "rows": rows }).to_string()
}

fn all<'a>(document: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    let selector = Selector::parse(selector).unwrap();
    document.select(&selector).collect()
}

fn text(element: ElementRef) -> String {
    let words: Vec<_> = element.text().flat_map(str::split_whitespace).collect();
    words.join(" ")
}

fn headings(page: &str) -> Vec<String> {
    let document = Html::parse_document(page);
    all(&document, "h2").into_iter().map(text).collect()
}

/// The drawings with a name, as their source.
fn drawings(page: &str) -> Vec<&str> {
    let parts = page.split("<svg").skip(1);
    let bodies = parts.map(|part| &part[..part.find("</svg>").unwrap()]);
    bodies
        .filter(|body| body.contains("role=\"img\""))
        .collect()
}

/// The data of the page: its script elements.
fn embedded(page: &str, id: &str) -> String {
    let document = Html::parse_document(page);
    let scripts = all(&document, &format!("script#{id}"));
    let [script] = scripts[..] else {
        panic!("{} scripts #{id}", scripts.len());
    };
    assert_eq!(script.attr("type"), Some("application/json"));
    script.text().collect()
}

/// Asserts that a browser fetches and runs nothing for a page.
fn is_inert(page: &str) {
    const FETCHING: [&str; 11] = [
        "img", "link", "iframe", "object", "embed", "base", "form", "a", "image", "use", "video",
    ];

    let document = Html::parse_document(page);
    for element in all(&document, "*") {
        let name = element.value().name();
        assert!(!FETCHING.contains(&name), "<{name}>");
        for (attribute, value) in element.value().attrs() {
            let fetches = [
                "src",
                "href",
                "xlink:href",
                "srcset",
                "action",
                "background",
            ];
            assert!(
                !fetches.contains(&attribute),
                "<{name} {attribute}={value}>"
            );
            assert!(!attribute.starts_with("on"), "<{name} {attribute}={value}>");
            assert!(!value.contains("url("), "<{name} {attribute}={value}>");
            let is_policy = value.starts_with("default-src 'none'");
            assert!(
                is_policy || !value.contains("://"),
                "<{name} {attribute}={value}>"
            );
        }
        if name == "script" {
            assert_eq!(element.attr("type"), Some("application/json"));
        }
        if name == "style" {
            let sheet: String = element.text().collect();
            for fetch in ["url(", "@import", "@font-face", "http"] {
                assert!(!sheet.contains(fetch), "{fetch}");
            }
        }
    }
    assert_eq!(
        all(&document, "meta[http-equiv='Content-Security-Policy']").len(),
        1
    );
}

/// Where the time of two ranks went, of which the parts are about this long.
fn time_split(ms: f64) -> Value {
    let parts = json!({ "compute": 0.5 * ms, "fence": 0.0, "cable": 0.3 * ms, "wait": 0.1 * ms,
        "host": 0.1 * ms });
    json!({ "runs": 2, "cost": { "without": 0.6, "apart": 1.8 },
        "prefill_ms": [parts, parts], "decode_ms": [parts, parts] })
}

#[test]
fn what_a_cell_should_take_is_beside_what_it_took() {
    assert!(!of(PATCHED).contains("explained"));
    let report = changed(|k, cell| {
        if k == 1 {
            let part = |ms: f64, part: f64| {
                json!({ "predicted_ms": ms, "compute_ms": ms,
                "fence_ms": 0, "cables_ms": 0, "part": part })
            };
            cell["explained"] = json!({ "ttft": part(123.0, 0.5), "token": part(8.0, 1.25) });
        }
    });
    let document = Html::parse_document(&of(&report.to_string()));
    let tables = all(&document, "[aria-label=\"Cells\"] table");
    let [table] = tables[..] else {
        panic!("{} tables of cells", tables.len())
    };
    let row = |row: ElementRef| -> Vec<String> { row.child_elements().map(text).collect() };
    let rows = Selector::parse("tr").unwrap();
    let rows: Vec<_> = table.select(&rows).map(row).collect();
    let of = |k: usize| {
        let cells = rows[0].iter().zip(&rows[k + 1]);
        let cells = cells.filter(|(head, _)| ["predicted", "explained"].contains(&head.as_str()));
        cells.map(|(_, cell)| cell.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(0), ["-", "-", "-", "-"]);
    assert_eq!(of(1), ["123.0", "50 %", "125.0", "125 %"]);
}

#[test]
fn every_cell_is_in_the_table_with_its_verdict_and_figures() {
    let page = of(PATCHED);
    let document = Html::parse_document(&page);
    let rows: Vec<_> = all(&document, "[aria-label=Cells] tbody tr")
        .into_iter()
        .map(text)
        .collect();
    let report = patched();
    let cells = report["cells"].as_array().unwrap();
    assert_eq!(rows.len(), cells.len());
    for (row, cell) in rows.iter().zip(cells) {
        let part = |name: &str| cell[name].as_str().unwrap();
        let name = match part("backend") {
            "none" => part("strategy").to_owned(),
            backend => format!("{} {backend}-{}", part("strategy"), cell["cables"]),
        };
        assert!(
            row.starts_with(&format!("{name} ✓ {}", part("verdict"))),
            "{name}: {row}"
        );
        for figure in ["ttft_ms", "generation_tps"] {
            let median = cell[figure]["median"].as_f64().unwrap();
            let digits = if median >= 200.0 { 0 } else { 1 };
            let median = format!("{median:.digits$} [");
            assert!(
                row.contains(&median),
                "{median} of {figure} is not in: {row}"
            );
        }
    }
    assert!(rows[0].contains("reference"));
}

#[test]
fn the_drawings_are_well_formed_named_and_complete() {
    let collectives = collectives();
    let page = beside(PATCHED, Some(PATCHED), Some(&collectives));
    let drawings = drawings(&page);
    // Two figures and two phases of bytes for each of two strategies, and one operation.
    assert_eq!(drawings.len(), 9);
    let mut ids = HashSet::new();
    for body in &drawings {
        let source = format!("<svg{body}</svg>");
        let drawing = roxmltree::Document::parse(&source).unwrap();
        let root = drawing.root_element();
        for id in root.attribute("aria-labelledby").unwrap().split(' ') {
            let mut named = root.children().filter(|it| it.attribute("id") == Some(id));
            let words = named.next().and_then(|it| it.text()).unwrap_or_default();
            assert!(!words.is_empty(), "{id} says nothing");
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
        }
        // Colours are the style sheet's alone.
        for shape in root.descendants() {
            for attribute in ["fill", "stroke", "style"] {
                assert_eq!(shape.attribute(attribute), None, "{source}");
            }
        }
    }
    let dots = |body: &str| body.matches("r=\"2\"").count();
    // Five repeats of four cells: a mesh and three rings.
    assert_eq!(dots(drawings[0]), 20);
    for line in ["ideal", "one process"] {
        assert!(drawings[0].contains(line), "{line}");
    }
}

#[test]
fn the_first_thing_is_what_the_last_cable_brings() {
    let page = of(PATCHED);
    let document = Html::parse_document(&page);
    let cards: Vec<_> = all(&document, "article.card .big")
        .into_iter()
        .map(text)
        .collect();
    let report = patched();
    let ttft = |strategy: &str, cables: u64| {
        let cells = report["cells"].as_array().unwrap();
        let found = cells.iter().find(|cell| {
            cell["strategy"] == strategy && cell["backend"] == "ring" && cell["cables"] == cables
        });
        found.unwrap()["ttft_ms"]["median"].as_f64().unwrap()
    };
    let change = 100.0 * (1.0 - ttft("tp", 3) / ttft("tp", 2));
    let expected = format!("−{change:.0} % time to first token with the 3rd cable");
    assert_eq!(cards.len(), 2);
    assert_eq!(cards[0], expected);
}

#[test]
fn the_json_inside_has_the_bytes_of_the_input() {
    let collectives = collectives();
    let page = beside(PATCHED, Some(PATCHED), Some(&collectives));
    assert_eq!(embedded(&page, "bench"), PATCHED);
    assert_eq!(embedded(&page, "against"), PATCHED);
    assert_eq!(embedded(&page, "collectives"), collectives);
}

#[test]
fn a_page_fetches_and_runs_nothing() {
    is_inert(&beside(PATCHED, Some(PATCHED), Some(&collectives())));
}

#[test]
fn the_same_input_gives_the_same_page() {
    assert_eq!(of(PATCHED), of(PATCHED));
}

/// Each text of a report, replaced by markup.
#[test]
fn texts_that_are_markup_stay_texts() {
    const HOSTILE: &str =
        "</script></title></svg><script>alert(1)</script><img src=x onerror='alert(1)'>\"'&<!--";

    fn spoil(value: &mut Value, key: &str) {
        let kept = ["schema", "backend", "verdict", "strategy"];
        match value {
            Value::String(text) if !kept.contains(&key) => *text = format!("{HOSTILE}{text}"),
            Value::Array(all) => all.iter_mut().for_each(|it| spoil(it, key)),
            Value::Object(fields) => fields.iter_mut().for_each(|(key, it)| spoil(it, key)),
            _ => {}
        }
    }

    let mut report = changed(|k, cell| {
        cell["time_split"] = time_split(1.0);
        cell["cable_bytes"] = json!({ HOSTILE: 5e6 });
        cell["depth"] = json!(k % 2 * 512);
        if k == 3 {
            cell["verdict"] = json!(HOSTILE);
            cell["detail"] = json!("");
        }
        if k == 4 {
            cell["strategy"] = json!(HOSTILE);
        }
        if k == 5 {
            cell["backend"] = json!(HOSTILE);
        }
    });
    for field in ["error", "machine", "command", "given"] {
        report[field] = json!("");
    }
    report["warnings"] = json!(["", ""]);
    report["rig"]["fault"] = json!([{ "cable": "" }]);
    spoil(&mut report, "");
    let mut rows: Value = serde_json::from_str(&collectives()).unwrap();
    spoil(&mut rows, "");
    for row in rows["rows"].as_array_mut().unwrap() {
        row["verdict"] = json!("pass");
        row["backend"] = json!(HOSTILE);
    }
    let (report, rows) = (report.to_string(), rows.to_string());
    let page = beside(&report, Some(&report), Some(&rows));

    is_inert(&page);
    for body in drawings(&page) {
        roxmltree::Document::parse(&format!("<svg{body}</svg>")).unwrap();
    }
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(read(&embedded(&page, "bench")), read(&report));
    assert_eq!(read(&embedded(&page, "collectives")), read(&rows));
    let document = Html::parse_document(&page);
    assert!(text(document.root_element()).contains("<img src=x onerror='alert(1)'>"));
}

#[test]
fn a_cell_that_failed_is_said_first_and_marked_where_it_would_be() {
    let report = changed(|k, cell| {
        if k == 4 {
            cell["verdict"] = json!("hang");
            cell["detail"] = json!("all ranks were silent for 20 s");
            for figure in ["ttft_ms", "prompt_tps", "generation_tps", "itl_ms"] {
                cell[figure] = Value::Null;
            }
        }
    });
    let page = of(&report.to_string());
    let document = Html::parse_document(&page);
    let head = all(&document, "header")
        .into_iter()
        .map(text)
        .collect::<String>();
    assert!(
        head.contains("✗ 1 of 9 cells did not pass tp ring-3: hang . all ranks were silent"),
        "{head}"
    );
    assert!(drawings(&page)[0].contains("× hang"));
    // The step that was measured is still there.
    assert!(text(all(&document, "article.card")[0]).contains("with the 2nd cable"));
}

#[test]
fn drift_is_counted_and_its_figures_are_compared() {
    let head = |report: &Value| {
        let page = of(&report.to_string());
        let document = Html::parse_document(&page);
        assert_eq!(drawings(&page)[0].matches("r=\"5\"").count(), 3);
        text(all(&document, "header")[0])
    };
    let all_match = "✓ 9 cells passed: every token is the single process's";
    assert!(
        head(&patched()).ends_with(all_match),
        "{}",
        head(&patched())
    );
    let drifting = changed(|k, cell| {
        if k == 4 {
            cell["verdict"] = json!("drift");
            cell["tokens_match"] = json!(false);
        }
    });
    let head = head(&drifting);
    assert!(
        head.contains("✓ 9 cells passed ~ 1 cell with drift"),
        "{head}"
    );
}

#[test]
fn a_figure_without_data_is_left_out_and_one_with_data_is_shown() {
    let has = |page: &str, heading: &str| headings(page).iter().any(|it| it == heading);
    let plain = of(PATCHED);
    assert!(
        ["Bytes a cable", "Repeats", "Cells"]
            .iter()
            .all(|it| has(&plain, it))
    );
    assert!(
        ![
            "Depth",
            "Where the time went",
            "Bus bandwidth of collectives"
        ]
        .iter()
        .any(|it| has(&plain, it))
    );

    let mut report = changed(|_, cell| {
        cell["depth"] = json!(0);
        cell["time_split"] = time_split(10.0);
    });
    let cells = report["cells"].as_array_mut().unwrap();
    let deeper = cells.clone().into_iter().map(|mut cell| {
        cell["depth"] = json!(4096);
        cell
    });
    cells.extend(deeper);
    let page = beside(&report.to_string(), None, Some(&collectives()));
    let splits: Vec<_> = drawings(&page)
        .into_iter()
        .filter(|body| body.contains("Where the time went in"))
        .collect();
    // Prefill and a token, at each depth.
    assert_eq!(splits.len(), 4);
    for part in [
        "compute 5.00 ms",
        "cable 3.00 ms",
        "wait 1.00 ms",
        "measured ",
    ] {
        assert!(splits[0].contains(part), "{part}: {}", splits[0]);
    }
    for heading in [
        "Depth",
        "Where the time went",
        "Bus bandwidth of collectives",
    ] {
        assert!(has(&page, heading), "{heading}");
    }
    // The lengths of an activation: 2048 floats, of one token and of 256.
    for mark in ["decode: 8 KiB", "prefill: 2 MiB"] {
        assert!(
            drawings(&page).iter().any(|body| body.contains(mark)),
            "{mark}"
        );
    }

    let nothing =
        json!([{ "strategy": "tp", "backend": "ring", "cables": 1, "verdict": "not-run" }]);
    let page = of(&minimal(&nothing));
    assert_eq!(drawings(&page).len(), 0);
    assert_eq!(headings(&page), ["Cells", "What was run"]);
}

#[test]
fn another_report_is_hollow_marks_and_a_column_of_changes() {
    let other = changed(|k, cell| {
        let half = cell["ttft_ms"]["median"].as_f64().unwrap() / 2.0;
        cell["ttft_ms"] = json!({ "median": half, "samples": [half, half] });
        if k == 4 {
            cell["verdict"] = json!("hang");
        }
    });
    let hollow = |page: &str| drawings(page)[0].matches("r=\"5\"").count();
    let page = beside(PATCHED, Some(&other.to_string()), None);
    // Two of the three rings passed in the other report.
    assert_eq!((hollow(&of(PATCHED)), hollow(&page)), (3, 5));
    let document = Html::parse_document(&page);
    let rows: Vec<_> = all(&document, "[aria-label=Cells] tbody tr")
        .into_iter()
        .map(text)
        .collect();
    assert!(rows[2].contains("+100 %"), "{}", rows[2]);
    assert!(rows[4].contains("was hang"), "{}", rows[4]);

    let elsewhere = changed(|_, cell| cell["prompt_tokens"] = json!(512));
    let page = beside(PATCHED, Some(&elsewhere.to_string()), None);
    let document = Html::parse_document(&page);
    let head = all(&document, "header")
        .into_iter()
        .map(text)
        .collect::<String>();
    assert!(
        head.contains("No cell of the other report computes what a cell of this one does"),
        "{head}"
    );
    assert!(
        head.contains("differs in more than its build: what the cells compute"),
        "{head}"
    );
}

/// The first operation has one cable, the second one has three.
#[test]
fn a_line_has_the_same_mark_in_the_charts_of_all_operations() {
    let mut rows: Value = serde_json::from_str(&collectives()).unwrap();
    for row in rows["rows"].as_array_mut().unwrap() {
        let op = if row["cables"] == 3 {
            "send"
        } else {
            "all_sum"
        };
        row["op"] = json!(op);
    }
    let page = beside(PATCHED, None, Some(&rows.to_string()));
    let charts: Vec<_> = drawings(&page)
        .into_iter()
        .filter(|body| body.contains("Bus bandwidth of"))
        .collect();
    let inks = |body: &str| [1, 2, 3].map(|n| body.contains(&format!("s-series-{n}\"")));
    assert_eq!(inks(charts[0]), [true, true, false]);
    assert_eq!(inks(charts[1]), [false, false, true]);
}

#[test]
fn numbers_that_no_run_gives_are_no_reason_to_fail() {
    for number in [0.0, -1.0, 1e-300, 1e308, 5e14] {
        let figure = json!({ "median": number, "samples": [number, 1.0, number] });
        let cell = |cables: u32| {
            json!({ "strategy": "tp", "backend": "ring", "cables": cables, "verdict": "pass",
                "depth": u64::MAX / (1 + u64::from(cables)), "prompt_tokens": u64::MAX, "ttft_ms": figure,
                "generation_tps": figure, "prompt_tps": figure, "cable_bytes": { "c": number },
                "tpot_ms": figure, "time_split": time_split(number) })
        };
        of(&minimal(&json!([
            cell(0),
            cell(1),
            cell(1),
            cell(u32::MAX)
        ])));
    }
}

#[test]
fn a_report_of_many_repeats_has_them_without_numbers() {
    let report = changed(|_, cell| {
        let median = cell["ttft_ms"]["median"].as_f64().unwrap();
        let samples: Vec<_> = (0..40)
            .map(|k| median * (1.0 + f64::from(k) / 200.0))
            .collect();
        cell["ttft_ms"]["samples"] = json!(samples);
    });
    let page = of(&report.to_string());
    let document = Html::parse_document(&page);
    let patches = all(&document, ".heat tbody td");
    assert_eq!(patches.len(), 9 * 40);
    assert!(
        patches
            .iter()
            .all(|patch| ["", "+", "−"].contains(&&*text(*patch)))
    );
}

#[test]
fn fields_of_later_and_earlier_versions_are_no_matter() {
    let mut report = changed(|_, cell| cell["per_rank"] = json!([{ "skew": 1 }]));
    report["next"] = json!(true);
    of(&report.to_string());
    report["schema"] = json!("mlx-rails/bench/1");
    of(&report.to_string());
}

#[test]
fn what_is_no_report_is_refused_with_its_place() {
    let not_json = refused("{\"schema\": ");
    assert!(matches!(not_json, ReadError::NotJson(_)), "{not_json}");
    for other in [
        "[]",
        "{}",
        "1",
        r#"{"schema": 2}"#,
        r#"{"schema": "mlx-rails/bench/x"}"#,
    ] {
        let other = refused(other);
        assert!(matches!(other, ReadError::Other { .. }), "{other}");
        assert!(other.help().contains("cargo xtask bench --format json"));
    }
    let other = refused(&collectives());
    assert_eq!(
        other.to_string(),
        "its schema is mlx-rails/collectives/1, not mlx-rails/bench/2"
    );

    let mut report = patched();
    report["schema"] = json!("mlx-rails/bench/3");
    let newer = refused(&report.to_string());
    assert_eq!(
        newer.to_string(),
        "its schema is mlx-rails/bench/3, and the newest that is read here is mlx-rails/bench/2"
    );

    assert_eq!(refused(&minimal(&json!([]))).to_string(), "it has no cells");
    let wrong = changed(|k, cell| {
        if k == 2 {
            cell["ttft_ms"]["median"] = json!("fast");
        }
    });
    let wrong = refused(&wrong.to_string());
    assert_eq!(
        wrong.to_string(),
        "its field cells[2].ttft_ms.median is not as mlx-rails/bench/2 has it"
    );
}

#[test]
fn an_error_names_the_input_that_it_is_about() {
    let error = |against, collectives| {
        page(&Inputs {
            bench: PATCHED,
            against,
            collectives,
        })
        .unwrap_err()
        .input
    };
    assert_eq!(error(Some(""), None), Input::Against);
    assert_eq!(error(None, Some(PATCHED)), Input::Collectives);
}
