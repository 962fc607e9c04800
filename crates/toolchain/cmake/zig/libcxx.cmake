# Libraries whose libc++ is that of a macOS: called as rails_bind_libcxx(NAME.dylib) before
# the library is added.
#
# Set by the toolchain:
#   RAILS_LIBCXX        a text stub of libc++ with the symbols that may be bound
macro(rails_bind_libcxx name)
  # libc++'s headers are newer than the library of the oldest macOS that is meant: what
  # it lacks must not be used.
  add_compile_options(
    "$<$<COMPILE_LANGUAGE:CXX>:-U_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS>"
    "$<$<COMPILE_LANGUAGE:CXX>:-D_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS=1>"
    "$<$<COMPILE_LANGUAGE:CXX>:-fno-sized-deallocation>")
  # `zig c++` would put a libc++ of its own into the library, whose types are others than
  # those of libmlx's. -nostdlib keeps zig's memcpy and its like out: macOS's are better.
  set(CMAKE_CXX_CREATE_SHARED_LIBRARY
      "<CMAKE_C_COMPILER> ${CMAKE_C_FLAGS} -shared -nostdlib -lSystem <LINK_FLAGS> -o <TARGET> -Wl,-install_name,@rpath/${name} <OBJECTS> <LINK_LIBRARIES> ${RAILS_LIBCXX}"
  )
endmacro()
