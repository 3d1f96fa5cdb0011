#include "rows.h"

#include <cmath>
#include <limits>

#include "elementary.h"
#include "phi.h"
#include "step/row.h"

namespace dpm {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

bool Finite(double x) { return x - x == 0; }

bool Valid(const Node& node) {
  switch (node.end) {
    case End::regular:
      return node.alpha > 0 && node.alpha < kInf && node.sigma > 0 && node.sigma < kInf && Finite(node.lambda);
    case End::clean:
      return node.alpha > 0 && node.alpha < kInf && node.sigma == 0;
    case End::noise:
      return node.alpha == 0 && node.sigma > 0 && node.sigma < kInf;
  }
  return false;
}

bool SamePlace(const Node& p, const Node& q) {
  return p.end == q.end && (p.end != End::regular || p.lambda == q.lambda);
}

// Copies a row's part, unless some entry is not finite. Adding 0 turns -0 into 0.
Status Store(double* to, const double* from, int length) {
  for (int i = 0; i < length; ++i) {
    if (!Finite(from[i])) return Status::overflow;
  }
  for (int i = 0; i < length; ++i) to[i] = from[i] + 0.0;
  return Status::ok;
}

// The prediction as cx x + cm m: from x = alpha x0 + sigma epsilon and the definition of the network's output.
struct Affine {
  double cx, cm;
};

Status DataPrediction(ModelType model_type, double alpha, double sigma, Affine* p) {
  switch (model_type) {
    case ModelType::noise:  // m = epsilon
      if (alpha == 0) return Status::at_noise;
      *p = {1 / alpha, -sigma / alpha};
      return Status::ok;
    case ModelType::x_start:  // m = x0
      *p = {0, 1};
      return Status::ok;
    case ModelType::v: {  // m = alpha epsilon - sigma x0 (Salimans & Ho 2022)
      const double square = alpha * alpha + sigma * sigma;
      *p = {alpha / square, -sigma / square};
      return Status::ok;
    }
    case ModelType::score:  // m = -epsilon / sigma
      if (alpha == 0) return Status::at_noise;
      *p = {1 / alpha, sigma * (sigma / alpha)};
      return Status::ok;
    case ModelType::flow:  // m = epsilon - x0
      *p = {1 / (alpha + sigma), -sigma / (alpha + sigma)};
      return Status::ok;
  }
  return Status::invalid;
}

Status NoisePrediction(ModelType model_type, double alpha, double sigma, Affine* p) {
  switch (model_type) {
    case ModelType::noise:
      *p = {0, 1};
      return Status::ok;
    case ModelType::x_start:
      if (sigma == 0) return Status::at_clean;
      *p = {1 / sigma, -alpha / sigma};
      return Status::ok;
    case ModelType::v: {
      const double square = alpha * alpha + sigma * sigma;
      *p = {sigma / square, alpha / square};
      return Status::ok;
    }
    case ModelType::score:
      if (sigma == 0) return Status::at_clean;  // the score is infinite there, sigma times it is not known
      *p = {0, -sigma};
      return Status::ok;
    case ModelType::flow:
      *p = {1 / (alpha + sigma), alpha / (alpha + sigma)};
      return Status::ok;
  }
  return Status::invalid;
}

// Everything of an update but the weights: out = a base + gain (w[0] P + w[1] D1 + w[2] D2) + n z.
struct Transport {
  double a, gain, n;
};

// The exact solution between two regular nodes, with the linear part and the noise integrated in closed form.
// data:  x_t = sigma_t/sigma_s e^{-tau^2 h} x_s + alpha_t (integral of D) + sigma_t sqrt(1 - e^{-2 tau^2 h}) z
//        (DPM-Solver++, the exact solution by the data prediction model, for tau = 0; SDE-DPM-Solver++ for tau = 1)
// noise: x_t = alpha_t/alpha_s x_s - sigma_t (integral of epsilon) + tau sigma_t sqrt(e^{2h} - 1) z
//        (DPM-Solver, Proposition 3.1, eq. 3.4 for tau = 0; SDE-DPM-Solver for tau = 1)
Transport Between(Form form, const Node& target, const Node& base, double h, double tau2) {
  const double ratio = target.sigma / base.sigma;
  if (form == Form::data) {
    if (tau2 == 0) return {ratio, target.alpha, 0};
    return {ratio * Exp(-tau2 * h), target.alpha, target.sigma * std::sqrt(-Expm1(-2 * tau2 * h))};
  }
  const double a = target.alpha / base.alpha;
  if (tau2 == 0) return {a, -target.sigma, 0};
  // sqrt(e^{2h} - 1) as e^h sqrt(1 - e^{-2h}), which overflows no sooner than the weights do.
  return {a, -target.sigma, std::sqrt(tau2) * target.sigma * Exp(h) * std::sqrt(-Expm1(-2 * h))};
}

// Order 1 with the target or the base at an end: the limits of order 1 (DPM-Solver-1, section 3.2), h infinite.
// `w` is the weight of P times the gain. Higher orders would extrapolate a slope over an infinite distance.
Status AtEnd(const Update& u, double* a, double* w, double* n) {
  const Node& t = u.target;
  const Node& s = u.base;
  const double tau = std::sqrt(u.tau2);
  const bool towards_noise = t.end == End::noise || s.end == End::clean;  // h = -inf
  if (towards_noise && u.tau2 > 0) return Status::sde_inversion;
  if (u.form == Form::data) {
    if (s.end == End::clean) return Status::at_clean;  // sigma_t / sigma_s
    *a = t.sigma / s.sigma;
    if (towards_noise) {
      *w = -s.alpha * *a;  // alpha_t (1 - e^{-h}), e^{-h} = (alpha_s / sigma_s) (sigma_t / alpha_t)
      *n = 0;
    } else {  // h = +inf: A_1 = 1, e^{-tau^2 h} = 0 if tau > 0
      if (tau > 0) *a = 0;
      *w = t.alpha;
      *n = tau > 0 ? t.sigma : 0;
    }
  } else {
    if (s.end == End::noise) return Status::at_noise;  // alpha_t / alpha_s
    *a = t.alpha / s.alpha;
    if (towards_noise) {
      *w = t.sigma;  // -sigma_t (e^h - 1), e^h = 0
      *n = 0;
    } else {  // sigma_t (e^h - 1) -> sigma_t e^h = alpha_t sigma_s / alpha_s
      *w = -(1 + u.tau2) * s.sigma * *a;
      *n = tau * s.sigma * *a;
    }
  }
  return Status::ok;
}

// Adds weight * (P - D_j) / distance, with lengths measured in h: a slope in lambda/h from the nodes of P and D_j.
void AddSlope(double* w, double weight, int j, double h, double distance) {
  const double slope = weight * (h / distance);
  w[0] += slope;
  w[j] -= slope;
}

// Multistep weights of P, D1, D2 (order 2: DPM-Solver++(2M); orders 2 and 3 of the published code).
// With r0 = (lambda_0 - lambda_1) / h, r1 = (lambda_1 - lambda_2) / h:
//   order 2:  W1 P + W1/2 (P - D1)/r0            (taylor: W2 instead of W1/2)
//   order 3:  W1 P + W2 P1 + W3 P2,   a = (P - D1)/r0,   b = (D1 - D2)/r1,
//             P1 = a + r0 (a - b) / (r0 + r1),
//             P2 = (a - b) / (r0 + r1)           (exact: twice that)
// P1 is h f'. h^2 f'' is twice the divided difference (a - b) / (r0 + r1); the published code leaves the factor
// out, which makes the method second order. `exact` puts it in.
void Multistep(const Update& u, double h, double* w) {
  const Node* node = u.node;
  w[0] = Weight(u.form, 1, h, u.tau2);
  if (u.order == 1 || node[1].end != End::regular) return;
  const double h0 = node[0].lambda - node[1].lambda;
  if (u.order == 2) {
    if (h0 != 0) AddSlope(w, u.taylor ? Weight(u.form, 2, h, u.tau2) : w[0] / 2, 1, h, h0);
    return;
  }
  const double w2 = Weight(u.form, 2, h, u.tau2);
  const bool second = node[2].end == End::regular;
  const double h1 = second ? node[1].lambda - node[2].lambda : 0;
  const double h02 = second ? node[0].lambda - node[2].lambda : 0;
  if (h0 == 0) {  // D1 repeats P's node
    if (h02 != 0) AddSlope(w, w2, 2, h, h02);
    return;
  }
  if (h1 == 0 || h02 == 0) {  // D2 repeats a node, or stands at an end
    AddSlope(w, w2, 1, h, h0);
    return;
  }
  const double r0 = h0 / h, r1 = h1 / h, r02 = h02 / h;
  const double w3 = Weight(u.form, 3, h, u.tau2) * (u.exact ? 2 : 1);
  const double wa = (w2 * (1 + r0 / r02) + w3 / r02) / r0;
  const double wb = (w2 * r0 + w3) / r02 / r1;
  w[0] += wa;
  w[1] = -wa - wb;
  w[2] = wb;
}

// Singlestep weights: the prediction at the base is D1 (order 2) or D2 (order 3), M_s below.
// Order 2 (DPM-Solver-2, DPM-Solver++(2S)), P at s1, r1 = (lambda_s1 - lambda_s) / h:
//   W1 M_s + W1/2 (P - M_s)/r1                   (taylor: W2 instead of W1/2)
// Order 3 (DPM-Solver-3), P at s2, D1 at s1:
//   W1 M_s + W2 (P - M_s)/r2                     third order only if r2 = 2/3 + O(h)
//   taylor: W1 M_s + W2 P1 + W3 P2,   a = (D1 - M_s)/r1,   b = (P - M_s)/r2,
//           P1 = (r2 a - r1 b) / (r2 - r1),   P2 = 2 (b - a) / (r2 - r1)
void Singlestep(const Update& u, double h, double* w) {
  const double w1 = Weight(u.form, 1, h, u.tau2);
  if (u.order == 1) {
    w[0] = w1;
    return;
  }
  const Node* node = u.node;
  const int base = u.order - 1;
  const double lambda_s = u.base.lambda;
  const double latest = node[0].lambda - lambda_s;
  // Sets w1 M_s + weight (D_j - M_s) / r.
  const auto line = [&](int j, double weight, double distance) {
    const double slope = weight * (h / distance);
    w[base] = w1 - slope;
    w[j] = slope;
  };
  if (u.order == 2) {
    if (latest == 0) {
      w[0] = w1;
    } else {
      line(0, u.taylor ? Weight(u.form, 2, h, u.tau2) : w1 / 2, latest);
    }
    return;
  }
  const double w2 = Weight(u.form, 2, h, u.tau2);
  const double earlier = node[1].lambda - lambda_s;
  const double between = node[0].lambda - node[1].lambda;
  if (latest == 0 && earlier == 0) {
    w[0] = w1;
  } else if (latest == 0) {
    line(1, w2, earlier);
  } else if (!u.taylor || earlier == 0 || between == 0) {
    line(0, w2, latest);
  } else {
    const double r1 = earlier / h, r2 = latest / h, r21 = between / h;
    const double w3 = Weight(u.form, 3, h, u.tau2);
    w[0] = (2 * w3 - w2 * r1) / r21 / r2;
    w[1] = (w2 * r2 - 2 * w3) / r21 / r1;
    w[2] = w1 - w[0] - w[1];
  }
}

}  // namespace

