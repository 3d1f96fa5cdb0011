// Rows of the samplers that are not of the DPM-Solver family, and of the ways in which networks are wrapped there:
// DDIM (Song et al. 2021, arXiv 2010.02502), PNDM (Liu et al. 2022, arXiv 2202.09778), the preconditioning of EDM
// (Karras et al. 2022, arXiv 2206.00364). All in double precision, from nodes as in rows.h.
#pragma once

#include "rows.h"

namespace dpm {

// DDIM, eqs. 12 and 16, between two nodes with alpha^2 + sigma^2 = 1:
//   x_t = alpha_t x0 + sqrt(sigma_t^2 - s^2) epsilon + s z,
//   s = eta (sigma_t / sigma_s) sqrt(1 - alpha_s^2 / alpha_t^2)
// P = x0, so that a transform may clip it; epsilon is what the network says (`rederive` false) or what follows from x
// and the clipped x0. It is D0. Writes the row's prediction, D0 and `first`; the transform is `none`.
Status DdimRow(double* row, ModelType model_type, const Node& current, const Node& target, double eta, bool rederive);

// PNDM, eq. 9, which is DDIM's step in noise form, with epsilon = weight[0] P + weight[1] D1 + .. + weight[3] D3. What
// the history keeps is the network's output as it is, P = m. If that is v (`v`), the sum of the v is turned into a
// noise at `from`, as diffusers does: epsilon = alpha v + sigma base.
Status PndmRow(double* row, bool v, const Node& from, const Node& to, const double* weight);

// P = x0 = c_skip x + c_out m, D0 = P, at a node with alpha = 1 (EDM, table 1):
//   c_skip = sigma_data^2 / (sigma^2 + sigma_data^2),   c_out = sigma sigma_data / sqrt(sigma^2 + sigma_data^2)
// with c_out negated if the network predicts v.
Status EdmPredictionRow(double* row, bool v, double sigma_data, const Node& node);

// For a solver in noise form on a network that predicts x0, after the sums were written: P stays x0, which a transform
// may change, and the history keeps D0 = (x - alpha P) / sigma. What the sums have for P goes to D0.
Status KeepNoise(double* row, const Node& node);

}  // namespace dpm
