#include "adams.h"

#include "step/row.h"

namespace dpm {
namespace {

// The coefficient of x^i in the Lagrange polynomial of nu[j]: 1 at nu[j], 0 at the other nu, up to three of them.
double LagrangeCoefficient(const double* nu, int count, int j, int i) {
  double poly[3] = {1, 0, 0};
  int degree = 0;
  for (int k = 0; k < count; ++k) {
    if (k == j) continue;
    const double scale = 1 / (nu[j] - nu[k]);
    for (int d = ++degree; d > 0; --d) poly[d] = (poly[d - 1] - nu[k] * poly[d]) * scale;
    poly[0] *= -nu[k] * scale;
  }
  return poly[i];
}

// Appends a place to those of a polynomial, unless it is 0 or there already.
bool Append(double candidate, double* nu, int* count) {
  if (candidate == 0) return false;
  for (int k = 0; k < *count; ++k) {
    if (candidate == nu[k]) return false;
  }
  nu[(*count)++] = candidate;
  return true;
}

bool Store(double* to, const double* sum) {
  for (int i = 0; i < kSumLength; ++i) {
    if (sum[i] - sum[i] != 0) return false;
  }
  for (int i = 0; i < kSumLength; ++i) to[i] = sum[i] + 0.0;
  return true;
}

}  // namespace

Status AdamsStep(Form form, double tau2, Slope slope, const Node& target, const Node& start, int latest,
                 const Prediction* further, int count, double* sum) {
  Update first{};
  first.method = Method::multistep;
  first.form = form;
  first.order = 1;
  first.tau2 = tau2;
  first.target = target;
  first.base = first.node[0] = start;
  double order1[kSumLength];
  const Status status = UpdateRow(order1, first);
  if (status != Status::ok) return status;
  for (int i = 0; i < kSumLength; ++i) sum[i] = 0;
  sum[kA] = order1[kA];
  sum[kN] = order1[kN];
  sum[latest] = order1[kBp];
  const double h = target.lambda - start.lambda;
  if (start.end != End::regular || target.end != End::regular || h == 0) return Status::ok;

  double nu[3];
  int place[3], n = 0;
  for (int j = 0; j < count; ++j) {
    if (further[j].node.end != End::regular) continue;
    const int at = n;
    if (Append((further[j].node.lambda - start.lambda) / h, nu, &n)) place[at] = further[j].place;
  }
  const double gain = form == Form::data ? target.alpha : -target.sigma;
  for (int j = 0; j < n; ++j) {
    double rho = 0;
    if (n == 1 && slope != Slope::exact) {
      rho = (slope == Slope::linear ? (1 + tau2) * h : Weight(form, 1, h, tau2)) / 2;
    } else {
      double factorial = 1;
      for (int i = 1; i <= n; ++i) {
        factorial *= i;
        rho += factorial * Weight(form, i + 1, h, tau2) * LagrangeCoefficient(nu, n, j, i - 1);
      }
    }
    const double weight = gain * (rho / nu[j]);
    sum[place[j]] += weight;
    sum[latest] -= weight;
  }
  return Status::ok;
}

Status SaSolverRow(double* row, const SaSolver& u) {
  if (u.predictor_order < 1 || u.predictor_order > 4 || u.corrector_order < 0 || u.corrector_order > 4) {
    return Status::invalid;
  }
  // The published code takes the limit of short steps where there is one slope in the data form.
  const Slope slope = u.form == Form::data ? Slope::linear : Slope::exact;
  const Prediction earlier[3] = {{u.history[0], kB1}, {u.history[1], kB2}, {u.history[2], kB3}};

  double corrected[kSumLength] = {};
  if (u.corrector_order > 0) {
    // Of order 1 it is P alone that is held constant, as in an implicit Euler step.
    const bool alone = u.corrector_order == 1;
    const Prediction further[3] = {{u.current, kBp}, earlier[1], earlier[2]};
    const Status status = AdamsStep(u.form, u.last_tau2, slope, u.current, u.history[0], alone ? kBp : kB1, further,
                                    alone ? 0 : u.corrector_order - 1, corrected);
    if (status != Status::ok) return status;
  }
  corrected[kA] = 1;  // the base has been moved on, with its noise
  corrected[kN] = 0;

  double predicted[kSumLength];
  const Status status =
      AdamsStep(u.form, u.tau2, slope, u.target, u.current, kBp, earlier, u.predictor_order - 1, predicted);
  if (status != Status::ok) return status;
  const double a = predicted[kA];
  double moved[kSumLength];
  for (int i = 0; i < kSumLength; ++i) moved[i] = a * corrected[i];
  predicted[kA] = 0;
  for (int i = 0; i < kSumLength; ++i) predicted[i] += moved[i];
  moved[kN] = predicted[kN];

  double made[2 * kSumLength];
  if (!Store(made, predicted) || !Store(made + kSumLength, moved)) return Status::overflow;
  for (int i = 0; i < kSumLength; ++i) {
    row[kFirst + i] = made[i];
    row[kSecond + i] = made[kSumLength + i];
  }
  return Status::ok;
}

Status LmsRow(double* row, int order, const double* sigma) {
  if (order < 1 || order > 4) return Status::invalid;
  for (int i = 0; i <= order; ++i) {
    if (!(sigma[i] >= 0) || sigma[i] - sigma[i] != 0) return Status::invalid;
  }
  const double h = sigma[0] - sigma[1];
  double sum[kSumLength] = {};
  sum[kA] = 1;
  sum[kBp] = h;
  double nu[3];
  int place[3], n = 0;
  for (int j = 1; h != 0 && j < order; ++j) {
    const int at = n;
    if (Append((sigma[1 + j] - sigma[1]) / h, nu, &n)) place[at] = kB0 + j;
  }
  for (int j = 0; j < n; ++j) {
    double rho = 0;  // sum over j of rho_j nu_j^{i-1} = the integral of nu^i over [0, 1]
    for (int i = 1; i <= n; ++i) rho += LagrangeCoefficient(nu, n, j, i - 1) / (i + 1);
    const double weight = h * (rho / nu[j]);
    sum[place[j]] += weight;
    sum[kBp] -= weight;
  }
  return Store(row + kFirst, sum) ? Status::ok : Status::overflow;
}

}  // namespace dpm
