#include "transfers.h"

#include <algorithm>

#include "copy_bytes.h"

namespace dpm::addon {

int QueueUpload(const cuda::Api& api, int device, void* stream, void* memory, const View& from, void** stage) {
  constexpr size_t kPiece = size_t{1} << 21;
  if (const int code = api.stage_take(device, from.length, stage)) return code;
  size_t done = 0;
  do {
    const size_t piece = std::min(kPiece, from.length - done);
    char* const through = static_cast<char*>(*stage) + done;
    CopyBytes(through, static_cast<const char*>(from.data) + done, piece);
    if (const int code = api.copy(stream, static_cast<char*>(memory) + done, through, piece)) return code;
    done += piece;
  } while (done < from.length);
  return 0;
}

std::string CopyName(int64_t direction, size_t bytes, int64_t device) {
  return (direction == 0 ? "Copying " : "Copying back ") + std::to_string(bytes) + " bytes" +
         (direction == 0 ? " to" : " from") + " card " + std::to_string(device);
}

}  // namespace dpm::addon
