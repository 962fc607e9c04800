//! Charts in their figures, with legends.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::{
    chart::{
        bandwidth::{self, Mark},
        bars::{self, Phase},
        depth, scaling, swatch, swatch_of_line,
    },
    figures::{Group, Metric, distinct, interval, series_of},
    input::{Bench, Cell, Collectives, Cost},
    words::{bytes as size, number},
};

fn figure(name: &str, more: &str, chart: &Markup) -> Markup {
    html! {
        figure { figcaption { (name) " " small { (more) } } (chart) }
    }
}

/// What the marks of the charts against cables mean.
pub fn legend(group: &Group, against: bool) -> Markup {
    let strategies = group.strategies().into_iter();
    let mut backends = distinct(strategies.flat_map(|strategy| group.backends(strategy)));
    backends.sort_by_key(|backend| series_of(backend));
    let figures = group.cells.iter().filter_map(|cell| cell.ttft_ms.as_ref());
    let confidence = figures
        .filter_map(interval)
        .map(|it| it.confidence)
        .fold(1.0, f64::min);
    html! {
        @if !backends.is_empty() {
            ul.legend {
                @for backend in backends {
                    li { (swatch(series_of(backend), false)) (backend) ", median" }
                }
                @if confidence < 1.0 {
                    li { "bars: the median's interval, " (format!("{:.0}", 100.0 * confidence)) " % or more" }
                }
                li { "dots: every repeat, in order" }
                li { (swatch_of_line("dashed")) "ideal: only the cables' rate matters" }
                @if group.reference().is_some() {
                    li { (swatch_of_line("dotted")) "one process, no cable" }
                }
                @if against { li { (swatch(0, true)) (swatch(1, true)) "the other report" } }
            }
        }
    }
}

/// Each figure of each strategy against cables.
pub fn scaling(id: &str, group: &Group, against: Option<&Bench>) -> Markup {
    let strategies = group.strategies();
    html! {
        div.grid {
            @for metric in Metric::ALL {
                @for (k, strategy) in strategies.iter().enumerate() {
                    @let id = format!("{id}-{}-{k}", metric.id());
                    @if let Some(chart) = scaling::draw(&id, group, strategy, metric, against) {
                        (figure(
                            &format!("{strategy}: {}, {}", metric.name().to_lowercase(), metric.unit()),
                            metric.better(),
                            &chart,
                        ))
                    }
                }
            }
        }
    }
}

/// Where the time of each cell went.
pub fn split(id: &str, group: &Group) -> Markup {
    const PHASES: [Phase; 2] = [
        Phase {
            name: "prefill",
            parts: |cell| cell.time_split.as_ref()?.prefill_ms.first(),
            measured: |cell| Some(cell.ttft_ms.as_ref()?.median),
        },
        Phase {
            name: "a token",
            parts: |cell| cell.time_split.as_ref()?.decode_ms.first(),
            measured: |cell| Some(cell.tpot_ms.as_ref()?.median),
        },
    ];
    let charts: Vec<_> = PHASES
        .iter()
        .filter_map(|phase| {
            let id = format!("{id}-split-{}", phase.name.replace(' ', "-"));
            Some((phase.name, bars::split(&id, group, phase)?))
        })
        .collect();
    let splits = || {
        group
            .cells
            .iter()
            .filter_map(|cell| cell.time_split.as_ref())
    };
    let Some(first) = splits().find_map(|split| split.prefill_ms.first()) else {
        return html! {};
    };
    let cost =
        |of: fn(&Cost) -> Option<f64>| splits().filter_map(|it| of(&it.cost)).fold(0.0, f64::max);
    html! {
        h2 { "Where the time went" }
        p.muted {
            "Of the first rank, in runs of their own: without messages up to "
            (number(cost(|it| Some(it.without)))) " times as long as a measured run, with each \
             message apart up to " (number(cost(|it| it.apart))) " times."
        }
        ul.legend {
            @for (series, (part, _)) in first.each().into_iter().enumerate() {
                li { (swatch(series, false)) (part) }
            }
            li { "line: TTFT and TPOT of the measured runs" }
        }
        div.grid {
            @for (phase, chart) in &charts {
                (figure(&format!("Time split of {phase}"), "ms, in the order of the legend", chart))
            }
        }
    }
}

