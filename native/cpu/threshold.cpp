#include "threshold.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>

#include "active.h"
#include "pool.h"
#include "sizes.h"

namespace dpm {

template <class T>
void Shrink(Candidates<T>& c) {
  // nth_element in descending order: the `keep` largest come first, the least of them last among them.
  std::nth_element(c.keys, c.keys + (c.keep - 1), c.keys + c.count, std::greater<>());
  c.threshold = c.keys[c.keep - 1] + 1;  // a further key equal to it would change nothing
  c.count = c.keep;
}
template void Shrink(Candidates<float>&);
template void Shrink(Candidates<double>&);

namespace {

struct Order {
  size_t k;       // the quantile lies between the k-th and the (k+1)-th smallest, counted from 0
  size_t keep;    // how many of the largest have to be known
  double weight;  // of the (k+1)-th
};

Order OrderOf(size_t n, double ratio) {
  const double position = ratio * static_cast<double>(n - 1);
  Order order;
  order.k = std::min(static_cast<size_t>(position), n - 1);
  order.weight = position - static_cast<double>(order.k);
  order.keep = n - order.k;
  return order;
}

// Into how many tasks one sample's collection is split.
size_t Parts(size_t n, int threads) {
  if (threads <= 1) return 1;
  return std::min({(n + kTask - 1) / kTask, 4 * static_cast<size_t>(threads), kMostParts});
}

// Keys that a task over `length` elements may hold before it has to drop some.
size_t Capacity(size_t keep, size_t length) { return std::min(length, 2 * std::min(keep, length) + kSpareKeys); }

template <class T>
T FromKey(typename KeyOf<T>::type key) {
  T value;
  std::memcpy(&value, &key, sizeof value);
  return value;
}
template <class T>
typename KeyOf<T>::type ToKey(T value) {
  typename KeyOf<T>::type key;
  std::memcpy(&key, &value, sizeof key);
  return key;
}

// The keep-th largest key and the one before it, as in Kernels::select. Moves the keys about.
uint32_t SelectLargest(uint32_t* keys, size_t count, size_t keep, uint32_t* next) {
  return ActiveKernels().select(keys, count, keep, next);
}
uint64_t SelectLargest(uint64_t* keys, size_t count, size_t keep, uint64_t* next) {
  std::nth_element(keys, keys + (keep - 1), keys + count, std::greater<>());
  *next = keep > 1 ? *std::min_element(keys, keys + (keep - 1)) : keys[0];
  return keys[keep - 1];
}

// A threshold that about `keep` of the n predictions, and a safe number more, reach: from a sample of them. A wrong
// guess costs time only.
template <class T>
typename KeyOf<T>::type Guess(const TypedKernels<T>& kernels, const SampleStep<T>& step, size_t n, size_t keep) {
  const size_t blocks = n >= 131072 ? kSampleBlocks : 40;
  if (n < kGuessFrom || keep > n / 8) return 1;
  typename KeyOf<T>::type sample[kSampleBlocks * kSampleBlock];
  // Where samples begin at a line of the cache, so does a block.
  const size_t stride = n / blocks / kSampleBlock * kSampleBlock;
  kernels.sample(step, stride, blocks, sample);
  const size_t size = blocks * kSampleBlock;
  const double expected = static_cast<double>(keep) * static_cast<double>(size) / static_cast<double>(n);
  const size_t rank = static_cast<size_t>(expected + 3 * std::sqrt(expected) + 3);
  if (rank >= size) return 1;
  typename KeyOf<T>::type next;
  return std::max<typename KeyOf<T>::type>(SelectLargest(sample, size, rank + 1, &next), 1);
}

// Collects the largest keys of [0, n) into keys[0 .. count), at least `keep` of them if so many reach the threshold.
// Tasks of one sample collect side by side, each into its own stretch of `space`.
template <class T>
struct Collection {
  typename KeyOf<T>::type* keys;
  size_t count;
  bool finite;
};

template <class T>
Collection<T> Collect(const TypedKernels<T>& kernels, const SampleStep<T>& step, size_t n, size_t keep,
                      typename KeyOf<T>::type threshold, typename KeyOf<T>::type* space, int threads) {
  const size_t parts = Parts(n, threads);
  const size_t length = (n + parts - 1) / parts;
  const size_t room = Capacity(keep, length) + kLanePad;
  std::atomic<bool> finite{true};
  size_t counts[kMostParts];
  ParallelFor(threads, parts, [&](size_t part) {
    const size_t begin = std::min(n, part * length), end = std::min(n, begin + length);
    Candidates<T> c;
    c.keys = space + part * room;
    c.capacity = room - kLanePad;
    c.keep = std::min(keep, c.capacity);
    c.threshold = threshold;
    if (!kernels.filter(step, begin, end, c)) finite.store(false, std::memory_order_relaxed);
    counts[part] = c.count;
  });
  Collection<T> all{space, counts[0], finite.load()};
  for (size_t part = 1; part < parts; ++part) {
    std::memmove(space + all.count, space + part * room, counts[part] * sizeof(*space));
    all.count += counts[part];
  }
  return all;
}

// The largest of `count` keys if that is NaN, which sorts above infinity; otherwise `value`. A sample with a NaN in it
// has no quantile, wherever the others lie.
template <class T>
T LargestIfNaN(const typename KeyOf<T>::type* keys, size_t count, T value) {
  if (count == 0) return value;
  const T largest = FromKey<T>(*std::max_element(keys, keys + count));
  return largest != largest ? largest : value;
}

}  // namespace

size_t KeptFor(size_t n, double ratio) { return OrderOf(n, ratio).keep; }

size_t CollectBytes(size_t key_bytes, size_t n, size_t keep, int threads) {
  const size_t parts = Parts(n, threads);
  const size_t length = (n + parts - 1) / parts;
  return parts * (Capacity(keep, length) + kLanePad) * key_bytes;
}

template <class T>
T ThresholdOf(const SampleStep<T>& step, size_t n, double ratio, double floor, double cap,
              typename KeyOf<T>::type* space, size_t most, int threads, bool* finite) {
  using Key = typename KeyOf<T>::type;
  const TypedKernels<T>& kernels = Active<T>();
  const T low = static_cast<T>(floor), high = static_cast<T>(cap);
  Order order = OrderOf(n, ratio);
  order.keep = std::min(order.keep, most);  // rows in shared memory may have changed, see StepTyped
  const Key above_floor = low > 0 ? ToKey(low) + 1 : 1;
  const Key guess = std::max(Guess(kernels, step, n, order.keep), above_floor);
  // First what the guess lets through, then what the floor does, then everything.
  Collection<T> found{};
  for (const Key threshold : {guess, above_floor, Key{0}}) {
    found = Collect(kernels, step, n, order.keep, threshold, space, threads);
    *finite &= found.finite;
    if (found.count >= order.keep) break;
    // Both order statistics are at the floor or below it, so the quantile is; but NaN is found first.
    if (threshold == above_floor && found.count + 1 < order.keep) {
      return found.finite ? (low < high ? low : high)
                          : LargestIfNaN<T>(found.keys, found.count, low < high ? low : high);
    }
  }
  Key next;
  const double below = FromKey<T>(SelectLargest(found.keys, found.count, order.keep, &next));
  double value = below;
  if (order.weight > 0 && order.keep > 1) {
    const double above = FromKey<T>(next);
    if (above != below) value = below + order.weight * (above - below);  // two infinities have no difference
  }
  const T s = static_cast<T>(value);
  const T bounded = s < low ? (low < high ? low : high) : (s > high ? high : s);
  return *finite ? bounded : LargestIfNaN<T>(found.keys, found.count, bounded);
}
template float ThresholdOf(const SampleStep<float>&, size_t, double, double, double, uint32_t*, size_t, int, bool*);
template double ThresholdOf(const SampleStep<double>&, size_t, double, double, double, uint64_t*, size_t, int, bool*);

}  // namespace dpm
