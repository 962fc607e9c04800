# Answers MLX's find_package(BLAS) with the OpenBLAS of our tool set instead of
# whatever the machine happens to have. LAPACK is in the same library.
set(BLAS_LIBRARIES "${RAILS_OPENBLAS_DIR}/lib/libscipy_openblas.so")
set(BLAS_FOUND TRUE)
