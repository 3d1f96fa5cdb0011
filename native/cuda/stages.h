// Host memory for copies to and from cards, kept for the next one: making and freeing page-locked memory takes longer
// than most copies, and stops the card. Where the memory comes from is the caller's business, so that this runs without
// a card as well.
#pragma once

#include <cstdint>
#include <mutex>

namespace dpm::cuda {

// Host: static int Alloc(void**, uint64_t bytes), static int Free(void*), which return 0 or an error.
template <class Host>
class Stages {
 public:
  // At least so many bytes that nobody else has until Return. A run begins with five of them, and ends with two.
  int Take(uint64_t bytes, void** out) {
    const std::lock_guard<std::mutex> lock(mutex_);
    *out = nullptr;
    Stage* best = nullptr;
    for (Stage& stage : stages_) {
      if (!stage.busy && (!best || Better(stage, *best, bytes))) best = &stage;
    }
    if (!best) return Host::Alloc(out, bytes ? bytes : 1);
    if (best->bytes < bytes || !best->data) {
      if (best->data) {
        if (const int error = Host::Free(best->data)) return error;
      }
      *best = {};
      const uint64_t rounded = Rounded(bytes);
      if (const int error = Host::Alloc(&best->data, rounded)) return error;
      best->bytes = rounded;
    }
    best->busy = true;
    *out = best->data;
    return 0;
  }
  int Return(void* memory) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Stage& stage : stages_) {
      if (stage.data != memory) continue;
      stage.busy = false;
      return 0;
    }
    return Host::Free(memory);
  }

 private:
  struct Stage {
    void* data = nullptr;
    uint64_t bytes = 0;
    bool busy = false;
  };
  // The smallest that is large enough; otherwise one that has none yet, or the first, grows.
  static bool Better(const Stage& a, const Stage& b, uint64_t bytes) {
    const bool fits = a.bytes >= bytes;
    if (fits != (b.bytes >= bytes)) return fits;
    return fits ? a.bytes < b.bytes : a.bytes == 0;
  }
  // So that it does not grow a little each time; what is large is as large as it has to be.
  static uint64_t Rounded(uint64_t bytes) {
    uint64_t rounded = 4096;
    while (rounded < bytes && rounded < uint64_t{1} << 26) rounded *= 2;
    return rounded < bytes ? bytes : rounded;
  }
  std::mutex mutex_;
  Stage stages_[16];
};

}  // namespace dpm::cuda