double Weight(Form form, int k, double h, double tau2) {
  const double c = 1 + tau2;
  if (form == Form::noise) return c * h * Phi(k, h);
  return c * h * Phi(k, -c * h);
}

Status PredictionRow(double* row, ModelType model_type, Form form, const Node& eval, Guidance guidance, double scale) {
  if (!Valid(eval) || (guidance != Guidance::none && !Finite(scale))) return Status::invalid;
  const double alpha = eval.alpha, sigma = eval.sigma;
  Affine p;
  const Status status =
      form == Form::data ? DataPrediction(model_type, alpha, sigma, &p) : NoisePrediction(model_type, alpha, sigma, &p);
  if (status != Status::ok) return status;

  double c[] = {p.cx, p.cm, 0, 0, static_cast<double>(Transform::none)};
  if (guidance == Guidance::classifier_free) {
    c[kCm] = p.cm * scale;
    c[kCu] = p.cm * (1 - scale);
  } else if (guidance == Guidance::classifier && scale != 0) {
    // epsilon gets -s sigma g, so x0 = (x - sigma epsilon) / alpha gets s sigma^2 / alpha g.
    if (form == Form::data && alpha == 0) return Status::at_noise;
    c[kCg] = form == Form::data ? scale * (sigma * (sigma / alpha)) : -scale * sigma;
  }
  static_assert(kCx == 0 && kCm == 1 && kCu == 2 && kCg == 3 && kTransform == 4, "c is laid out like the row");
  const Status stored = Store(row, c, 5);
  if (stored != Status::ok) return stored;
  row[kEp] = 1;
  row[kEx] = row[kEm] = row[kEu] = 0;
  return Status::ok;
}

