// The fused step on the CPU: one call, one coefficient row per sample, buffers that the caller owns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../step/row.h"

namespace dpm {

enum class Type : int { f16 = 0, f32 = 1, f64 = 2, none = 3 };

// Operands; `data` is null where there is none. All hold batch * n elements, sample after sample, except `m`, whose
// samples begin m_stride elements apart.
struct Buffer {
  void* data = nullptr;
  Type type = Type::none;
};

struct StepCall {
  Type state = Type::f32;  // f32 or f64: type of everything but m, u, g (which may be f16) and next (any type)
  size_t batch = 0, n = 0;
  const double* rows = nullptr;  // batch rows of kRowLength
  Buffer x, m, u, g, base, p, d1, d2, d3, z;
  Buffer d0, out, out2;
  Buffer next[2];  // copies of `out`, converted
  size_t m_stride = 0;
  bool check_finite = true;
  int threads = 0;  // 0: as many as pay off
  void* scratch = nullptr;
  size_t scratch_bytes = 0;
};

constexpr int64_t kStepDone = -1;
constexpr int64_t kStepOutOfMemory = -2;

// kStepDone, or the first sample whose prediction is not finite (outputs are then undefined; inputs are untouched
// unless an output shares their memory), or kStepOutOfMemory.
int64_t Step(const StepCall& call);

// Bytes of scratch with which Step does not allocate, for quantile rows of this ratio.
size_t ScratchBytes(Type state, size_t batch, size_t n, double ratio, int threads);

// The exact quantile of |x| (linear interpolation at ratio (n - 1)); NaN if there is one in x, -1 if out of memory.
double Quantile(const void* x, Type type, size_t n, double ratio, int threads);

// sqrt(mean(((high - low) / max(atol, rtol max(|low|, |previous|)))^2)), one sample of the adaptive solver's error.
double ErrorNorm(const void* low, const void* high, const void* previous, Type type, size_t n, double atol, double rtol,
                 int threads, bool* out_of_memory);

// Standard deviation with divisor n - 1, as guidance rescale takes it.
double StandardDeviation(const void* x, Type type, size_t n);

}  // namespace dpm
