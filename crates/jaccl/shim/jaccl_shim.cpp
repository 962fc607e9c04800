// A C interface to jaccl's C++ one, so that one Rust binary can load any build
// of jaccl at run time. It adds nothing: no checks, no defaults, no recovery,
// because what is being driven is jaccl itself with whatever defects it has.
//
// Every function returns 0, or 1 after a C++ exception whose text is then in
// `error` (NUL-terminated, cut to `capacity` bytes). No exception leaves here.

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

} // namespace

extern "C" {

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
