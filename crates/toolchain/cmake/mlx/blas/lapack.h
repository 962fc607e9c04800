// The LAPACK half of cblas.h beside this file. LAPACK_GLOBAL covers routines
// without string arguments; those with some are macros of their own.
#pragma once

#define LAPACK_GLOBAL(lower, UPPER) scipy_##lower##_

#include_next <lapack.h>

// clang-format off
#define LAPACK_ssyevd scipy_LAPACK_ssyevd
#define LAPACK_dsyevd scipy_LAPACK_dsyevd
#define LAPACK_cheevd scipy_LAPACK_cheevd
#define LAPACK_zheevd scipy_LAPACK_zheevd
#define LAPACK_spotrf scipy_LAPACK_spotrf
#define LAPACK_dpotrf scipy_LAPACK_dpotrf
#define LAPACK_strtri scipy_LAPACK_strtri
#define LAPACK_dtrtri scipy_LAPACK_dtrtri
#define LAPACK_sgeev  scipy_LAPACK_sgeev
#define LAPACK_dgeev  scipy_LAPACK_dgeev
#define LAPACK_cgeev  scipy_LAPACK_cgeev
#define LAPACK_zgeev  scipy_LAPACK_zgeev
#define LAPACK_sgesdd scipy_LAPACK_sgesdd
#define LAPACK_dgesdd scipy_LAPACK_dgesdd
#define LAPACK_cgesdd scipy_LAPACK_cgesdd
#define LAPACK_zgesdd scipy_LAPACK_zgesdd
// clang-format on
