// The CUDA library: a shared library that lies beside the addon and is opened on first use (native/cuda/api.h).
#pragma once

#include <string>

#include "../../cuda/api.h"

namespace dpm::addon {

struct Library {
  const cuda::Api* api = nullptr;
  std::string path;
  std::string reason;  // why there is no api
};
// Opened once and never closed.
const Library& TheLibrary();

struct Cards {
  int count = 0, driver = 0, code = 0;
  std::string reason;  // why there are none
};
Cards CountCards();

// "13.0" for CUDA's 13000.
std::string CudaVersion(int version);

// Bytes of a card's memory, 0 where it does not say.
uint64_t CardMemory(int device);

}  // namespace dpm::addon
