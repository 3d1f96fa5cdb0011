// What one instruction set offers: a table of functions over a range of one sample. kernels.inc is compiled once per
// instruction set and fills one such table; dispatch.cpp picks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../step/row.h"

namespace dpm {

// Unsigned integers whose order is that of |x|: the bits without the sign. NaN comes after infinity.
template <class T>
struct KeyOf;
template <>
struct KeyOf<float> {
  using type = uint32_t;
};
template <>
struct KeyOf<double> {
  using type = uint64_t;
};

// What a term of a sum refers to.
enum Source : int { kSrcBase, kSrcP, kSrcD0, kSrcD1, kSrcD2, kSrcD3, kSrcZ, kSrcX, kSrcM, kSrcU, kSrcG, kSourceCount };

// A sum whose absent and zero terms are gone.
template <class T>
struct Terms {
  int count = 0;
  T c[kSumLength];
  int source[kSumLength];
  void Add(double coefficient, int from) {
    c[count] = static_cast<T>(coefficient);
    source[count++] = from;
  }
};

// One sample's step, resolved: which pointers, which terms. Pointers are to the sample's first element.
template <class T>
struct SampleStep {
  const T* in[kSourceCount] = {};           // state type; P and D0 are made on the way
  const uint16_t* half[kSourceCount] = {};  // network outputs in float16 instead (m, u, g)
  Terms<T> prediction;                      // of x, m, u, g
  Transform transform = Transform::none;
  bool divide = false;  // quantile: divide by s after the clip
  T s = 0;              // the bound of the clip
  bool d0_is_p = true;
  Terms<T> d0;  // of P, x, m, u
  Terms<T> first, second;
  T* p_out = nullptr;
  T* d0_out = nullptr;
  T* out = nullptr;
  T* out2 = nullptr;
  int next_count = 0;  // further copies of `out` (of `out2` if there is one): the network's next input
  int next_type = 0;   // 0 float16, 1 float32, 2 float64
  void* next[2] = {};
  bool stream_d0 = false, stream_out = false;  // too much for the caches, and no input: write around them
  bool stage = false;  // an output shares memory with an input: results wait until the chunk has been read
};

// The largest |P| seen so far: at most `capacity` keys, of which the `keep` largest matter.
template <class T>
struct Candidates {
  using Key = typename KeyOf<T>::type;
  Key* keys = nullptr;
  size_t count = 0, capacity = 0;  // kLanePad further keys may be written past capacity
  size_t keep = 0;
  Key threshold = 0;  // keys >= threshold are collected
};
constexpr size_t kLanePad = 64;

// Drops all but the `keep` largest and raises the threshold above the least of them.
template <class T>
void Shrink(Candidates<T>& candidates);

constexpr size_t kSampleBlock = 16, kSampleBlocks = 64;

template <class T>
struct TypedKernels {
  // Runs the step on elements [begin, end); false if some prediction is not finite.
  bool (*step)(const SampleStep<T>&, size_t begin, size_t end);
  // Makes the predictions of [begin, end) (before T) and collects the keys of the largest; false as above.
  bool (*filter)(const SampleStep<T>&, size_t begin, size_t end, Candidates<T>&);
  // The keys of the predictions of kSampleBlock elements from 0, stride, 2 stride and so on: `blocks` of them, at most
  // kSampleBlocks.
  void (*sample)(const SampleStep<T>&, size_t stride, size_t blocks, typename KeyOf<T>::type* out);
  // Sum of ((high - low) / max(atol, rtol max(|low|, |previous|)))^2 over [0, n), in double, in a fixed order.
  double (*error)(const T* low, const T* high, const T* previous, size_t n, double atol, double rtol);
  // Sum of (x - centre)^power for power 1 or 2, in double, in a fixed order.
  double (*moment)(const T* x, size_t n, double centre, int power);
  // Of [begin, begin + n) the sums of A, B, A A, A B and B B, where A and B are sums over x, m, u and g: the sources of
  // the step with the weights a and b.
  void (*pairs)(const SampleStep<T>&, size_t begin, size_t n, const double* a, const double* b, double* sums);
};

struct Kernels {
  const char* name;
  TypedKernels<float> f32;
  TypedKernels<double> f64;
  // The keep-th largest of `count` keys; in *next the (keep - 1)-th largest, or the same again if keep is 1.
  uint32_t (*select)(const uint32_t* keys, size_t count, size_t keep, uint32_t* next);
  // Types as in SampleStep::next_type.
  void (*convert)(const void* from, int from_type, void* to, int to_type, size_t n);
  // What memory allows: reads `reads` (3 or 4) arrays and writes two, with one addition an array; for benchmarks.
  void (*limit)(const float* const* in, int reads, float* const* out, size_t n, bool nontemporal);
  // What memory allows a pass before that one which only looks: adds `reads` (2 or 3) arrays up.
  float (*limit_read)(const float* const* in, int reads, size_t n);
};

const Kernels* KernelsSse2();
const Kernels* KernelsAvx2();
const Kernels* KernelsAvx512();
const Kernels* KernelsNeon();
const Kernels* KernelsSimd128();

// The best table for this processor, or the one that DPM_SOLVER_SIMD asks for where the processor has it.
const Kernels& ActiveKernels();
// Names of the tables that this processor can run, best first; `count` of them.
const char* const* AvailableKernels(int* count);

}  // namespace dpm
