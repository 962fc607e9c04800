//! Functions that MLX traces once and computes in few kernels, `mlx.core.compile`.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_void},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use mlx_sys::{mlx_closure, mlx_vector_array};

use crate::{
    Array, Error, Result,
    call::{ArrayVector, status, turn},
};

/// A function of arrays whose element-wise operations become one kernel.
///
/// It is traced once for each combination of types and numbers of dimensions, so it must not
/// depend on anything else. MLX keeps what it traced for the thread, and so the value stays on
/// the thread that made it.
///
/// On the CPU, MLX calls `g++` for each kernel, of whatever length the arrays are, and keeps
/// the library in the system's folder for temporary files. MLX 0.31.2 writes it in place: a
/// process that needs the same kernel at the same moment can load half of it.
pub struct Compiled {
    // A raw pointer, which makes the value `!Send`.
    closure: mlx_closure,
    inputs: usize,
}

/// The function of a [`Compiled`]: the arrays that it is applied to are its arguments.
pub type Function = fn(&[Array]) -> Result<Array>;

impl Compiled {
    /// Compiles a function of so many arrays, when it is first applied.
    ///
    /// # Errors
    /// What MLX reports.
    pub fn new(function: Function, inputs: usize) -> Result<Self> {
        let traced = Closure({
            let _turn = turn();
            // SAFETY: `call` has the signature, and its data is the function itself, which
            // needs no destructor.
            unsafe {
                mlx_sys::mlx_closure_new_func_payload(Some(call), function as *mut c_void, None)
            }
        });
        if traced.0.ctx.is_null() {
            return Err(Error::take());
        }
        let mut compiled = Self {
            closure: mlx_closure {
                ctx: std::ptr::null_mut(),
            },
            inputs,
        };
        let is_shapeless = true;
        status(|| {
            // SAFETY: a live handle, and one that receives the object that is made.
            unsafe { mlx_sys::mlx_compile(&mut compiled.closure, traced.0, is_shapeless) }
        })?;
        Ok(compiled)
    }

    /// The function's result for these arrays.
    ///
    /// # Errors
    /// There are more or fewer arrays than the function has; what MLX and the function report.
    pub fn apply(&self, arrays: &[&Array]) -> Result<Array> {
        if arrays.len() != self.inputs {
            return Err(Error::new(format!(
                "[compile] the function has {} arrays, not {}",
                self.inputs,
                arrays.len()
            )));
        }
        let inputs = ArrayVector::new(arrays)?;
        let mut outputs = ArrayVector::null();
        status(|| {
            // SAFETY: live handles; `outputs` receives the list that is made. What `call`
            // does on the way is in this thread's turn.
            unsafe { mlx_sys::mlx_closure_apply(outputs.as_mut_ptr(), self.closure, inputs.raw()) }
        })?;
        outputs.get(0)
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compiled({} arrays)", self.inputs)
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        drop(Closure(self.closure));
    }
}

struct Closure(mlx_closure);

impl Drop for Closure {
    fn drop(&mut self) {
        let _turn = turn();
        // SAFETY: only this value owns the handle; mlx-c frees nothing if there is no object.
        unsafe { mlx_sys::mlx_closure_free(self.0) };
    }
}

/// Calls the function, whose address is `function`, for mlx-c.
unsafe extern "C" fn call(
    outputs: *mut mlx_vector_array,
    inputs: mlx_vector_array,
    function: *mut c_void,
) -> c_int {
    // SAFETY: `Compiled::new` passed a function of this type.
    let function = unsafe { std::mem::transmute::<*mut c_void, Function>(function) };
    // A panic must not unwind into C++.
    let result = catch_unwind(AssertUnwindSafe(|| -> Result<ArrayVector> {
        // SAFETY: mlx-c passes a live list, and frees it itself.
        let arrays = unsafe { ArrayVector::borrow(inputs) }?;
        ArrayVector::new(&[&function(&arrays)?])
    }));
    match result {
        // SAFETY: both are live handles; `outputs` takes references of its own.
        Ok(Ok(list)) => unsafe { mlx_sys::mlx_vector_array_set(outputs, list.raw()) },
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dtype;

    fn swiglu(arrays: &[Array]) -> Result<Array> {
        arrays[0].silu()?.multiply(&arrays[1])
    }

    #[test]
    fn a_compiled_function_gives_what_the_function_gives() -> Result<()> {
        let compiled = Compiled::new(swiglu, 2)?;
        for shape in [[3, 5], [2, 64]] {
            let count = shape[0] * shape[1];
            let gate = Array::arange(0, count, Dtype::Float32)?.scaled(0.1)?;
            let gate = gate.reshape(&shape)?;
            let up = gate.scaled(-2.0)?;
            let plain = swiglu(&[gate.clone(), up.clone()])?.to_vec::<f32>()?;
            let fused = compiled.apply(&[&gate, &up])?;
            assert_eq!(fused.shape(), shape);
            for (fused, plain) in fused.to_vec::<f32>()?.iter().zip(&plain) {
                assert!(
                    (fused - plain).abs() <= 1e-6 * plain.abs(),
                    "{fused} {plain}"
                );
            }
        }
        let one = Array::scalar(1f32)?;
        assert!(compiled.apply(&[&one]).is_err());
        Ok(())
    }

    #[test]
    fn an_error_and_a_panic_of_the_function_are_errors() -> Result<()> {
        let fails = Compiled::new(|arrays| arrays[0].reshape(&[7]), 1)?;
        let two = Array::zeros(&[2], Dtype::Float32)?;
        assert!(fails.apply(&[&two]).is_err());
        let panics = Compiled::new(|arrays| Ok(arrays[1].clone()), 1)?;
        assert!(panics.apply(&[&two]).is_err());
        // Nothing holds the turn.
        assert_eq!(two.to_vec::<f32>()?, [0.0, 0.0]);
        Ok(())
    }
}
