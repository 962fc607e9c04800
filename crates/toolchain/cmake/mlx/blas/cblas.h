// OpenBLAS from the package index prefixes every symbol so that several copies
// can live in one process. This maps the few CBLAS names MLX calls onto them.
#pragma once

#define cblas_sgemm scipy_cblas_sgemm
#define cblas_dgemm scipy_cblas_dgemm
#define cblas_cgemm scipy_cblas_cgemm

#include_next <cblas.h>
