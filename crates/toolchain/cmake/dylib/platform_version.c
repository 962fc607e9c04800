// What `__builtin_available` asks at run time. On a Mac it comes with the compiler
// (compiler-rt, lib/builtins/os_version_check.c), which asks the system in the same way.
#include <stdbool.h>
#include <stdint.h>

struct build_version {
  uint32_t platform;
  uint32_t version;
};

// Exported by libSystem since macOS 10.15.
extern bool _availability_version_check(
    uint32_t count,
    struct build_version versions[]);

__attribute__((visibility("hidden"))) int32_t __isPlatformVersionAtLeast(
    uint32_t platform,
    uint32_t major,
    uint32_t minor,
    uint32_t patch) {
  struct build_version wanted = {
      platform, (major & 0xffff) << 16 | (minor & 0xff) << 8 | (patch & 0xff)};
  return _availability_version_check(1, &wanted);
}
