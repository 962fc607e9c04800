//! Computing lazy arrays.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use crate::{
    Array, Result,
    call::{ArrayVector, status},
    device::synchronize,
};

thread_local! {
    static EVALUATING: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// How long the calling thread has waited for evaluations so far, in [`eval()`], in
/// [`async_eval`] and in what reads an array.
pub fn evaluating() -> Duration {
    EVALUATING.get()
}

/// Counts the time of a call that waits for MLX.
pub(crate) fn counted<R>(wait: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let result = wait();
    EVALUATING.set(EVALUATING.get() + began.elapsed());
    result
}

/// Computes `arrays` and everything they depend on, and waits for the result.
///
/// # Errors
/// What MLX throws while it schedules the work, for instance because the device lacks an
/// operation for a type. Work that was scheduled before has then finished. The crate's
/// documentation describes errors of the work itself.
pub fn eval(arrays: &[&Array]) -> Result<()> {
    let outputs = ArrayVector::new(arrays)?;
    let evaluate = || {
        // SAFETY: a live list of live arrays.
        unsafe { mlx_sys::mlx_eval(outputs.raw()) }
    };
    counted(|| status(evaluate)).inspect_err(|_| {
        // MLX marks an array evaluated once its work is queued, and relies on the end of
        // `eval` to wait. After an error no call has waited, so reading such an array
        // would race with the stream's thread.
        let _ = synchronize();
    })
}

/// Begins to compute `arrays` and everything they depend on, and does not wait for the
/// result: [`Array::read`], [`Array::item`] and [`Array::to_vec`] wait for their array. On the
/// CPU it returns when no more than about fifty operations are left to compute
/// (`MAX_ACTIVE_TASKS` in `mlx/transforms.cpp`).
///
/// # Errors
/// As [`eval()`]. The arrays must not be read after an error: what was not scheduled never
/// becomes ready.
pub fn async_eval(arrays: &[&Array]) -> Result<()> {
    let outputs = ArrayVector::new(arrays)?;
    let begin = || {
        // SAFETY: a live list of live arrays.
        unsafe { mlx_sys::mlx_async_eval(outputs.raw()) }
    };
    counted(|| status(begin)).inspect_err(|_| {
        // As in `eval`.
        let _ = synchronize();
    })
}

/// `array`, computed only after `dependencies`.
///
/// Messages between ranks carry no tag, so every rank must issue them in the same order.
/// This states an order that no data implies (`mx.depends`).
///
/// # Errors
/// What MLX reports.
pub fn depends(array: &Array, dependencies: &[&Array]) -> Result<Array> {
    let inputs = ArrayVector::new(&[array])?;
    let dependencies = ArrayVector::new(dependencies)?;
    let mut outputs = ArrayVector::null();
    status(|| {
        // SAFETY: live lists of live arrays; `outputs` receives the list that is made.
        unsafe { mlx_sys::mlx_depends(outputs.as_mut_ptr(), inputs.raw(), dependencies.raw()) }
    })?;
    outputs.get(0)
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command, thread};

    use super::*;
    use crate::{
        Dtype,
        call::{op, optional},
    };

    #[test]
    fn an_error_while_work_is_scheduled_is_an_error() -> Result<()> {
        let half = Array::zeros(&[64, 64], Dtype::Float16)?;
        let mask = Array::zeros(&[2, 2], Dtype::Float16)?;
        let block = 32;
        // MLX accepts the operation, but the CPU backend supports it for 32 bits only.
        let unsupported = op!(mlx_block_masked_mm(
            half.raw(),
            half.raw(),
            block,
            mask.raw(),
            optional(None),
            optional(None),
        ))?;
        let sum = Array::from_slice(&[1.0f32; 64], &[64])?.sum_axis(0, false)?;
        let error = eval(&[&sum, &unsupported]).unwrap_err();
        assert!(
            error.message.starts_with("[BlockMaskedMM::eval]"),
            "{error}"
        );
        assert_eq!(sum.item::<f32>()?, 64.0);
        Ok(())
    }

    #[test]
    fn each_thread_counts_the_time_of_its_own_evaluations() -> Result<()> {
        let before = evaluating();
        let ones = Array::from_slice(&[1.0f32; 64], &[64])?;
        assert_eq!(evaluating(), before);
        ones.sum_axis(0, false)?.item::<f32>()?;
        assert!(evaluating() > before);
        let other = thread::spawn(evaluating).join().expect("it ends");
        assert_eq!(other, Duration::ZERO);
        Ok(())
    }

    /// Tests what the crate's documentation says of errors on a stream's thread, because
    /// this crate cannot prevent them.
    #[cfg(unix)]
    #[test]
    fn an_error_on_the_streams_thread_ends_the_process_with_its_message() -> Result<()> {
        use std::os::unix::process::ExitStatusExt;

        const CHILD: &str = "MLX_CORE_TEST_CHILD";
        const SIGABRT: i32 = 6;

        if env::var_os(CHILD).is_some() {
            let singular = Array::zeros(&[2, 2], Dtype::Float32)?;
            let inverse = op!(mlx_linalg_inv(singular.raw()))?;
            return eval(&[&inverse]);
        }
        let test = "eval::tests::an_error_on_the_streams_thread_ends_the_process_with_its_message";
        let child = Command::new(env::current_exe().expect("a test has a file"))
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .expect("the test runs itself");
        assert_eq!(child.status.signal(), Some(SIGABRT), "{:?}", child.status);
        let stderr = String::from_utf8_lossy(&child.stderr);
        assert!(stderr.contains("[Inverse::eval_cpu]"), "{stderr}");
        Ok(())
    }
}
