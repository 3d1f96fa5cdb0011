// Rows of UniPC (Zhao et al. 2023, arXiv 2302.04867): the corrector of the step that has just been made and the
// predictor of the next one, in one row.
#pragma once

#include "rows.h"

namespace dpm {

struct UniPC {
  Form form;
  int predictor_order;  // 1, 2, 3: UniP-p, which reads P and `order - 1` earlier predictions
  int corrector_order;  // 0: none; 1, 2, 3: UniC-p, which reads P and `order` earlier predictions
  bool bh1;             // B(h) = h, else e^h - 1 (bh2); it matters only where a weight is fixed to 1/2
  Node target;          // where the predictor goes
  Node current;         // where P was evaluated
  Node history[3];      // where D1, D2, D3 were; the state that the corrector starts from stands at history[0]
};

// Writes the sums `first`, the network's next input, and `second`, the corrected state, which is what the next
// corrector starts from. Both are over the same operands: P, D1..D3 and `base`, which is the corrected state at
// history[0], or, without a corrector, the state at `current`.
//
// A node at an end, or at the lambda of another one, takes no part: the order falls by one. Steps that touch an end
// are of order 1 (h is infinite, and B(h) with it); where current or target repeats the lambda before it, its step is
// the identity.
Status UniPCRow(double* row, const UniPC& update);

}  // namespace dpm