/// The bytes that each cable carried.
pub fn bytes(id: &str, group: &Group) -> Markup {
    type Of = fn(&Cell) -> &BTreeMap<String, f64>;
    let phases: [(&str, Of); 2] = [
        ("prefill", |it| &it.prefill_bytes),
        ("decode", |it| &it.decode_bytes),
    ];
    let mut figures = Vec::new();
    for (phase, of) in phases {
        for (k, strategy) in group.strategies().into_iter().enumerate() {
            let chart = bars::bytes(
                &format!("{id}-bytes-{phase}-{k}"),
                group,
                strategy,
                phase,
                of,
            );
            figures.extend(chart.map(|chart| (strategy, phase, chart)));
        }
    }
    html! {
        @if !figures.is_empty() {
            h2 { "Bytes a cable" }
            p.muted { "MB of both directions over the measured repeats. Equal bars share the work; a missing bar is a cable that carries nothing." }
            div.grid {
                @for (strategy, phase, chart) in &figures {
                    (figure(&format!("{strategy}: {phase}"), "MB a cable", chart))
                }
            }
        }
    }
}

/// The figures against depth, where cells differ in it.
pub fn depth(groups: &[Group]) -> Markup {
    let mut figures = Vec::new();
    for (k, sweep) in depth::sweeps(groups).into_iter().enumerate() {
        let strategies = distinct(sweep.iter().flat_map(|group| group.strategies()));
        for (metric, (n, strategy)) in Metric::ALL
            .into_iter()
            .flat_map(|it| strategies.iter().enumerate().map(move |s| (it, s)))
        {
            let lines = depth::lines(&sweep, strategy, metric);
            let id = format!("depth{k}-{}-{n}", metric.id());
            if let Some(chart) = depth::draw(&id, &lines, strategy, metric) {
                figures.push((*strategy, metric, lines, chart));
            }
        }
    }
    html! {
        @if !figures.is_empty() {
            h2 { "Depth" }
            div.grid {
                @for (strategy, metric, lines, chart) in &figures {
                    @let legend = html! {
                        ul.legend {
                            @for (series, line) in lines.iter().enumerate() {
                                li { (swatch(series, false)) (line.place.backend) "-" (line.place.cables) }
                            }
                        }
                    };
                    (figure(
                        &format!("{strategy}: {}, {}", metric.name().to_lowercase(), metric.unit()),
                        metric.better(),
                        &html! { (legend) (chart) },
                    ))
                }
            }
        }
    }
}

/// The bus bandwidth of collectives, with the lengths that this benchmark sends.
pub fn bandwidth(collectives: Option<&Collectives>, bench: &Bench) -> Markup {
    let Some(collectives) = collectives else {
        return html! {};
    };
    let marks = marks(bench);
    let subjects = bandwidth::subjects(collectives);
    html! {
        h2 { "Bus bandwidth of collectives" }
        @if subjects.is_empty() {
            p.warn { "\u{26a0} No row of the collectives has a bandwidth." }
        } @else {
            p.muted {
                "Dashed: what the cables carry. "
                @if !marks.is_empty() { "Dotted: the lengths that this benchmark's messages have: " }
                @for (k, mark) in marks.iter().enumerate() {
                    @if k > 0 { ", " }
                    (mark.what) " " (size(mark.bytes))
                }
                @if !marks.is_empty() { "." }
            }
        }
        div.grid {
            @for (k, subject) in subjects.iter().enumerate() {
                @let legend = html! {
                    ul.legend {
                        @for line in bandwidth::lines(collectives, subject) {
                            li { (swatch(line.series, false)) (line.backend) "-" (line.cables) }
                        }
                    }
                };
                @let chart = bandwidth::draw(&format!("busbw-{k}"), collectives, subject, &marks);
                (figure(
                    &format!("{}: busbw, MB/s", subject.op),
                    &format!("MLX {}, {}, {} ranks, {} frames", subject.mlx, subject.series,
                        subject.ranks, subject.frames),
                    &html! { (legend) (chart) },
                ))
            }
        }
    }
}

/// The lengths of the activations that ranks exchange: of a token at decode, of a chunk of
/// the prompt in prefill.
fn marks(bench: &Bench) -> Vec<Mark> {
    let Some(token) = bench.message_bytes() else {
        return Vec::new();
    };
    let chunks = bench.cells.iter().map(|cell| {
        let prompt = cell.task.prompt_tokens;
        prompt.min(cell.task.prefill_step.unwrap_or(prompt))
    });
    let decode = Mark {
        what: "decode",
        bytes: token,
    };
    let prefill = distinct(chunks)
        .into_iter()
        .filter(|chunk| *chunk > 0)
        .map(|chunk| Mark {
            what: "prefill",
            bytes: token.saturating_mul(chunk),
        });
    std::iter::once(decode).chain(prefill).collect()
}
