// Which build of the store a library is. Compiled into the library that holds jaccl, and
// into a libmlxc that is compiled by itself.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// The build's key, the name of its folder in the store: NUL-terminated, static.
const char* rails_build_key(void);

#ifdef __cplusplus
}
#endif
