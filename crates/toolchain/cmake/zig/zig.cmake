# Zig as a compiler for macOS on Apple silicon.
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
