// A C interface to jaccl's C++ one, so that one Rust binary can load any build
// of jaccl at run time. It adds nothing: no checks, no defaults, no recovery,
// because what is being driven is jaccl itself with whatever defects it has.
//
// Functions with an `error` return 0, or 1 after a C++ exception whose text is
// then in `error` (NUL-terminated, cut to `capacity` bytes). No exception
// leaves this interface.
//
// The Rust side is generated from this file (`cargo test -p codegen`).
#ifndef JACCL_SHIM_H
#define JACCL_SHIM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/// A group of ranks. Not bound to a thread; one call at a time.
struct jaccl_shim_group;

/// The key of the build that the library is of, or an empty string where it was
/// compiled without one.
const char* rails_build_key(void);

/// From now on SIGUSR1, or a signal that ends the process, has it write its
/// stack to standard error. Does nothing without execinfo.h.
void jaccl_shim_trace_signals(void);

/// What this version of jaccl has: 1 or 0 each.
void jaccl_shim_features(int* barrier, int* sum_scatter);

/// Whether jaccl found a libibverbs: 1 or 0.
int jaccl_shim_is_available(int* available, char* error, size_t capacity);

/// What jaccl says of the device matrix in a file: 1 or 0 each.
int jaccl_shim_check_matrix(
    const char* devices_path,
    int* valid_ring,
    int* valid_mesh,
    char* error,
    size_t capacity);

/// Joins a group. The caller owns it.
int jaccl_shim_init(
    int rank,
    const char* coordinator,
    const char* devices_path,
    int prefer_ring,
    struct jaccl_shim_group** group,
    char* error,
    size_t capacity);

void jaccl_shim_free(struct jaccl_shim_group* group);

int jaccl_shim_rank(struct jaccl_shim_group* group);

int jaccl_shim_size(struct jaccl_shim_group* group);

/// `bytes` are those of the output, for these and for all that follow but
/// all_gather.
int jaccl_shim_all_sum(
    struct jaccl_shim_group* group,
    const void* input,
    void* output,
    size_t bytes,
    int dtype,
    char* error,
    size_t capacity);

int jaccl_shim_all_max(
    struct jaccl_shim_group* group,
    const void* input,
    void* output,
    size_t bytes,
    int dtype,
    char* error,
    size_t capacity);

int jaccl_shim_all_min(
    struct jaccl_shim_group* group,
    const void* input,
    void* output,
    size_t bytes,
    int dtype,
    char* error,
    size_t capacity);

int jaccl_shim_sum_scatter(
    struct jaccl_shim_group* group,
    const void* input,
    void* output,
    size_t bytes,
    int dtype,
    char* error,
    size_t capacity);

/// `bytes` are those of the input.
int jaccl_shim_all_gather(
    struct jaccl_shim_group* group,
    const void* input,
    void* output,
    size_t bytes,
    char* error,
    size_t capacity);

int jaccl_shim_barrier(
    struct jaccl_shim_group* group,
    char* error,
    size_t capacity);

int jaccl_shim_send(
    struct jaccl_shim_group* group,
    const void* input,
    size_t bytes,
    int destination,
    char* error,
    size_t capacity);

int jaccl_shim_recv(
    struct jaccl_shim_group* group,
    void* output,
    size_t bytes,
    int source,
    char* error,
    size_t capacity);

#ifdef __cplusplus
}
#endif

#endif
