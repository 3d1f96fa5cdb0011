// One coefficient row: everything that distinguishes one update of one solver from another.
//
//   P   = T(cx x + cm m + cu u + cg g)          network outputs -> prediction (guidance folded in)
//   D0  = ep P + ex x + em m + eu u             what the history keeps (mostly D0 = P)
//   out = a base + bp P + b0 D0 + b1 D1 + b2 D2 + b3 D3 + n z
//
// `first` and `second` are two such sums over the same operands, written in one pass (UniPC's corrector
// and predictor, the two orders of an adaptive pair). A term takes part if and only if its operand is
// given and its coefficient is not zero; the terms are added from left to right, without contraction. Where D0 = P
// (ep = 1, no other), bp + b0 is one coefficient, added in double.
// That rule is what makes every instruction set, thread count and device give the same bits.
#pragma once

namespace dpm {

enum RowOffset : int {
  kCx = 0,
  kCm = 1,
  kCu = 2,
  kCg = 3,
  kTransform = 4,  // a Transform
  kRatio = 5,      // Transform::quantile: which quantile of |P|, in [0, 1]
  kFloor = 6,      // Transform::quantile: s = min(max(quantile, floor), cap), both positive; clamp: the bound
  kCap = 7,
  kEp = 8,
  kEx = 9,
  kEm = 10,
  kEu = 11,
  kFirst = 12,   // a, bp, b0, b1, b2, b3, n
  kSecond = 20,  // the same for the second output
  kRowLength = 32,
};

// Offsets inside `first` and `second`.
enum SumOffset : int { kA = 0, kBp = 1, kB0 = 2, kB1 = 3, kB2 = 4, kB3 = 5, kN = 6, kSumLength = 7 };

enum class Transform : int {
  none = 0,
  clamp = 1,     // P <- clip(P, -floor, floor)
  quantile = 2,  // P <- clip(P, -s, s) / s, dynamic thresholding (Saharia et al. 2022)
  given = 3,     // P is read from the buffer `p` instead (a corrector has run)
};

}  // namespace dpm
