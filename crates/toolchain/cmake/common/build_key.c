#include "rails/build_key.h"

// Exported whatever the visibility of the rest of the library is.
__attribute__((visibility("default"))) const char* rails_build_key(void) {
  return RAILS_BUILD_KEY;
}
