//! Arrays, and conversions from and to Rust values.
#![allow(unsafe_code)]

use std::{fmt, slice};

use mlx_sys::mlx_array;

use crate::{
    Dtype, Element, Error, Result,
    call::{array, status, turn},
    device::synchronize,
    eval::counted,
};

/// An n-dimensional array, possibly not computed yet (see the crate's documentation).
/// Cloning shares the content.
pub struct Array(mlx_array);

impl Array {
    /// An array of `values` in row-major order. Negative or missing dimensions are not
    /// inferred here.
    ///
    /// # Errors
    /// `shape` does not have as many elements as `values`.
    pub fn from_slice<T: Element>(values: &[T], shape: &[i32]) -> Result<Self> {
        let elements = shape.iter().try_fold(1usize, |product, &length| {
            product.checked_mul(usize::try_from(length).ok()?)
        });
        if elements != Some(values.len()) {
            return Err(Error::new(format!(
                "[from_slice] {} values cannot have shape {shape:?}",
                values.len()
            )));
        }
        array(|out| {
            // SAFETY: `values` holds exactly the elements that `shape` and the type
            // name (checked above), and mlx-c copies them before it returns.
            unsafe {
                mlx_sys::mlx_array_set_data(
                    out,
                    values.as_ptr().cast(),
                    shape.as_ptr(),
                    shape.len() as i32,
                    T::DTYPE.raw(),
                )
            }
        })
    }

    /// An array of elements of any type but [`Dtype::Bool`], whose bits lie in `bytes` in
    /// row-major order, little-endian, as safetensors files have them.
    ///
    /// # Errors
    /// `shape` and `dtype` do not have as many bytes, or the elements are truth values, of
    /// which not every byte is one.
    pub fn from_bytes(bytes: &[u8], shape: &[i32], dtype: Dtype) -> Result<Self> {
        let wanted = shape.iter().try_fold(dtype.size(), |product, &length| {
            product.checked_mul(usize::try_from(length).ok()?)
        });
        if wanted != Some(bytes.len()) || dtype == Dtype::Bool {
            return Err(Error::new(format!(
                "[from_bytes] {} bytes cannot be {dtype:?} elements of shape {shape:?}",
                bytes.len()
            )));
        }
        // mlx-c reads elements, each of which must lie where its type may lie.
        let aligned: Vec<u64>;
        let mut data = bytes.as_ptr();
        if !data.cast::<u64>().is_aligned() {
            let mut words = vec![0; bytes.len().div_ceil(size_of::<u64>())];
            for (word, eight) in words.iter_mut().zip(bytes.chunks(size_of::<u64>())) {
                let mut filled = [0; size_of::<u64>()];
                filled[..eight.len()].copy_from_slice(eight);
                *word = u64::from_ne_bytes(filled);
            }
            aligned = words;
            data = aligned.as_ptr().cast();
        }
        array(|out| {
            // SAFETY: `data` is aligned for every type, and points to exactly the bytes of
            // the elements that `shape` and `dtype` name (checked above), any of which are
            // a value of the type; mlx-c copies them before it returns.
            unsafe {
                mlx_sys::mlx_array_set_data(
                    out,
                    data.cast(),
                    shape.as_ptr(),
                    shape.len() as i32,
                    dtype.raw(),
                )
            }
        })
    }

    /// An array without dimensions that holds `value`.
    ///
    /// # Errors
    /// MLX is out of memory.
    pub fn scalar<T: Element>(value: T) -> Result<Self> {
        Self::from_slice(&[value], &[])
    }

    /// The length of each dimension.
    pub fn shape(&self) -> &[i32] {
        if self.ndim() == 0 {
            return &[];
        }
        // SAFETY: the handle is live, an array's shape never changes, and MLX
        // keeps it as long as the array, which `self` holds.
        unsafe { slice::from_raw_parts(mlx_sys::mlx_array_shape(self.0), self.ndim()) }
    }

    /// The number of dimensions.
    pub fn ndim(&self) -> usize {
        // SAFETY: the handle is live.
        unsafe { mlx_sys::mlx_array_ndim(self.0) }
    }

