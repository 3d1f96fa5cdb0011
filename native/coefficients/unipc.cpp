#include "unipc.h"

#include "adams.h"
#include "step/row.h"

namespace dpm {
namespace {

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
  const Slope slope = u.bh1 ? Slope::linear : Slope::weight;
  const Prediction earlier[3] = {{u.history[0], kB1}, {u.history[1], kB2}, {u.history[2], kB3}};

  double corrected[kSumLength] = {};
  corrected[kA] = 1;
  if (u.corrector_order > 0) {
    const Prediction further[3] = {{u.current, kBp}, earlier[1], earlier[2]};
    const Status status =
        AdamsStep(u.form, 0, slope, u.current, u.history[0], kB1, further, u.corrector_order, corrected);
    if (status != Status::ok) return status;
  }

  double predicted[kSumLength];
  const Status status =
      AdamsStep(u.form, 0, slope, u.target, u.current, kBp, earlier, u.predictor_order - 1, predicted);
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
