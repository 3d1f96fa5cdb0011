#include "phi.h"

#include <limits>

#include "elementary.h"

namespace dpm {
namespace {

constexpr double kFactorial[] = {1, 1, 2, 6, 24};

// Where the sum of positive terms hands over to the recurrence. Beyond it phi_k - 1/k! loses less than one bit.
constexpr double kSeries = 4.0;

// The last term that counts at |z| <= 1/2 and at |z| <= 4: z^n / n! below 2^-56 of the sum.
int Terms(double magnitude) { return magnitude <= 0.5 ? 14 : 36; }

// z >= 0: sum of z^j / (j + k)!, all terms positive, by Horner's rule.
double Ascending(int k, double z) {
  double sum = 1;
  for (int j = Terms(z); j >= 1; --j) sum = 1 + sum * z / (j + k);
  return sum / kFactorial[k];
}

// z < 0: Kummer's transformation phi_k(z) = M(1, k+1, z) / k! = e^z M(k, k+1, -z) / k!, that is
// e^z / (k-1)! times the sum of |z|^j / (j! (k + j)): again, all terms are positive.
double Descending(int k, double z) {
  const double y = -z;
  double sum = 0;
  double power = 1;  // y^j / j!
  for (int j = 0, n = Terms(y); j <= n; ++j) {
    sum += power / (k + j);
    power *= y / (j + 1);
  }
  return Exp(z) * sum / kFactorial[k - 1];
}

}  // namespace

double Phi(int k, double z) {
  if (k < 1 || k > 4 || z != z) return std::numeric_limits<double>::quiet_NaN();
  if (z == std::numeric_limits<double>::infinity()) return z;
  if (z == 0) return 1 / kFactorial[k];
  if (k > 1 && z > 0 && z <= kSeries) return Ascending(k, z);
  if (k > 1 && z < 0 && z >= -kSeries) return Descending(k, z);
  double phi = Expm1(z) / z;
  for (int i = 1; i < k; ++i) phi = (phi - 1 / kFactorial[i]) / z;
  return phi;
}

}  // namespace dpm
