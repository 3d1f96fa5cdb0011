// The working space that the caller brought, or memory of our own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace dpm {

class Scratch {
 public:
  Scratch(void* given, size_t given_bytes, size_t bytes) {
    if (bytes == 0) return;
    // Aligned, so that keys of either size fit.
    const uintptr_t aligned = (reinterpret_cast<uintptr_t>(given) + 7) & ~uintptr_t{7};
    const size_t lost = given ? aligned - reinterpret_cast<uintptr_t>(given) : 0;
    if (given && given_bytes >= bytes + lost) {
      data_ = reinterpret_cast<void*>(aligned);
    } else {
      data_ = owned_ = std::malloc(bytes);
    }
  }
  ~Scratch() { std::free(owned_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  void* owned_ = nullptr;
};

}  // namespace dpm
