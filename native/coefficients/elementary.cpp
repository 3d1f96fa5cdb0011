#include "elementary.h"

#include <cstdint>
#include <cstring>
#include <limits>

namespace dpm {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// ln 2 in two parts. The first has 32 bits after the point, so that k * kLn2Hi is exact for every exponent k.
constexpr double kLn2Hi = 0x1.62e42feep-1;
constexpr double kLn2Lo = 0x1.a39ef35793c76p-33;
constexpr double kInvLn2 = 0x1.71547652b82fep+0;

// Below this |x|, expm1(x) and log1p(x) round to x.
constexpr double kTiny = 0x1p-54;

double Abs(double x) { return x < 0 ? -x : x; }

double FromBits(std::uint64_t bits) {
  double x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

std::uint64_t Bits(double x) {
  std::uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

// 2^k for normal results, -1022 <= k <= 1023.
double PowerOfTwo(int k) { return FromBits(static_cast<std::uint64_t>(k + 1023) << 52); }

// y 2^k for y near 1 and |k| <= 1100, in two exact factors at most, so that only the last product rounds
// (to a subnormal number) or overflows.
double Scale(double y, int k) {
  if (k > 1023) return y * PowerOfTwo(1023) * PowerOfTwo(k - 1023);
  if (k < -1022) return y * PowerOfTwo(k + 1000) * PowerOfTwo(-1000);
  return y * PowerOfTwo(k);
}

// x = k ln 2 + r + c with |r| <= ln 2 / 2; c is what r lost in rounding.
struct Reduced {
  int k;
  double r, c;
};

Reduced Reduce(double x) {
  const int k = static_cast<int>(x * kInvLn2 + (x < 0 ? -0.5 : 0.5));
  const double hi = x - k * kLn2Hi;  // exact
  const double lo = k * kLn2Lo;
  const double r = hi - lo;
  return {k, r, (hi - r) - lo};
}

// The first 26 bits of x (Veltkamp): products of two such parts are exact.
double Upper(double x) {
  const double y = (0x1p27 + 1) * x;
  return y - (y - x);
}

// a + (e^{r+c} - 1) for a = 0 or |a| >= |r|. The terms a, r and r^2 / 2 are summed without loss, the rest of the
// Taylor series is small: on |r| <= ln 2 / 2, the first term left out is below 2^-62.
double AddExpm1(double a, const Reduced& x) {
  constexpr double c[] = {1.0 / 6,        1.0 / 24,        1.0 / 120,        1.0 / 720,
                          1.0 / 5040,     1.0 / 40320,     1.0 / 362880,     1.0 / 3628800,
                          1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800, 1.0 / 87178291200};
  const double r = x.r;
  double sum = c[11];
  for (int i = 10; i >= 0; --i) sum = sum * r + c[i];
  const double r1 = Upper(r);
  const double half = 0.5 * r1 * r1;
  const double first = a + r;
  const double all = first + half;
  const double lost = ((a - first) + r) + ((first - all) + half);
  return all + (lost + (x.c + (0.5 * (r - r1) * (r + r1) + r * r * r * sum)));
}

// log(2^k (1 + f + g)) for f in [sqrt(1/2) - 1, sqrt(2) - 1] and |g| <= ulp(f): with s = (f + g) / (2 + f + g),
// log(1 + f + g) = 2 artanh(s) = 2 s + 2 s^3 (1/3 + s^2/5 + ...).
double LogOf(int k, double f, double g) {
  constexpr double c[] = {1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11, 1.0 / 13,
                          1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23};
  const double u = 2 + f;
  const double v = ((2 - u) + f) + g;  // u + v = 2 + f + g
  const double s = f / u;
  // What s lost in rounding: e = (f + g - s (u + v)) / u, with the product s u in two parts (Dekker's).
  const double s1 = Upper(s), s2 = s - s1;
  const double u1 = Upper(u), u2 = u - u1;
  const double p = s * u;
  const double q = ((s1 * u1 - p) + s1 * u2 + s2 * u1) + s2 * u2;
  const double e = (((f - p) - q) + g - s * v) / u;

  const double s_squared = s * s;
  double sum = c[10];
  for (int i = 9; i >= 0; --i) sum = sum * s_squared + c[i];
  const double tail = 2 * s * s_squared * sum + 2 * e;

  const double big = k * kLn2Hi;  // exact; zero or larger than 2 |s|
  const double hi = big + 2 * s;
  const double lo = (big - hi) + 2 * s;
  return hi + (lo + (tail + k * kLn2Lo));
}

// x = 2^k m with m in [sqrt(1/2), sqrt(2)), for positive, finite x.
double Split(double x, int* k) {
  int e = 0;
  if (x < std::numeric_limits<double>::min()) {  // subnormal
    x *= 0x1p54;
    e = -54;
  }
  const std::uint64_t bits = Bits(x);
  e += static_cast<int>(bits >> 52) - 1023;
  double m = FromBits((bits & 0x000fffffffffffff) | 0x3ff0000000000000);
  if (m >= 0x1.6a09e667f3bcdp+0) {  // sqrt(2)
    m *= 0.5;
    ++e;
  }
  *k = e;
  return m;
}

}  // namespace

double Exp(double x) {
  if (x != x) return x;
  if (x > 710) return kInf;
  if (x < -746) return 0;
  const Reduced reduced = Reduce(x);
  return Scale(AddExpm1(1, reduced), reduced.k);
}

double Expm1(double x) {
  if (x != x || Abs(x) < kTiny) return x;  // keeps the sign of zero
  if (x > 710) return kInf;
  if (x < -40) return -1;  // e^-40 < 2^-57
  Reduced reduced = Reduce(x);
  const int k = reduced.k;
  // e^x - 1 = 2^k ((1 - 2^-k) + (e^r - 1)). From some k on, 1 - 2^-k would round: 2^-k goes with the small parts.
  if (k > 20) {
    if (k < 80) reduced.c -= PowerOfTwo(-k);
    return Scale(AddExpm1(1, reduced), k);
  }
  return Scale(AddExpm1(k == 0 ? 0 : 1 - PowerOfTwo(-k), reduced), k);
}

double Log(double x) {
  if (x != x || x < 0) return kNan;
  if (x == 0) return -kInf;
  if (x == kInf) return x;
  int k;
  const double m = Split(x, &k);
  return LogOf(k, m - 1, 0);
}

double Log1p(double x) {
  if (x != x || x < -1) return kNan;
  if (x == -1) return -kInf;
  if (x == kInf || Abs(x) < kTiny) return x;
  const double w = 1 + x;
  int k;
  const double m = Split(w, &k);
  if (k == 0) return LogOf(0, x, 0);
  // 1 + x = w + rest exactly; 2^-k rest is at most an ulp of m.
  const double rest = x < 1 ? x - (w - 1) : 1 - (w - x);
  return LogOf(k, m - 1, k > 100 ? 0 : rest * PowerOfTwo(-k));
}

}  // namespace dpm
