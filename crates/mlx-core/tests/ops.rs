//! Operations, compared with plain Rust.

use mlx_core::{
    Array, Choices, Dtype, Result, async_eval, concatenate,
    fast::{Mask, Rope, rms_norm, scaled_dot_product_attention},
    quant::{QuantizedMatrix, Scheme},
    random::Key,
    stack,
};

/// Numbers without a pattern that a wrong stride could hide behind.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    (0..count as u32)
        .map(|i| {
            let mixed = (i ^ seed.rotate_left(9)).wrapping_mul(2_654_435_761) >> 8;
            (mixed % 2001) as f32 / 1000.0 - 1.0
        })
        .collect()
}

#[track_caller]
fn assert_close(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len());
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= tolerance, "element {i}: {a} is not {e}");
    }
}

/// (rows, inner) x (inner, columns).
fn product(a: &[f32], b: &[f32], rows: usize, inner: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows * columns];
    for r in 0..rows {
        for c in 0..columns {
            out[r * columns + c] = (0..inner)
                .map(|k| a[r * inner + k] * b[k * columns + c])
                .sum();
        }
    }
    out
}

fn softmax(row: &[f32]) -> Vec<f32> {
    let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = row.iter().map(|x| (x - greatest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}

#[test]
fn elements_survive_the_round_trip() -> Result<()> {
    let array = Array::from_slice(&[1u32, 2, 3, 4, 5, 6], &[2, 3])?;
    assert_eq!(
        (array.shape(), array.dtype()),
        ([2, 3].as_slice(), Dtype::Uint32)
    );
    assert_eq!((array.size(), array.nbytes()), (6, 24));
    let copy = array.clone();
    drop(array);
    assert_eq!(copy.to_vec::<u32>()?, [1, 2, 3, 4, 5, 6]);
    assert_eq!(Array::scalar(-7i64)?.item::<i64>()?, -7);
    assert_eq!(Array::scalar(1.5f32)?.shape(), [] as [i32; 0]);
    assert_eq!(Array::from_slice::<u8>(&[], &[0, 4])?.to_vec::<u8>()?, []);
    Ok(())
}

#[test]
fn bytes_become_elements_wherever_they_lie() -> Result<()> {
    let values = [1.5f32, -2.0, 0.25, 8.0];
    let mut bytes = vec![0];
    bytes.extend(values.iter().flat_map(|it| it.to_le_bytes()));
    for start in 0..4 {
        bytes.insert(0, 0);
        let content = &bytes[start + 2..];
        let array = Array::from_bytes(content, &[2, 2], Dtype::Float32)?;
        assert_eq!(array.shape(), [2, 2]);
        assert_eq!(array.to_vec::<f32>()?, values);
    }
    // Half of 1.0 is 0x3800 in 16 bits.
    let halves = Array::from_bytes(&[0, 0x38], &[1], Dtype::Float16)?;
    assert_eq!(halves.astype(Dtype::Float32)?.item::<f32>()?, 0.5);
    for (shape, dtype) in [
        (&[3][..], Dtype::Float32),
        (&[-2, -2], Dtype::Float32),
        (&[16], Dtype::Bool),
    ] {
        assert!(Array::from_bytes(&[0; 16], shape, dtype).is_err());
    }
    Ok(())
}

#[test]
fn views_are_copied_out_in_row_major_order() -> Result<()> {
    let array = Array::arange(0, 24, Dtype::Int32)?.reshape(&[2, 3, 4])?;
    let turned = array.transpose(&[2, 0, 1])?;
    let expected: Vec<i32> = (0..24).map(|i| (i % 6) * 4 + i / 6).collect();
    assert_eq!(turned.shape(), [4, 2, 3]);
    assert_eq!(turned.to_vec::<i32>()?, expected);
    assert_eq!(
        array
            .slice_axis(2, 1, 3)?
            .slice(&[1, 0, 0], &[2, 3, 1])?
            .to_vec::<i32>()?,
        [13, 17, 21]
    );
    Ok(())
}

#[test]
fn element_wise_operations() -> Result<()> {
    let (a, b) = (numbers(12, 1), numbers(4, 2));
    let (x, y) = (
        Array::from_slice(&a, &[3, 4])?,
        Array::from_slice(&b, &[4])?,
    );
    let expect = |f: fn(f32, f32) -> f32| -> Vec<f32> {
        a.iter().enumerate().map(|(i, &v)| f(v, b[i % 4])).collect()
    };
    assert_close(&x.add(&y)?.to_vec()?, &expect(|a, b| a + b), 0.0);
    assert_close(&x.subtract(&y)?.to_vec()?, &expect(|a, b| a - b), 0.0);
    assert_close(&x.multiply(&y)?.to_vec()?, &expect(|a, b| a * b), 0.0);
    assert_close(&x.divide(&y)?.to_vec()?, &expect(|a, b| a / b), 1e-6);
    assert_close(&x.abs()?.to_vec()?, &expect(|a, _| a.abs()), 0.0);
    assert_close(
        &x.silu()?.to_vec()?,
        &expect(|a, _| a / (1.0 + (-a).exp())),
        1e-6,
    );
    Ok(())
}

#[test]
fn reductions_and_choices() -> Result<()> {
    let a = numbers(20, 3);
    let x = Array::from_slice(&a, &[4, 5])?;
    let rows: Vec<&[f32]> = a.chunks(5).collect();

    let sums: Vec<f32> = rows.iter().map(|row| row.iter().sum()).collect();
    assert_close(&x.sum_axis(-1, false)?.to_vec()?, &sums, 1e-6);
    assert_eq!(x.sum_axis(1, true)?.shape(), [4, 1]);
    assert_close(&[x.mean()?.item()?], &[a.iter().sum::<f32>() / 20.0], 1e-6);
    assert_eq!(
        x.max()?.item::<f32>()?,
        a.iter().copied().fold(f32::MIN, f32::max)
    );

    let greatest: Vec<u32> = rows
        .iter()
        .map(|row| (0..5).max_by(|&i, &j| row[i].total_cmp(&row[j])).unwrap() as u32)
        .collect();
    let places = x.place_of_greatest()?;
    assert_eq!(places.indices().to_vec::<u32>()?, greatest);

    let mut top = x.topk_axis(2, -1)?.slice_axis(0, 1, 2)?.to_vec::<f32>()?;
    let mut expected = rows[1].to_vec();
    expected.sort_by(f32::total_cmp);
    top.sort_by(f32::total_cmp);
    assert_eq!(top, expected[3..]);

    let weights: Vec<f32> = rows.iter().flat_map(|row| softmax(row)).collect();
    assert_close(&x.softmax_axis(-1, true)?.to_vec()?, &weights, 1e-6);
    Ok(())
}

#[test]
fn gathering_and_joining() -> Result<()> {
    let table = Array::arange(0, 12, Dtype::Int32)?.reshape(&[4, 3])?;
    assert_eq!(
        table
            .take_axis(&Choices::new(&[3, 0], 4)?, 0)?
            .to_vec::<i32>()?,
        [9, 10, 11, 0, 1, 2]
    );
    let joined = concatenate(
        &[&table.slice_axis(1, 2, 3)?, &table.slice_axis(1, 0, 1)?],
        1,
    )?;
    assert_eq!(joined.to_vec::<i32>()?, [2, 0, 5, 3, 8, 6, 11, 9]);
    assert_eq!(
        Array::zeros(&[2], Dtype::Float32)?.to_vec::<f32>()?,
        [0.0, 0.0]
    );
    Ok(())
}

#[test]
fn a_slice_is_put_in_place_and_arrays_are_stacked_and_repeated() -> Result<()> {
    let room = Array::zeros(&[1, 4, 2], Dtype::Int32)?;
    let two = Array::arange(1, 5, Dtype::Int32)?.reshape(&[1, 2, 2])?;
    let filled = room.slice_update(&two, &[0, 1, 0], &[1, 3, 2])?;
    assert_eq!(filled.to_vec::<i32>()?, [0, 0, 1, 2, 3, 4, 0, 0]);
    assert_eq!(room.to_vec::<i32>()?, [0; 8], "others see the old content");
    assert!(room.slice_update(&two, &[0, 3, 0], &[1, 4, 2]).is_err());

    let both = stack(&[&two, &two.negative()?], 1)?;
    assert_eq!(both.shape(), [1, 2, 2, 2]);
    assert_eq!(both.to_vec::<i32>()?, [1, 2, 3, 4, -1, -2, -3, -4]);
    let twice = two.repeat_axis(2, 1)?;
    assert_eq!(twice.to_vec::<i32>()?, [1, 2, 1, 2, 3, 4, 3, 4]);
    Ok(())
}

#[test]
fn a_convolution_by_channel_sees_each_channel_alone() -> Result<()> {
    let (positions, channels, length) = (6usize, 3usize, 4usize);
    let (a, k) = (
        numbers(positions * channels, 31),
        numbers(channels * length, 32),
    );
    let x = Array::from_slice(&a, &[1, positions as i32, channels as i32])?;
    let kernel = Array::from_slice(&k, &[channels as i32, length as i32, 1])?;
    let mut expected = Vec::new();
    for start in 0..=positions - length {
        for channel in 0..channels {
            let terms = (0..length)
                .map(|at| a[(start + at) * channels + channel] * k[channel * length + at]);
            expected.push(terms.sum());
        }
    }
    assert_close(&x.conv1d_by_channel(&kernel)?.to_vec()?, &expected, 1e-5);
    Ok(())
}

#[test]
fn exponentials() -> Result<()> {
    let a = numbers(16, 33);
    let x = Array::from_slice(&a, &[16])?;
    let of = |function: fn(f32) -> f32| a.iter().copied().map(function).collect::<Vec<_>>();
    assert_close(&x.exp()?.to_vec()?, &of(f32::exp), 1e-5);
    assert_close(&x.softplus()?.to_vec()?, &of(|x| x.exp().ln_1p()), 1e-5);
    assert_close(&x.scaled(-0.5)?.to_vec()?, &of(|x| -0.5 * x), 0.0);
    let half = x.astype(Dtype::Bfloat16)?;
    assert_eq!(half.scaled(0.5)?.dtype(), Dtype::Bfloat16);
    Ok(())
}

/// Each of three rows chooses two of four matrices.
#[test]
fn grouped_choices_give_what_the_choices_give() -> Result<()> {
    let stack = Array::from_slice(&numbers(4 * 5 * 6, 34), &[4, 5, 6])?;
    let x = Array::from_slice(&numbers(3 * 5, 35), &[3, 5])?;
    let (choices, _) = Array::from_slice(&numbers(3 * 4, 36), &[3, 4])?.greatest(2)?;
    let plain = x.reshape(&[3, 1, 1, 5])?.matmul_chosen(&stack, &choices)?;
    let grouped = choices.grouped()?;
    let order = grouped.choices.indices().to_vec::<u32>()?;
    assert!(order.is_sorted(), "{order:?}");
    let rows = x.reshape(&[3, 1, 5])?.take_axis(&grouped.rows, 0)?;
    let sorted = rows.matmul_chosen(&stack, &grouped.choices)?;
    let back = sorted.take_axis(&grouped.places, 0)?;
    assert_close(&back.to_vec()?, &plain.to_vec::<f32>()?, 1e-6);
    Ok(())
}

#[test]
fn an_array_is_read_while_the_next_is_computed() -> Result<()> {
    let mut x = Array::from_slice(&numbers(64 * 64, 37), &[64, 64])?;
    let mut expected = x.clone();
    for _ in 0..4 {
        let next = x.matmul(&x)?;
        async_eval(&[&next])?;
        // Without a copy, and not turned around.
        let (first, transposed) = (x.read(<[f32]>::to_vec)?, x.transpose(&[1, 0])?);
        assert_eq!(first, expected.to_vec::<f32>()?);
        assert_eq!(transposed.read(|it: &[f32]| it[1])?, first[64]);
        expected = expected.matmul(&expected)?;
        x = next;
    }
    assert_eq!(x.to_vec::<f32>()?, expected.to_vec::<f32>()?);
    Ok(())
}

#[test]
fn types_convert() -> Result<()> {
    let x = Array::from_slice(&[1.75f32, -2.5], &[2])?;
    assert_eq!(x.astype(Dtype::Int32)?.to_vec::<i32>()?, [1, -2]);
    let half = x.astype(Dtype::Bfloat16)?;
    assert_eq!((half.dtype(), half.nbytes()), (Dtype::Bfloat16, 4));
    assert_eq!(half.astype(Dtype::Float32)?.to_vec::<f32>()?, [1.75, -2.5]);
    Ok(())
}

#[test]
fn matrix_product() -> Result<()> {
    let (a, b) = (numbers(6 * 7, 4), numbers(7 * 5, 5));
    let x = Array::from_slice(&a, &[6, 7])?;
    let y = Array::from_slice(&b, &[7, 5])?;
    assert_close(&x.matmul(&y)?.to_vec()?, &product(&a, &b, 6, 7, 5), 1e-5);
    Ok(())
}

#[test]
fn rms_normalisation() -> Result<()> {
    let (a, w) = (numbers(3 * 8, 6), numbers(8, 7));
    let eps = 1e-5;
    let expected: Vec<f32> = a
        .chunks(8)
        .flat_map(|row| {
            let scale = (row.iter().map(|x| x * x).sum::<f32>() / 8.0 + eps).sqrt();
            row.iter()
                .zip(&w)
                .map(move |(x, w)| x / scale * w)
                .collect::<Vec<_>>()
        })
        .collect();
    let x = Array::from_slice(&a, &[3, 8])?;
    let weight = Array::from_slice(&w, &[8])?;
    assert_close(
        &rms_norm(&x, Some(&weight), eps)?.to_vec()?,
        &expected,
        1e-5,
    );
    let unit = rms_norm(&x, None, eps)?.multiply(&weight)?;
    assert_close(&unit.to_vec()?, &expected, 1e-5);
    Ok(())
}

#[test]
fn rope_turns_pairs_by_their_position() -> Result<()> {
    let (positions, dims, offset, base) = (3usize, 4usize, 5usize, 10_000.0f32);
    let a = numbers(positions * dims, 8);
    let mut expected = a.clone();
    for p in 0..positions {
        for k in 0..dims / 2 {
            let angle = (offset + p) as f32 * base.powf(-2.0 * k as f32 / dims as f32);
            let (first, second) = (p * dims + k, p * dims + k + dims / 2);
            expected[first] = a[first] * angle.cos() - a[second] * angle.sin();
            expected[second] = a[first] * angle.sin() + a[second] * angle.cos();
        }
    }
    let rope = Rope {
        dims: dims as i32,
        traditional: false,
        base,
    };
    let x = Array::from_slice(&a, &[1, 1, positions as i32, dims as i32])?;
    assert_close(&rope.apply(&x, offset as i32)?.to_vec()?, &expected, 1e-5);
    Ok(())
}

#[test]
fn grouped_causal_attention() -> Result<()> {
    let (heads, kv_heads, queries, keys, dims) = (4usize, 2usize, 3usize, 5usize, 6usize);
    let q = numbers(heads * queries * dims, 9);
    let k = numbers(kv_heads * keys * dims, 10);
    let v = numbers(kv_heads * keys * dims, 11);
    let scale = 0.5;

    let mut expected = Vec::new();
    for head in 0..heads {
        let kv = head / (heads / kv_heads) * keys * dims;
        for query in 0..queries {
            let row = &q[(head * queries + query) * dims..][..dims];
            let seen = keys - queries + query + 1;
            let scores: Vec<f32> = (0..seen)
                .map(|key| {
                    let column = &k[kv + key * dims..][..dims];
                    scale * row.iter().zip(column).map(|(a, b)| a * b).sum::<f32>()
                })
                .collect();
            let weights = softmax(&scores);
            expected.extend((0..dims).map(|d| {
                (0..seen)
                    .map(|key| weights[key] * v[kv + key * dims + d])
                    .sum::<f32>()
            }));
        }
    }

    let array = |values: &[f32], heads: usize, length: usize| {
        Array::from_slice(values, &[1, heads as i32, length as i32, dims as i32])
    };
    let (q, k, v) = (
        array(&q, heads, queries)?,
        array(&k, kv_heads, keys)?,
        array(&v, kv_heads, keys)?,
    );
    let causal = scaled_dot_product_attention(&q, &k, &v, scale, Mask::Causal)?;
    assert_close(&causal.to_vec()?, &expected, 1e-5);

    let additive: Vec<f32> = (0..queries * keys)
        .map(|i| {
            if i % keys > keys - queries + i / keys {
                f32::NEG_INFINITY
            } else {
                0.0
            }
        })
        .collect();
    let mask = Array::from_slice(&additive, &[queries as i32, keys as i32])?;
    let masked = scaled_dot_product_attention(&q, &k, &v, scale, Mask::Array(&mask))?;
    assert_close(&masked.to_vec()?, &expected, 1e-5);

    let open = scaled_dot_product_attention(&q, &k, &v, scale, Mask::None)?;
    assert_ne!(open.to_vec::<f32>()?, masked.to_vec::<f32>()?);
    Ok(())
}

#[test]
fn a_quantised_product_equals_that_of_the_dequantised_matrix() -> Result<()> {
    let (rows, columns) = (48usize, 128usize);
    let w = numbers(rows * columns, 12);
    let matrix = Array::from_slice(&w, &[rows as i32, columns as i32])?;
    let a = numbers(3 * columns, 13);
    let x = Array::from_slice(&a, &[3, columns as i32])?;

    for (bits, step) in [(4, 2.0 / 15.0), (8, 2.0 / 255.0)] {
        let quantised = QuantizedMatrix::quantize(&matrix, Scheme::new(64, bits)?)?;
        let restored = quantised.dequantize()?;
        assert_close(&restored.to_vec()?, &w, step);

        let plain = x.matmul(&restored.transpose(&[1, 0])?)?;
        let packed = quantised.matmul_transposed(&x)?;
        assert_close(&packed.to_vec()?, &plain.to_vec()?, 1e-4);
    }
    Ok(())
}

#[test]
fn a_matrix_of_its_parts_is_the_quantised_one() -> Result<()> {
    let matrix = Array::from_slice(&numbers(16 * 64, 21), &[16, 64])?;
    let scheme = Scheme::new(32, 8)?;
    let quantised = QuantizedMatrix::quantize(&matrix, scheme)?;
    let [weight, scales, biases] = quantised.arrays().map(Clone::clone);
    let again = QuantizedMatrix::from_parts(weight, scales, biases, scheme);
    let whole = quantised.dequantize()?;
    let choices = Choices::new(&[7, 0], 16)?;
    assert_eq!(again.dequantize()?.to_vec::<f32>()?, whole.to_vec::<f32>()?);
    assert_eq!(
        again.rows(&choices)?.to_vec::<f32>()?,
        whole.take_axis(&choices, 0)?.to_vec::<f32>()?
    );
    assert!(again.rows(&Choices::new(&[0], 17)?).is_err());
    Ok(())
}

#[test]
fn slices_of_whole_groups_quantise_alike() -> Result<()> {
    let matrix = Array::from_slice(&numbers(32 * 128, 14), &[32, 128])?;
    let scheme = Scheme::new(32, 4)?;
    let whole = QuantizedMatrix::quantize(&matrix, scheme)?.dequantize()?;
    let part = QuantizedMatrix::quantize(&matrix.slice_axis(1, 64, 128)?, scheme)?.dequantize()?;
    assert_eq!(
        part.to_vec::<f32>()?,
        whole.slice_axis(1, 64, 128)?.to_vec::<f32>()?
    );
    Ok(())
}

#[test]
fn a_key_decides_what_is_drawn() -> Result<()> {
    let draw = |seed| {
        Key::new(seed)?
            .normal(&[64, 64], 2.0, Dtype::Float32)?
            .to_vec::<f32>()
    };
    let first = draw(1)?;
    assert_eq!(first, draw(1)?);
    assert_ne!(first, draw(2)?);
    let mean = first.iter().sum::<f32>() / 4096.0;
    let variance = first.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 4096.0;
    assert!(
        mean.abs() < 0.2 && (variance - 4.0).abs() < 0.5,
        "mean {mean}, variance {variance}"
    );
    Ok(())
}
