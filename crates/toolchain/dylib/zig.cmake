# Zig as a compiler for macOS on Apple silicon.
#
# RAILS_LIBCXX is the libc++ to bind to. `zig c++` would put its own into the library, and
# two of them in one process do not share their types; so `zig cc` links.
set(CMAKE_SYSTEM_NAME Darwin)
set(CMAKE_SYSTEM_PROCESSOR arm64)
# The target that the compilers are told has it.
set(CMAKE_OSX_DEPLOYMENT_TARGET "")
# CMake asks for it on macOS; no install name is ever changed.
set(CMAKE_INSTALL_NAME_TOOL "unused")

# CMake finds these out by linking a program, for which zig would compile a C library.
foreach(language C CXX)
  set(CMAKE_${language}_COMPILER_ID_RUN 1)
  set(CMAKE_${language}_COMPILER_ID Clang)
  set(CMAKE_${language}_COMPILER_VERSION 22)
  set(CMAKE_${language}_STANDARD_COMPUTED_DEFAULT 17)
  set(CMAKE_${language}_EXTENSIONS_COMPUTED_DEFAULT ON)
  set(CMAKE_${language}_COMPILER_WORKS 1)
  set(CMAKE_${language}_ABI_COMPILED 1)
endforeach()

# -nostdlib keeps zig's own memcpy and its like out: macOS's are better.
set(CMAKE_CXX_CREATE_SHARED_LIBRARY
    "<CMAKE_C_COMPILER> ${CMAKE_C_FLAGS} -shared -nostdlib -lSystem -s <LINK_FLAGS> -o <TARGET> -Wl,-install_name,@rpath/libjaccl.dylib <OBJECTS> ${RAILS_LIBCXX}"
)
