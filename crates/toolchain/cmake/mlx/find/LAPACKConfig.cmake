# See BLASConfig.cmake beside this file.
set(LAPACK_LIBRARIES "${RAILS_OPENBLAS_DIR}/lib/libscipy_openblas.so")
set(LAPACK_FOUND TRUE)
