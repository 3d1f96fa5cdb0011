// What copies between arrays and cards have in common.
#pragma once

#include "call.h"

namespace dpm::addon {

// Queues a copy of an array to the card through page-locked memory, which is taken and to be given back: what has been
// copied there travels while the rest is copied.
int QueueUpload(const cuda::Api& api, int device, void* stream, void* memory, const View& from, void** stage);

// Is all of this in memory that cudaPageLocked has made? Then the card reads and writes it by itself.
bool IsPageLocked(const void* data, size_t bytes);

std::string CopyName(int64_t direction, size_t bytes, int64_t device);

}  // namespace dpm::addon
