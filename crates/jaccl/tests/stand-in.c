// A library with the shim's functions and no jaccl behind them. The compiler
// holds it against the header.
#include "../shim/jaccl_shim.h"

#ifndef WITHOUT_KEY
const char* rails_build_key(void) {
  return "0123456789abcdef";
}
#endif

void jaccl_shim_trace_signals(void) {}

void jaccl_shim_features(int* barrier, int* sum_scatter) {
  *barrier = 1;
  *sum_scatter = 0;
}

int jaccl_shim_is_available(int* available, char* error, size_t capacity) {
  const char words[] = "[stand-in] no devices\n";
  size_t i = 0;
  for (; i < sizeof(words) - 1 && i + 1 < capacity; i++) {
    error[i] = words[i];
  }
  error[i] = 0;
  *available = 0;
  return 1;
}

int jaccl_shim_check_matrix(
    const char* devices_path,
    int* valid_ring,
    int* valid_mesh,
    char* error,
    size_t capacity) {
  *valid_ring = devices_path[0] == 'r';
  *valid_mesh = devices_path[0] == 'm';
  return 0;
}

int jaccl_shim_init(
    int rank,
    const char* coordinator,
    const char* devices_path,
    int prefer_ring,
    struct jaccl_shim_group** group,
    char* error,
    size_t capacity) {
  *group = 0;
  return 0;
}

void jaccl_shim_free(struct jaccl_shim_group* group) {}

int jaccl_shim_rank(struct jaccl_shim_group* group) {
  return 0;
}

int jaccl_shim_size(struct jaccl_shim_group* group) {
  return 1;
}

#define REDUCTION(name)             \
  int jaccl_shim_##name(            \
      struct jaccl_shim_group* group, \
      const void* input,            \
      void* output,                 \
      size_t bytes,                 \
      int dtype,                    \
      char* error,                  \
      size_t capacity) {            \
    return 0;                       \
  }
REDUCTION(all_sum)
REDUCTION(all_max)
REDUCTION(all_min)
REDUCTION(sum_scatter)

int jaccl_shim_all_gather(
    struct jaccl_shim_group* group,
    const void* input,
    void* output,
    size_t bytes,
    char* error,
    size_t capacity) {
  return 0;
}

int jaccl_shim_barrier(
    struct jaccl_shim_group* group,
    char* error,
    size_t capacity) {
  return 0;
}

int jaccl_shim_send(
    struct jaccl_shim_group* group,
    const void* input,
    size_t bytes,
    int destination,
    char* error,
    size_t capacity) {
  return 0;
}

int jaccl_shim_recv(
    struct jaccl_shim_group* group,
    void* output,
    size_t bytes,
    int source,
    char* error,
    size_t capacity) {
  return 0;
}
