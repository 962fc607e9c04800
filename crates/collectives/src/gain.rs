//! Two builds beside each other, for whoever claims that the second is faster.

use rail_verify::{proof::Compared, verdict::Verdict};

use crate::{Row, cells::Cell};

/// Every cell with its first two builds, of which the first is the one without the patch.
/// A cell that only one of them has is left out.
pub fn compared(rows: &[Row]) -> Vec<Compared> {
    let pairs = rows.chunk_by(|a, b| a.cell == b.cell);
    pairs
        .filter_map(|pair| match pair {
            [without, with, ..] => Some(compare(without, with)),
            _ => None,
        })
        .collect()
}

fn compare(without: &Row, with: &Row) -> Compared {
    let median = |row: &Row| row.time_us.as_ref().map(|times| times.median);
    let wrong = [(without, "without"), (with, "with")]
        .into_iter()
        .find(|(row, _)| row.verdict != Verdict::Pass);
    let detail = wrong.map(|(row, side)| {
        let detail = row.detail.as_deref().unwrap_or_default();
        format!("{} {side} the patch: {detail}", row.verdict)
    });
    Compared {
        flags: flags(&with.cell),
        without_us: median(without),
        with_us: median(with),
        ratio: match wrong {
            None => with.ratio.map(|ratio| ratio.median),
            Some(_) => None,
        },
        detail,
    }
}

/// The flags that measure just this cell.
fn flags(cell: &Cell) -> String {
    let Cell {
        backend,
        ranks,
        cables,
        frames,
        op,
        bytes,
        dtype,
    } = cell;
    let mut flags = format!(
        "--op {op} --backend {backend} --ranks {ranks} --cables {cables} --frames {frames}"
    );
    if op.has_bytes() {
        flags += &format!(" --bytes {bytes} --dtype {dtype}");
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cells, Options, Ratio, row::Samples};
    use rail_verify::{group::Build, run::Variant};

    fn row(cables: usize, median: f64, ratio: Option<f64>) -> Row {
        let flags = "--op all_sum --backend ring --frames big --bytes 8KiB";
        let cells = Cells::parse(&format!("{flags} --cables {cables}"));
        let [cell] = cells.expect("flags").cells()[..] else {
            panic!("one cell");
        };
        let variant = Variant {
            mlx: "0.31.2".into(),
            series: "tuned".into(),
            wheel: None,
            build: Build {
                library: "libjaccl_shim.so".into(),
                key: "key".into(),
            },
            manifest: serde_json::Value::Null,
        };
        let samples = Samples {
            turns: vec![vec![median]],
            ..Samples::default()
        };
        Row {
            ratio: ratio.map(|ratio| Ratio {
                median: ratio,
                min: ratio,
                max: ratio,
            }),
            ..Row::new((0, &variant), &cell, &Options::default(), &samples, None)
        }
    }

    #[test]
    fn each_cell_is_compared_with_the_build_without_the_patch() {
        let rows = [
            row(1, 400.0, None),
            row(1, 100.0, Some(0.25)),
            row(3, 300.0, None),
            row(3, 150.0, Some(0.5)),
            // An operation that only one build has.
            row(4, 300.0, None),
        ];
        let compared = compared(&rows);
        let ratios: Vec<_> = compared.iter().map(|it| it.ratio).collect();
        assert_eq!(ratios, [Some(0.25), Some(0.5)]);
        let times = (compared[0].without_us, compared[0].with_us);
        assert_eq!(times, (Some(400.0), Some(100.0)));
        let cells = Cells::parse(&compared[1].flags).expect("flags").cells();
        assert_eq!((cells.len(), cells[0].cables), (1, 3));
    }

    /// However fast it is.
    #[test]
    fn what_is_wrong_gains_nothing() {
        let wrong = Row {
            verdict: Verdict::Wrong,
            detail: Some("rank 0 has wrong data".into()),
            ..row(1, 100.0, Some(0.25))
        };
        let compared = compared(&[row(1, 400.0, None), wrong]);
        assert_eq!(compared[0].ratio, None);
        let detail = compared[0].detail.as_deref();
        assert_eq!(detail, Some("wrong with the patch: rank 0 has wrong data"));
    }
}
