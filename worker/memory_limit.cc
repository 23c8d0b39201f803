#include "worker/memory_limit.h"

#include <sys/resource.h>

namespace saffron {

ScopedMemoryLimit::ScopedMemoryLimit(int64_t bytes) {
  rlimit limit = {};
  if (bytes <= 0 || getrlimit(RLIMIT_DATA, &limit) != 0) return;
  previous_ = limit.rlim_cur;
  limit.rlim_cur = static_cast<rlim_t>(bytes);
  limited_ = setrlimit(RLIMIT_DATA, &limit) == 0;
}

ScopedMemoryLimit::~ScopedMemoryLimit() {
  rlimit limit = {};
  if (!limited_ || getrlimit(RLIMIT_DATA, &limit) != 0) return;
  limit.rlim_cur = previous_;
  setrlimit(RLIMIT_DATA, &limit);
}

}  // namespace saffron
