// One number of each sample: the quantile, the adaptive solver's error, the standard deviation.
#include <algorithm>
#include <cmath>
#include <limits>

#include "active.h"
#include "kernels.h"
#include "pool.h"
#include "scratch.h"
#include "sizes.h"
#include "step.h"
#include "threshold.h"

namespace dpm {
namespace {

// Sums over fixed blocks, whatever the threads, then over the blocks in order. Those of the error are as short as a
// card likes them, which sums a block one element after the other (native/cuda/reduce.h).
constexpr size_t kReduceBlock = kTask, kErrorBlock = 4096;

template <class T>
double QuantileTyped(const void* x, size_t n, double ratio, int threads) {
  using Key = typename KeyOf<T>::type;
  SampleStep<T> step;
  step.in[kSrcX] = static_cast<const T*>(x);
  step.prediction.Add(1, kSrcX);
  const int used = Threads(threads, n);
  const size_t keep = KeptFor(n, ratio);
  const Scratch scratch(nullptr, 0, CollectBytes(sizeof(Key), n, keep, used));
  if (!scratch.data()) return -1;
  bool finite = true;
  return ThresholdOf<T>(step, n, ratio, 0, std::numeric_limits<double>::infinity(), static_cast<Key*>(scratch.data()),
                        keep, used, &finite);
}

template <class T>
double ErrorTyped(const void* low, const void* high, const void* previous, size_t n, double atol, double rtol,
                  int threads, bool* out_of_memory) {
  const TypedKernels<T>& kernels = Active<T>();
  const size_t blocks = (n + kErrorBlock - 1) / kErrorBlock;
  const Scratch partial(nullptr, 0, blocks * sizeof(double));
  double* sums = static_cast<double*>(partial.data());
  *out_of_memory = !sums;
  if (!sums) return 0;
  ParallelFor(Threads(threads, n), blocks, [&](size_t block) {
    const size_t begin = block * kErrorBlock, length = std::min(n - begin, kErrorBlock);
    sums[block] = kernels.error(static_cast<const T*>(low) + begin, static_cast<const T*>(high) + begin,
                                static_cast<const T*>(previous) + begin, length, atol, rtol);
  });
  double sum = 0;
  for (size_t block = 0; block < blocks; ++block) sum = sum + sums[block];
  return std::sqrt(sum / static_cast<double>(n));
}

template <class T>
double DeviationTyped(const void* x, size_t n) {
  const TypedKernels<T>& kernels = Active<T>();
  const auto sum = [&](double centre, int power) {
    double total = 0;
    for (size_t begin = 0; begin < n; begin += kReduceBlock) {
      total =
          total + kernels.moment(static_cast<const T*>(x) + begin, std::min(n - begin, kReduceBlock), centre, power);
    }
    return total;
  };
  const double mean = sum(0, 1) / static_cast<double>(n);
  return std::sqrt(sum(mean, 2) / static_cast<double>(n - 1));
}

}  // namespace

double Quantile(const void* x, Type type, size_t n, double ratio, int threads) {
  return type == Type::f64 ? QuantileTyped<double>(x, n, ratio, threads) : QuantileTyped<float>(x, n, ratio, threads);
}

double ErrorNorm(const void* low, const void* high, const void* previous, Type type, size_t n, double atol, double rtol,
                 int threads, bool* out_of_memory) {
  return type == Type::f64 ? ErrorTyped<double>(low, high, previous, n, atol, rtol, threads, out_of_memory)
                           : ErrorTyped<float>(low, high, previous, n, atol, rtol, threads, out_of_memory);
}

double StandardDeviation(const void* x, Type type, size_t n) {
  return type == Type::f64 ? DeviationTyped<double>(x, n) : DeviationTyped<float>(x, n);
}

}  // namespace dpm
