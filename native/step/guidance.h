// Guidance whose weights the two answers of a sample decide: from inner products to the prediction's entries of its
// row. The CPU and the CUDA kernels include this header, as they do element.h.
//
// With c the conditional and u the unconditional output, the variants look at Q = qx x + qm m (x0, the noise, or the
// output itself) of both: Q_c and Q_u.
//   CFG-Zero* (Fan et al. 2025, arXiv 2503.18886): Q = q Q_u + s (Q_c - q Q_u), q = (Q_c, Q_u) / ((Q_u, Q_u) + 1e-8).
//   APG (Sadat et al. 2024, arXiv 2410.02416): Q = Q_c + s (d - (1 - eta) (d, Q_c) / (Q_c, Q_c) Q_c), where d is
//   Q_c - Q_u, with what was kept of it before, and no longer than `norm`; or the same added to Q_u.
// Rescaling (Lin et al. 2023, arXiv 2305.08891) then multiplies the guided output by phi std(c) / std(guided) + 1 -
// phi.
#pragma once

#include "element.h"

namespace dpm {
namespace {

// What a call is told, as doubles; mirrors lib/solver/guidance.ts.
enum GuideOffset : int {
  kGuideKind = 0,  // 0 as it is (to be rescaled), 1 CFG-Zero*, 2 APG
  kGuideScale = 1,
  kGuideEta = 2,
  kGuideNorm = 3,
  kGuideRescale = 4,
  kGuideOnUnconditional = 5,  // APG: added to Q_u
  kGuideFx = 6,               // the row's prediction of one output: P = fx x + fm m
  kGuideFm = 7,
  kGuideQx = 8,
  kGuideQm = 9,
  kGuideLength = 10,
};
constexpr double kGuideZeroStar = 1, kGuideApg = 2;

// Operands of a pair of sums, in this order: x, c, u, and what APG keeps.
constexpr int kGuideOperands = 4;
// Sums over a sample's pairs (A, B): of A, B, A A, A B and B B.
constexpr int kPairSums = 5;

// The pair that the variant looks at, as sums over the operands. `kept`: d is an operand.
DPM_INLINE void GuidePair(const double* g, bool kept, double* a, double* b) {
  const bool apg = g[kGuideKind] == kGuideApg;
  a[0] = apg ? 0 : g[kGuideQx];
  a[1] = apg && !kept ? g[kGuideQm] : 0;
  a[2] = apg ? (kept ? 0 : -g[kGuideQm]) : g[kGuideQm];
  a[3] = apg && kept ? 1 : 0;
  b[0] = g[kGuideQx];
  b[1] = g[kGuideQm];
  b[2] = b[3] = 0;
}

// What the operands count in the guided output. Root: a function object, the square root of IEEE 754.
template <class Root>
DPM_INLINE void GuideWeights(const double* g, bool kept, const double* sums, Root root, double* w) {
  const double s = g[kGuideScale];
  double c = s, u = 1 - s, d = 0;
  if (g[kGuideKind] == kGuideZeroStar) {
    u = (1 - s) * (sums[3] / (sums[2] + 1e-8));
  } else if (g[kGuideKind] == kGuideApg) {
    const double length = root(sums[2]), most = g[kGuideNorm];
    d = most > 0 && length > most ? s * (most / length) : s;
    const bool on_u = g[kGuideOnUnconditional] != 0;
    const double parallel = sums[4] > 0 ? sums[3] / sums[4] : 0;
    c = (on_u ? 0.0 : 1.0) - d * ((1 - g[kGuideEta]) * parallel);
    u = on_u ? 1 : 0;
    if (!kept) c = c + d, u = u - d, d = 0;
  }
  w[0] = g[kGuideQx] * ((c + u) - 1) / g[kGuideQm];
  w[1] = c;
  w[2] = u;
  w[3] = d / g[kGuideQm];
}

// The pair that rescaling looks at: the guided output and the conditional one.
DPM_INLINE void RescalePair(const double* w, double* a, double* b) {
  for (int k = 0; k < kGuideOperands; ++k) a[k] = w[k], b[k] = k == 1 ? 1 : 0;
}

// Sum of squares around the mean; what rounding leaves of none is none.
DPM_INLINE double Spread(double sum, double square, double n) {
  const double around = square - sum * sum / n;
  return around > 1e-13 * square ? around : 0;
}

template <class Root>
DPM_INLINE double RescaleFactor(const double* g, const double* sums, double n, Root root) {
  const double guided = Spread(sums[0], sums[2], n), conditional = Spread(sums[1], sums[4], n);
  if (!(guided > 0)) return 1;
  return g[kGuideRescale] * root(conditional / guided) + (1 - g[kGuideRescale]);
}

// cx, cm, cu, cg
DPM_INLINE void GuidePrediction(const double* g, const double* w, double factor, double* row) {
  const double fm = g[kGuideFm] * factor;
  row[kCx] = g[kGuideFx] + fm * w[0];
  row[kCm] = fm * w[1];
  row[kCu] = fm * w[2];
  row[kCg] = fm * w[3];
}

}  // namespace
}  // namespace dpm
