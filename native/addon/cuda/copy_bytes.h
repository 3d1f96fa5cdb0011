// Copies between arrays and page-locked memory, by several threads where that is faster: one moves some 10 GB/s, the
// card takes several times as much.
#pragma once

#include <cstddef>

namespace dpm::addon {

void CopyBytes(void* to, const void* from, size_t bytes);

}  // namespace dpm::addon
