// What jaccl_shim.h declares. What only some versions of jaccl have is found out
// when this is compiled.

#include "jaccl_shim.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#if __has_include(<execinfo.h>)
#include <execinfo.h>
#include <signal.h>
#include <unistd.h>
#endif

#include "jaccl/group.h"
#include "jaccl/jaccl.h"

struct jaccl_shim_group {
  std::shared_ptr<jaccl::Group> group;
};

namespace {

using Matrix = std::vector<std::vector<std::vector<std::string>>>;

// jaccl reads the device file only through environment variables. This takes a
// path instead and accepts the same cells: null, a name, or an array of names.
Matrix read_matrix(const char* path) {
  std::ifstream file(path);
  if (!file) {
    throw std::runtime_error(
        std::string("cannot open the device file ") + path);
  }
  const auto rows = nlohmann::json::parse(file);
  Matrix matrix;
  for (const auto& row : rows) {
    auto& cells = matrix.emplace_back();
    for (const auto& cell : row) {
      auto& devices = cells.emplace_back();
      if (cell.is_string()) {
        devices.push_back(cell.get<std::string>());
      } else if (!cell.is_null()) {
        devices = cell.get<std::vector<std::string>>();
      }
    }
  }
  return matrix;
}

void describe(const char* what, char* error, size_t capacity) {
  if (capacity == 0) {
    return;
  }
  const size_t length = std::min(std::strlen(what), capacity - 1);
  std::memcpy(error, what, length);
  error[length] = '\0';
}

template <typename Body>
int guarded(char* error, size_t capacity, Body&& body) {
  try {
    std::forward<Body>(body)();
    return 0;
  } catch (const std::exception& exception) {
    describe(exception.what(), error, capacity);
  } catch (...) {
    describe("an exception that is not a std::exception", error, capacity);
  }
  return 1;
}

template <typename G>
constexpr bool has_barrier = requires(G& group) { group.barrier(); };

template <typename G>
constexpr bool has_sum_scatter = requires(G& group) {
  group.sum_scatter(nullptr, nullptr, size_t{0}, 0);
};

template <typename G>
void barrier(G& group) {
  if constexpr (has_barrier<G>) {
    group.barrier();
  } else {
    throw std::runtime_error("this jaccl has no barrier");
  }
}

template <typename G>
void sum_scatter(
    G& group,
    const void* input,
    void* output,
    size_t bytes,
    int dtype) {
  if constexpr (has_sum_scatter<G>) {
    group.sum_scatter(input, output, bytes, dtype);
  } else {
    throw std::runtime_error("this jaccl has no sum_scatter");
  }
}

#if __has_include(<execinfo.h>)
// Called on a signal. The stack goes to standard error between two marks; a
// signal other than SIGUSR1 then takes its usual course.
void trace(int signal) {
  constexpr char begin[] = "jaccl_shim: stack\n";
  constexpr char end[] = "jaccl_shim: end of stack\n";
  void* frames[48];
  const int depth = backtrace(frames, 48);
  auto ignored = write(STDERR_FILENO, begin, sizeof(begin) - 1);
  backtrace_symbols_fd(frames, depth, STDERR_FILENO);
  ignored = write(STDERR_FILENO, end, sizeof(end) - 1);
  (void)ignored;
  if (signal != SIGUSR1) {
    raise(signal);
  }
}
#endif

} // namespace

extern "C" {

void jaccl_shim_trace_signals() {
#if __has_include(<execinfo.h>)
  // The first call may load a library, which a signal handler must not.
  void* frame;
  backtrace(&frame, 1);
  struct sigaction action = {};
  action.sa_handler = trace;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  action.sa_flags = SA_RESETHAND;
  for (int signal : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV}) {
    sigaction(signal, &action, nullptr);
  }
#endif
}

void jaccl_shim_features(int* barrier, int* sum_scatter) {
  *barrier = has_barrier<jaccl::Group> ? 1 : 0;
  *sum_scatter = has_sum_scatter<jaccl::Group> ? 1 : 0;
}

int jaccl_shim_is_available(int* available, char* error, size_t capacity) {
  return guarded(
      error, capacity, [&] { *available = jaccl::is_available() ? 1 : 0; });
}

int jaccl_shim_check_matrix(
    const char* devices_path,
    int* valid_ring,
    int* valid_mesh,
    char* error,
    size_t capacity) {
  return guarded(error, capacity, [&] {
    jaccl::Config config;
    config.set_devices(read_matrix(devices_path));
    *valid_ring = config.is_valid_ring() ? 1 : 0;
    *valid_mesh = config.is_valid_mesh() ? 1 : 0;
  });
}

int jaccl_shim_init(
    int rank,
    const char* coordinator,
    const char* devices_path,
    int prefer_ring,
    jaccl_shim_group** group,
    char* error,
    size_t capacity) {
  return guarded(error, capacity, [&] {
    jaccl::Config config;
    config.set_rank(rank)
        .set_coordinator(coordinator)
        .set_devices(read_matrix(devices_path))
        .prefer_ring(prefer_ring != 0);
    *group = new jaccl_shim_group{jaccl::init(config, /* strict */ true)};
  });
}

void jaccl_shim_free(jaccl_shim_group* group) {
  delete group;
}

int jaccl_shim_rank(jaccl_shim_group* group) {
  return group->group->rank();
}

int jaccl_shim_size(jaccl_shim_group* group) {
  return group->group->size();
}

int jaccl_shim_all_sum(
    jaccl_shim_group* group,
    const void* input,
    void* output,
    size_t bytes,
    int dtype,
    char* error,
    size_t capacity) {
  return guarded(error, capacity, [&] {
    group->group->all_sum(input, output, bytes, dtype);
  });
}

int jaccl_shim_all_max(
    jaccl_shim_group* group,
    const void* input,
    void* output,
    size_t bytes,
    int dtype,
    char* error,
    size_t capacity) {
  return guarded(error, capacity, [&] {
    group->group->all_max(input, output, bytes, dtype);
  });
}

int jaccl_shim_all_min(
    jaccl_shim_group* group,
    const void* input,
    void* output,
    size_t bytes,
    int dtype,
    char* error,
    size_t capacity) {
  return guarded(error, capacity, [&] {
    group->group->all_min(input, output, bytes, dtype);
  });
}

int jaccl_shim_all_gather(
    jaccl_shim_group* group,
    const void* input,
    void* output,
    size_t bytes,
    char* error,
    size_t capacity) {
  return guarded(error, capacity, [&] {
    group->group->all_gather(input, output, bytes);
  });
}

int jaccl_shim_sum_scatter(
    jaccl_shim_group* group,
    const void* input,
    void* output,
    size_t bytes,
    int dtype,
    char* error,
    size_t capacity) {
  return guarded(error, capacity, [&] {
    sum_scatter(*group->group, input, output, bytes, dtype);
  });
}

int jaccl_shim_barrier(jaccl_shim_group* group, char* error, size_t capacity) {
  return guarded(error, capacity, [&] { barrier(*group->group); });
}

int jaccl_shim_send(
    jaccl_shim_group* group,
    const void* input,
    size_t bytes,
    int destination,
    char* error,
    size_t capacity) {
  return guarded(error, capacity, [&] {
    group->group->send(input, bytes, destination);
  });
}

int jaccl_shim_recv(
    jaccl_shim_group* group,
    void* output,
    size_t bytes,
    int source,
    char* error,
    size_t capacity) {
  return guarded(error, capacity, [&] {
    group->group->recv(output, bytes, source);
  });
}

} // extern "C"
