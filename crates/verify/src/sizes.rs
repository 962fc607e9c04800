//! The lengths worth trying: those around which jaccl changes its behaviour.

use std::collections::BTreeSet;

use jaccl::Dtype;

use crate::{
    case::{Backend, Frames, Op, Setting},
    selection::Level,
};

/// `FRAME_SIZE` in `rdma.h`.
const FRAME: usize = 4096;

/// `BUFFER_SIZES` in `rdma.h`: big frames are [`FRAME`] times a power of two below
/// this.
const FRAME_SIZES: u32 = 8;

/// `PIPELINE` in `ring_impl.h` and `mesh_impl.h`: frames in flight at once.
const PIPELINE: usize = 2;

/// Lengths at which jaccl changes its algorithm: the ring's use of one wire (32 KiB from
/// MLX 0.32.1, 64 KiB before) and the mesh's (512 KiB), the two steps of the mesh above
/// 32 KiB with three ranks or more, and the mesh's switch to a ring above 512 KiB of bf16
/// before MLX 0.32.
const THRESHOLDS: [usize; 3] = [32 << 10, 64 << 10, 512 << 10];

/// The length above which a mesh of three ranks or more reduces as a ring before MLX
/// 0.32, whatever the dtype (`MeshGroup::all_reduce` in `mesh.cpp`).
const MESH_TO_RING: usize = 8 << 20;

/// Far above the thresholds, and not a multiple of any of them.
const LARGE: usize = 2_500_003;

/// The lengths of a level for an operation in a setting, ascending, in whole elements.
pub fn lengths(level: Level, op: Op, setting: Setting, dtype: Dtype) -> Vec<usize> {
    let size = dtype.size();
    let found = match level {
        Level::Quick | Level::Soak => few(setting, size),
        // A send differs from a recv only in the rank that begins first, and recv gets
        // every boundary.
        Level::Full if op == Op::Send => few(setting, size),
        Level::Full => boundaries(op, setting, size),
    };
    // Rounding down may give a length that exists already.
    let whole: BTreeSet<usize> = found.into_iter().map(|n| n / size * size).collect();
    whole.into_iter().collect()
}

/// The boundaries that once revealed a defect, and one length of each kind.
fn few(setting: Setting, size: usize) -> Vec<usize> {
    let Setting { ranks, wires, .. } = setting;
    let mut lengths = vec![0, size, 3 * size, FRAME, FRAME + size, PIPELINE * FRAME];
    lengths.extend([wires * FRAME, wires * PIPELINE * FRAME + size]);
    lengths.extend([
        2 * ranks * wires * size - size,
        2 * ranks * wires * FRAME + size,
    ]);
    lengths.extend(THRESHOLDS.iter().map(|at| at + size));
    if setting.frames == Frames::Big {
        lengths.push(wires * (FRAME << (FRAME_SIZES - 1)) + size);
    }
    lengths
}

/// Just below, at and just above every boundary.
fn boundaries(op: Op, setting: Setting, size: usize) -> Vec<usize> {
    let Setting {
        backend,
        ranks,
        wires,
        frames,
    } = setting;
    let mut edges = few(setting, size);
    // The parts of a collective: one for each rank, or for each direction of a rank.
    let parts = match op {
        Op::Send | Op::Recv => vec![1, wires],
        _ => vec![1, wires, ranks * wires, 2 * wires, 2 * ranks * wires],
    };
    for part in &parts {
        for frames in 1..=PIPELINE + 1 {
            edges.push(part * frames * FRAME);
        }
    }
    // The recv defect compared the frames of one wire with offsets in the whole message.
    for frames in 1..=PIPELINE * wires + 1 {
        edges.push(frames * FRAME);
    }
    edges.extend(THRESHOLDS);
    edges.push(2 * ranks * wires * size);
    if frames == Frames::Big {
        for k in 1..FRAME_SIZES {
            edges.extend([FRAME << k, wires * (FRAME << k)]);
        }
        let biggest = FRAME << (FRAME_SIZES - 1);
        edges.push(wires * (PIPELINE + 1) * biggest);
    }
    if op.reduces() && backend == Backend::Mesh && ranks > 2 {
        edges.push(MESH_TO_RING);
    }
    let around = |edge: usize| [edge.saturating_sub(size), edge, edge + size];
    let mut lengths: Vec<usize> = edges.into_iter().flat_map(around).collect();
    lengths.extend((0..=2 * wires + 1).map(|elements| elements * size));
    lengths.push(LARGE);
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths from measurements: these hang on unpatched MLX 0.31.2.
    #[test]
    fn the_full_level_has_every_known_hang_of_recv() {
        for (wires, hangs) in [
            (2, vec![1, 4097, 8191, 8192, 8193]),
            (
                3,
                vec![1, 2, 4, 4097, 8191, 8192, 8193, 12287, 12288, 12289],
            ),
            (4, vec![3, 5, 16383, 16384, 16385]),
        ] {
            let setting = Setting {
                backend: Backend::Ring,
                ranks: 2,
                wires,
                frames: Frames::Small,
            };
            let lengths = lengths(Level::Full, Op::Recv, setting, Dtype::UInt8);
            for length in hangs {
                assert!(lengths.contains(&length), "{length} over {wires} wires");
            }
        }
    }

    #[test]
    fn lengths_are_whole_elements_and_ascend() {
        let setting = Setting {
            backend: Backend::Mesh,
            ranks: 3,
            wires: 3,
            frames: Frames::Big,
        };
        for dtype in Dtype::ALL {
            let lengths = lengths(Level::Full, Op::AllSum, setting, dtype);
            assert!(lengths.is_sorted());
            assert!(lengths.iter().all(|n| n.is_multiple_of(dtype.size())));
            assert_eq!(lengths[0], 0);
        }
    }
}
