#include "copy_bytes.h"

#include <algorithm>
#include <cstring>

#include "../../cpu/pool.h"

namespace dpm::addon {
namespace {

constexpr size_t kPiece = size_t{1} << 19, kMostThreads = 4;

}  // namespace

void CopyBytes(void* to, const void* from, size_t bytes) {
  if (bytes < 2 * kPiece) {
    if (bytes) std::memcpy(to, from, bytes);
    return;
  }
  const size_t pieces = (bytes + kPiece - 1) / kPiece;
  const int threads = std::min(static_cast<int>(kMostThreads), HardwareThreads());
  ParallelFor(threads, pieces, [&](size_t piece) {
    const size_t begin = piece * kPiece, length = std::min(kPiece, bytes - begin);
    std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin, length);
  });
}

}  // namespace dpm::addon
