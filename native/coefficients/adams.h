// Multistep steps whose predictions may stand anywhere: exponential Adams methods (UniPC, SA-Solver) and the linear one
// in sigma (LMS).
#pragma once

#include "rows.h"

namespace dpm {

// A prediction of which a step makes use: where it was evaluated, and its coefficient's place in a sum.
struct Prediction {
  Node node;
  int place;
};

// What a step with a single slope weighs it with, where published codes differ from the integral:
enum class Slope : int {
  exact = 0,   // W_2
  linear = 1,  // (1 + tau^2) h / 2, the limit of W_2 for short steps (SA-Solver; UniPC's bh1)
  weight = 2,  // W_1 / 2 (UniPC's bh2)
};

// One step from `start`, where the state is, to `target`: the polynomial through the predictions m_j is integrated,
//   x_t = a x_s + gain (W_1 m_0 + sum over j of rho_j (m_j - m_0) / nu_j) + n z,   nu_j = (lambda_j - lambda_0) / h,
//   sum over j of rho_j nu_j^{i-1} = i! W_{i+1},   i = 1 .. count
// (UniP-p and UniC-p of arXiv 2302.04867, SA-Predictor and SA-Corrector of arXiv 2309.05019, eqs. 14 and 17; W_k is
// Weight(form, k, h, tau2)). m_0 is `latest`, evaluated at `start`, and `further` are up to three more; one that stands
// at an end, or at the lambda of another, takes no part. A step that touches an end is one of order 1, and one of
// length 0 the identity.
Status AdamsStep(Form form, double tau2, Slope slope, const Node& target, const Node& start, int latest,
                 const Prediction* further, int count, double* sum);

struct SaSolver {
  Form form;
  int predictor_order;  // 1 .. 4: P and D1 .. D3
  int corrector_order;  // 0: none; 1 .. 4: P and the orders - 1 latest of D1 .. D3
  double tau2;          // tau^2 of the step to `target`, and
  double last_tau2;     // of the step that led to `current`
  Node target;
  Node current;     // where P was evaluated
  Node history[3];  // where D1, D2, D3 were
};

// SA-Solver (Xue et al. 2023, arXiv 2309.05019): `first` is the network's next input, and `second` what the next
// corrector starts from: the corrected state moved on, and the noise of its step, to which only weighed predictions
// have to be added. `base` is that of the last step, or, without a corrector, the state at `current`.
Status SaSolverRow(double* row, const SaSolver& update);

// A linear multistep step of d x / d sigma = P in x = x0 + sigma epsilon (Adams-Bashforth for steps of any length; LMS
// of k-diffusion): x_t = x + the integral over sigma of the polynomial through P at sigma[1], D1 at sigma[2], ...
// `order` of them, 1 .. 4, where sigma[0] is that of the target. A sigma that repeats another takes no part.
Status LmsRow(double* row, int order, const double* sigma);

}  // namespace dpm
