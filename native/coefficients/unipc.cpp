#include "unipc.h"

#include "step/row.h"

namespace dpm {
namespace {

// A prediction of which a step makes use: where it was evaluated, and its coefficient's place in a sum.
struct Prediction {
  Node node;
  int place;
};

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

// One step from `start`, where the state and `latest` are, to `target`, with further predictions:
//   x_t = a x_s + gain (W_1 m_0 + sum over j of rho_j (m_j - m_0) / nu_j),   nu_j = (lambda_j - lambda_s) / h,
//   sum over j of rho_j nu_j^{i-1} = i! W_{i+1},   i = 1 .. count
// (UniP-p and UniC-p of arXiv 2302.04867 with B(h); W_k / h = phi_k(h)). With one further prediction rho is B(h) / 2,
// as in the published code: UniP-2 and UniC-1.
Status Step(Form form, bool bh1, const Node& target, const Node& start, int latest, const Prediction* further,
            int count, double* sum) {
  Update first{};
  first.method = Method::multistep;
  first.form = form;
  first.order = 1;
  first.target = target;
  first.base = first.node[0] = start;
  double order1[kSumLength];
  const Status status = UpdateRow(order1, first);
  if (status != Status::ok) return status;
  for (int i = 0; i < kSumLength; ++i) sum[i] = 0;
  sum[kA] = order1[kA];
  sum[latest] = order1[kBp];
  const double h = target.lambda - start.lambda;
  if (start.end != End::regular || target.end != End::regular || h == 0) return Status::ok;

  double nu[3];
  int place[3], n = 0;
  for (int j = 0; j < count; ++j) {
    if (further[j].node.end != End::regular) continue;
    const double candidate = (further[j].node.lambda - start.lambda) / h;
    bool repeated = candidate == 0;
    for (int k = 0; k < n; ++k) repeated = repeated || candidate == nu[k];
    if (repeated) continue;
    nu[n] = candidate;
    place[n++] = further[j].place;
  }
  const double gain = form == Form::data ? target.alpha : -target.sigma;
  for (int j = 0; j < n; ++j) {
    double rho = 0;
    if (n == 1) {
      rho = (bh1 ? h : Weight(form, 1, h, 0)) / 2;
    } else {
      double factorial = 1;
      for (int i = 1; i <= n; ++i) {
        factorial *= i;
        rho += factorial * Weight(form, i + 1, h, 0) * LagrangeCoefficient(nu, n, j, i - 1);
      }
    }
    const double weight = gain * (rho / nu[j]);
    sum[place[j]] += weight;
    sum[latest] -= weight;
  }
  return Status::ok;
}

bool Finite(const double* sum) {
  for (int i = 0; i < kSumLength; ++i) {
    if (sum[i] - sum[i] != 0) return false;
  }
  return true;
}

}  // namespace

Status UniPCRow(double* row, const UniPC& u) {
  if (u.predictor_order < 1 || u.predictor_order > 3 || u.corrector_order < 0 || u.corrector_order > 3) {
    return Status::invalid;
  }
  const Prediction earlier[3] = {{u.history[0], kB1}, {u.history[1], kB2}, {u.history[2], kB3}};

  double corrected[kSumLength] = {};
  corrected[kA] = 1;
  if (u.corrector_order > 0) {
    const Prediction further[3] = {{u.current, kBp}, earlier[1], earlier[2]};
    const Status status = Step(u.form, u.bh1, u.current, u.history[0], kB1, further, u.corrector_order, corrected);
    if (status != Status::ok) return status;
  }

  double predicted[kSumLength];
  const Status status = Step(u.form, u.bh1, u.target, u.current, kBp, earlier, u.predictor_order - 1, predicted);
  if (status != Status::ok) return status;
  const double a = predicted[kA];
  predicted[kA] = 0;
  for (int i = 0; i < kSumLength; ++i) predicted[i] += a * corrected[i];

  if (!Finite(predicted) || !Finite(corrected)) return Status::overflow;
  for (int i = 0; i < kSumLength; ++i) {
    row[kFirst + i] = predicted[i] + 0.0;
    row[kSecond + i] = corrected[i] + 0.0;
  }
  return Status::ok;
}

}  // namespace dpm