    /// The length of dimension `axis`.
    ///
    /// # Panics
    /// There is no such dimension.
    pub fn dim(&self, axis: usize) -> i32 {
        self.shape()[axis]
    }

    /// The number of elements.
    pub fn size(&self) -> usize {
        // SAFETY: the handle is live.
        unsafe { mlx_sys::mlx_array_size(self.0) }
    }

    /// The number of bytes that its elements take.
    pub fn nbytes(&self) -> usize {
        self.size() * self.dtype().size()
    }

    /// The type of the elements.
    pub fn dtype(&self) -> Dtype {
        // SAFETY: the handle is live.
        Dtype::from_raw(unsafe { mlx_sys::mlx_array_dtype(self.0) })
    }

    /// Computes the array, unless this is done or under way, and waits for it alone, not for
    /// what was begun later.
    ///
    /// # Errors
    /// What MLX reports.
    fn wait(&self) -> Result<()> {
        // SAFETY: a live handle.
        let wait = || status(|| unsafe { mlx_sys::mlx_array_eval(self.0) });
        counted(wait).inspect_err(|_| {
            // As in `eval`.
            let _ = synchronize();
        })
    }

    /// Computes the array and lets `reader` read its elements in row-major order, without a
    /// copy where they lie so.
    ///
    /// # Errors
    /// The elements are not of type `T`, or the computation fails.
    pub fn read<T: Element, R>(&self, reader: impl FnOnce(&[T]) -> R) -> Result<R> {
        if self.dtype() != T::DTYPE {
            return Err(Error::new(format!(
                "[read] the elements are {:?}, not {:?}; use astype first",
                self.dtype(),
                T::DTYPE
            )));
        }
        self.wait()?;
        if self.size() == 0 {
            return Ok(reader(&[]));
        }
        let mut is_dense = false;
        status(|| {
            // SAFETY: a live number to write to, and a live handle of an array that is
            // computed, whose strides are therefore known.
            unsafe { mlx_sys::_mlx_array_is_row_contiguous(&mut is_dense, self.0) }
        })?;
        if !is_dense {
            return self.contiguous()?.read(reader);
        }
        // SAFETY: the array is evaluated and of type `T`.
        let first = unsafe { T::data(self.0) };
        if first.is_null() {
            return Err(Error::take());
        }
        // SAFETY: the array is dense in row-major order, so `size` elements follow
        // `first`; they stay while `self` lives, and no thread writes to an evaluated
        // array that is still referred to.
        Ok(reader(unsafe { slice::from_raw_parts(first, self.size()) }))
    }

    /// Computes the array and copies its elements out in row-major order.
    ///
    /// # Errors
    /// As [`Array::read`].
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        self.read(<[T]>::to_vec)
    }

    /// Computes the array and returns its only element.
    ///
    /// # Errors
    /// As [`Array::to_vec`], or it has more or fewer elements than one.
    pub fn item<T: Element>(&self) -> Result<T> {
        match self.to_vec()?[..] {
            [value] => Ok(value),
            _ => Err(Error::new(format!(
                "[item] an array of shape {:?} is not a single element",
                self.shape()
            ))),
        }
    }

    /// A handle without an object, for mlx-c to fill in.
    pub(crate) fn null() -> Self {
        Self(mlx_array {
            ctx: std::ptr::null_mut(),
        })
    }

    pub(crate) fn raw(&self) -> mlx_array {
        self.0
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut mlx_array {
        &mut self.0
    }
}

impl Clone for Array {
    fn clone(&self) -> Self {
        let mut copy = Self::null();
        status(|| {
            // SAFETY: both handles are live; `copy` takes a new reference.
            unsafe { mlx_sys::mlx_array_set(&mut copy.0, self.0) }
        })
        .expect("another reference to an array needs no more than a few bytes");
        copy
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        let _turn = turn();
        // SAFETY: only this value owns the handle; mlx-c frees nothing if there is no
        // object.
        unsafe { mlx_sys::mlx_array_free(self.0) };
    }
}

/// Type and shape; the elements may not be computed yet.
impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Array({:?}, {:?})", self.dtype(), self.shape())
    }
}
