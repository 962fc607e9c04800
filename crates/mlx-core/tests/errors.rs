//! An exception of MLX arrives as an error, and MLX can still be used after it.

use std::thread;

use mlx_core::{
    Array, Choices, Device, Result, concatenate,
    distributed::{Backend, Group},
    quant::{QuantizedMatrix, Scheme},
};

#[track_caller]
fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("MLX did not object"),
        Err(error) => error.to_string(),
    }
}

fn ones(shape: &[i32]) -> Array {
    let count: i32 = shape.iter().product();
    Array::from_slice(&vec![1.0f32; count as usize], shape).unwrap()
}

#[test]
fn a_mismatch_of_shapes_names_the_operation_and_the_shapes() {
    let text = message(ones(&[2, 3]).matmul(&ones(&[2, 3])));
    assert!(
        text.starts_with("[matmul]") && text.contains("(2,3)"),
        "{text}"
    );
    assert!(
        !text.contains(".cpp"),
        "the origin in mlx-c is noise: {text}"
    );

    assert!(message(ones(&[2, 3]).add(&ones(&[2, 4]))).contains("(2,4)"));
    assert!(message(ones(&[4]).reshape(&[3])).starts_with("[reshape]"));
    assert!(message(concatenate(&[], 0)).starts_with("[concatenate]"));
    assert_eq!(
        ones(&[2])
            .add(&ones(&[2]))
            .unwrap()
            .to_vec::<f32>()
            .unwrap(),
        [2.0, 2.0]
    );
}

#[test]
fn each_thread_gets_its_own_errors() {
    thread::scope(|scope| {
        for width in 5..9 {
            scope.spawn(move || {
                for _ in 0..50 {
                    let text = message(ones(&[1, width]).matmul(&ones(&[1, width])));
                    assert!(text.contains(&format!("(1,{width})")), "{text}");
                    assert_eq!(
                        ones(&[width])
                            .sum_axis(0, false)
                            .unwrap()
                            .item::<f32>()
                            .unwrap(),
                        width as f32
                    );
                }
            });
        }
    });
}

#[test]
fn the_wrapper_checks_what_mlx_does_not() {
    assert!(message(Array::from_slice(&[1i32; 5], &[2, 3])).contains("5 values"));
    assert!(message(Array::from_slice(&[1i32; 2], &[-1, -2])).contains("[-1, -2]"));
    assert!(message(ones(&[2]).to_vec::<i32>()).contains("Float32"));
    assert!(message(ones(&[2]).item::<f32>()).contains("[2]"));
    assert!(message(Choices::new(&[1, 2], 2)).contains("index 2"));
    let three = Choices::new(&[0], 3).unwrap();
    assert!(message(ones(&[2, 2]).take_axis(&three, 0)).contains("below 3"));
}

#[test]
fn an_unknown_scheme_is_refused() {
    assert!(message(Scheme::new(48, 4)).contains("48"));
    assert!(message(Scheme::new(32, 5)).contains("5 bits"));
    let scheme = Scheme::new(64, 4).unwrap();
    assert!(message(QuantizedMatrix::quantize(&ones(&[8, 96]), scheme)).contains("64"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_missing_gpu_is_an_error() {
    assert!(message(Device::Gpu.set_default()).contains("gpu"));
    Device::Cpu.set_default().unwrap();
}

#[test]
fn a_group_of_one_needs_no_environment() -> Result<()> {
    assert!(message(Group::init(Backend::Jaccl, true)).contains("[jaccl]"));
    let group = Group::init(Backend::Jaccl, false)?;
    assert_eq!((group.rank(), group.size()), (0, 1));
    let x = ones(&[3]);
    assert_eq!(group.all_sum(&x)?.to_vec::<f32>()?, [1.0; 3]);
    assert_eq!(group.all_gather(&x)?.shape(), [3]);
    assert!(message(group.send(&x, 0)).contains("singleton"));
    assert!(message(group.recv_like(&x, 0)).contains("singleton"));
    Ok(())
}
