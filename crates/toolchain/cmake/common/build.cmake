# What all our builds share. Included after project().
#
# Set by the toolchain:
#   RAILS_BUILD_KEY     the build's key, which its library answers with
#   RAILS_PREFIX_MAPS   FOLDER=NAME: the names that compilers write for folders
#   RAILS_JSON_DIR      nlohmann/json.hpp                      (rails_use_json)
#   RAILS_MLXC_DIR      the mlx-c tree                         (rails_add_mlxc)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_INSTALL_MESSAGE NEVER)
set(CMAKE_INSTALL_LIBDIR lib)

# Libraries are the same bytes in whatever folder they are compiled: no absolute path is
# in a __FILE__ or in a run path (CMake pads the run path that it replaces when it
# installs, so there must be nothing to replace). Debug information would name folders too.
add_compile_options(-g0)
foreach(map IN LISTS RAILS_PREFIX_MAPS)
  add_compile_options("-ffile-prefix-map=${map}")
endforeach()
set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)

# The key is compiled by itself, so that another series compiles nothing else anew.
add_library(rails_build_key OBJECT "${CMAKE_CURRENT_LIST_DIR}/build_key.c")
target_compile_definitions(
  rails_build_key PRIVATE "RAILS_BUILD_KEY=\"${RAILS_BUILD_KEY}\"")
target_include_directories(rails_build_key
                           PRIVATE "${CMAKE_CURRENT_LIST_DIR}/include")
set(RAILS_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/include/rails")

# MLX asks FetchContent for json and reads <json.hpp> below
# single_include/nlohmann. The packaged copy has another layout, and its json.hpp
# includes <nlohmann/...>, so a link and an include path make up the difference.
macro(rails_use_json)
  include(FetchContent)
  set(json_dir "${CMAKE_BINARY_DIR}/json")
  file(WRITE "${json_dir}/CMakeLists.txt" "")
  file(CREATE_LINK "${RAILS_JSON_DIR}" "${json_dir}/single_include" SYMBOLIC)
  set(FETCHCONTENT_SOURCE_DIR_JSON
      "${json_dir}"
      CACHE PATH "" FORCE)
  include_directories(SYSTEM "${RAILS_JSON_DIR}")
endmacro()

# The library mlxc, to be linked with an MLX, and its headers.
macro(rails_add_mlxc)
  file(GLOB mlxc_sources CONFIGURE_DEPENDS "${RAILS_MLXC_DIR}/mlx/c/*.cpp")
  add_library(mlxc SHARED ${mlxc_sources})
  target_include_directories(mlxc PRIVATE "${RAILS_MLXC_DIR}")
  install(TARGETS mlxc LIBRARY DESTINATION lib)
  install(
    DIRECTORY "${RAILS_MLXC_DIR}/mlx/c"
    DESTINATION include/mlx
    FILES_MATCHING
    PATTERN "*.h"
    PATTERN "private" EXCLUDE)
endmacro()
