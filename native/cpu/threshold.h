// The exact quantile of |P|: a guess from a sample of the predictions, one pass that collects what reaches it, and a
// selection among those.
#pragma once

#include <cstddef>

#include "kernels.h"

namespace dpm {

// How many of n predictions, the largest, decide the quantile at `ratio`.
size_t KeptFor(size_t n, double ratio);

// Bytes of working space for the `keep` largest of n keys.
size_t CollectBytes(size_t key_bytes, size_t n, size_t keep, int threads);

// min(max(quantile, floor), cap) of |P|; only what can decide it is looked at. There is space for the `most` largest.
// *finite becomes false where some prediction that was looked at is not.
template <class T>
T ThresholdOf(const SampleStep<T>& step, size_t n, double ratio, double floor, double cap,
              typename KeyOf<T>::type* space, size_t most, int threads, bool* finite);

}  // namespace dpm