Status UpdateRow(double* sum, const Update& u) {
  if (u.order < 1 || u.order > 3 || !(u.tau2 >= 0 && u.tau2 < kInf)) return Status::invalid;
  if (!Valid(u.target) || !Valid(u.base)) return Status::invalid;
  for (int i = 0; i < u.order; ++i) {
    if (!Valid(u.node[i])) return Status::invalid;
  }
  const bool multistep = u.method == Method::multistep;
  if (!SamePlace(u.base, u.node[multistep ? 0 : u.order - 1])) return Status::misplaced;

  double out[kSumLength] = {};
  if (SamePlace(u.target, u.base)) {
    out[kA] = u.base.end == End::clean ? u.target.alpha / u.base.alpha : u.target.sigma / u.base.sigma;
    return Store(sum, out, kSumLength);
  }
  if (u.target.end != End::regular || u.base.end != End::regular) {
    const Status status = AtEnd(u, &out[kA], &out[kBp], &out[kN]);
    return status == Status::ok ? Store(sum, out, kSumLength) : status;
  }
  const double h = u.target.lambda - u.base.lambda;
  if (h < 0 && u.tau2 > 0) return Status::sde_inversion;
  double w[3] = {};
  if (multistep) {
    Multistep(u, h, w);
  } else {
    for (int i = 0; i < u.order - 1; ++i) {
      if (u.node[i].end != End::regular) return Status::misplaced;  // a stage between two regular nodes is regular
    }
    Singlestep(u, h, w);
  }
  const Transport transport = Between(u.form, u.target, u.base, h, u.tau2);
  out[kA] = transport.a;
  out[kBp] = transport.gain * w[0];
  out[kB1] = transport.gain * w[1];
  out[kB2] = transport.gain * w[2];
  out[kN] = transport.n;
  return Store(sum, out, kSumLength);
}

}  // namespace dpm
