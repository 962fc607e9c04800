// Which build of the store a library is. Compiled into libmlxc and libjaccl_shim.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

// The build's key, the name of its folder in the store: NUL-terminated, static.
const char* rails_build_key(void);

#ifdef __cplusplus
}
#endif
