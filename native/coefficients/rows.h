// From nodes of the noise schedule to one row of coefficients (native/step/row.h), in double precision.
//
// A node is a time, seen through x = alpha x0 + sigma epsilon: alpha, sigma and lambda = log(alpha / sigma).
// Here are the rows of DPM-Solver (Lu et al. 2022, arXiv 2206.00927) and DPM-Solver++ (arXiv 2211.01095);
// other families get files of their own and share Node, Form, Status and Weight.
#pragma once

namespace dpm {

// The two ends of a schedule, where lambda is not finite, are told apart by kind: no epsilon decides.
enum class End : int {
  regular = 0,
  clean = 1 /* sigma = 0, lambda = +inf */,
  noise = 2 /* alpha = 0, lambda = -inf */
};

struct Node {
  double alpha, sigma, lambda;
  End end;
};

enum class Form : int { data = 0, noise = 1 };  // what P and D1..D3 are: x0 or epsilon
enum class ModelType : int { noise = 0, x_start = 1, v = 2, score = 3, flow = 4 };
enum class Guidance : int { none = 0, classifier_free = 1, classifier = 2 };
enum class Method : int { multistep = 0, singlestep = 1 };

enum class Status : int {
  ok = 0,
  invalid = 1,        // an argument is out of its range, or a node contradicts its `end`
  at_noise = 2,       // no value at alpha = 0 in this form
  at_clean = 3,       // no value at sigma = 0 in this form
  sde_inversion = 4,  // tau > 0 with h < 0: the reverse SDE has no step towards noise
  misplaced = 5,      // a node is not where the method wants it (see Update)
  overflow = 6,       // a coefficient is not a finite double
};

// On any status but ok, the row is left as it was.

// P = cx x + cm m + cu u + cg g at the node `eval`, D0 = P, no transform. `scale` is the guidance scale s:
// classifier-free m <- u + s (m - u) (Ho & Salimans 2022); classifier epsilon <- epsilon - s sigma g, where g is
// the gradient of log p(y | x) (Dhariwal & Nichol 2021, arXiv 2105.05233, guided DDIM). Writes the entries
// kCx .. kTransform and kEp .. kEu of `row`.
Status PredictionRow(double* row, ModelType model_type, Form form, const Node& eval, Guidance guidance, double scale);

// One update from `base` to `target`.
struct Update {
  Method method;
  Form form;
  int order;    // 1, 2, 3
  bool taylor;  // second order and singlestep third order: the weights of the Taylor expansion
                // (solverType 'taylor', 'heun' in diffusers) instead of those of the papers' algorithms
  bool exact;   // multistep third order: the second derivative with its factor 2, see Multistep in rows.cpp
  double tau2;  // tau^2 (k-diffusion's eta): 0 is the ODE, 1 the SDE
  Node target;
  Node base;     // the node of the state that the step starts from
  Node node[3];  // where P, D1 and D2 were evaluated; `order` of them are read.
                 // multistep: node[0] is base. singlestep: node[order - 1] is base, those before it are the
                 // stages in reverse order of evaluation
};

// Writes a, bp, b0 (always 0), b1, b2, b3 (always 0), n to `sum`, which is row + kFirst or row + kSecond.
//
// Stages of the singlestep methods are updates too: u1 of order 2 and 3 is an update of order 1 to s1, u2 of
// order 3 is a singlestep update of order 2, taylor, to s2.
//
// Where the order cannot be held, it falls, and the row says so by its zeros:
// - the target or the base at an end (infinite h): order 1, with P, the latest prediction, held constant;
// - multistep, node[1] at an end: the difference P - D1 is spread over an infinite distance, its slope is 0: order 1;
// - multistep, node[2] at an end: the limit is order 2, taylor, whatever `taylor` says (order 3 ignores it);
// - two of the nodes at the same lambda: one order lower, from the nodes that differ (P counts before D1 before D2);
// - target.lambda equal to base.lambda (h = 0): a = sigma_t / sigma_s = alpha_t / alpha_s, all else exactly 0.
Status UpdateRow(double* sum, const Update& update);

// A_k^c(h) = H phi_k(-H) with H = (1 + tau^2) h (data form), (1 + tau^2) B_k(h) = (1 + tau^2) h phi_k(h) (noise form):
// what the k-th Taylor coefficient h^{k-1} f^{(k-1)} of the prediction weighs in a step of size h. k = 1, 2, 3, 4.
double Weight(Form form, int k, double h, double tau2);

}  // namespace dpm
