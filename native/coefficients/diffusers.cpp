#include "diffusers.h"

#include <cmath>
#include <initializer_list>

#include "step/row.h"

namespace dpm {
namespace {

bool Finite(const double* numbers, int count) {
  for (int i = 0; i < count; ++i) {
    if (numbers[i] - numbers[i] != 0) return false;
  }
  return true;
}

// A row's first entries for P = cx x + cm m, D0 = P.
void Predict(double* row, double cx, double cm) {
  for (int i = 0; i < kFirst; ++i) row[i] = 0;
  row[kCx] = cx;
  row[kCm] = cm;
  row[kEp] = 1;
}

}  // namespace

Status DdimRow(double* row, ModelType model_type, const Node& current, const Node& target, double eta, bool rederive) {
  if (!(eta >= 0) || !Finite(&eta, 1)) return Status::invalid;
  double made[kRowLength] = {}, noise[kRowLength] = {};
  Status status = PredictionRow(made, model_type, Form::data, current, Guidance::none, 1);
  if (status != Status::ok) return status;
  if (rederive) {
    if (current.sigma == 0) return Status::at_clean;
    made[kEp] = -current.alpha / current.sigma;
    made[kEx] = 1 / current.sigma;
  } else {
    status = PredictionRow(noise, model_type, Form::noise, current, Guidance::none, 1);
    if (status != Status::ok) return status;
    made[kEp] = 0;
    made[kEx] = noise[kCx];
    made[kEm] = noise[kCm];
  }
  double s = 0;
  if (eta > 0) {
    if (target.alpha < current.alpha) return Status::sde_inversion;
    if (current.sigma == 0) return Status::at_clean;
    const double ratio = current.alpha / target.alpha;
    s = eta * (target.sigma / current.sigma) * std::sqrt((1 - ratio) * (1 + ratio));
    if (s > target.sigma) return Status::invalid;  // more noise than there is at the target
  }
  double* sum = made + kFirst;
  sum[kBp] = target.alpha;
  sum[kB0] = std::sqrt((target.sigma - s) * (target.sigma + s));
  sum[kN] = s;
  if (!Finite(made, kRowLength)) return Status::overflow;
  for (int i = 0; i < kRowLength; ++i) row[i] = made[i];
  return Status::ok;
}

Status PndmRow(double* row, bool v, const Node& from, const Node& to, const double* weight) {
  Update update{};
  update.method = Method::multistep;
  update.form = Form::noise;
  update.order = 1;
  update.target = to;
  update.base = update.node[0] = from;
  double step[kSumLength];
  const Status status = UpdateRow(step, update);
  if (status != Status::ok) return status;
  double sum[kSumLength] = {};
  const double c = step[kBp];
  sum[kA] = v ? step[kA] + c * from.sigma : step[kA];
  const double gain = v ? c * from.alpha : c;
  const int place[4] = {kBp, kB1, kB2, kB3};
  for (int i = 0; i < 4; ++i) sum[place[i]] = gain * weight[i] + 0.0;
  if (!Finite(sum, kSumLength)) return Status::overflow;
  Predict(row, 0, 1);
  for (int i = 0; i < kSumLength; ++i) row[kFirst + i] = sum[i];
  return Status::ok;
}

Status EdmPredictionRow(double* row, bool v, double sigma_data, const Node& node) {
  if (!(sigma_data > 0) || node.alpha != 1) return Status::invalid;
  const double root = std::sqrt(node.sigma * node.sigma + sigma_data * sigma_data);
  const double skip = (sigma_data / root) * (sigma_data / root);
  const double out = node.sigma * (sigma_data / root);
  const double c[2] = {skip, v ? -out : out};
  if (!Finite(c, 2)) return Status::overflow;
  Predict(row, c[0], c[1]);
  return Status::ok;
}

Status KeepNoise(double* row, const Node& node) {
  if (!(node.sigma > 0)) return Status::at_clean;
  const double e[2] = {-node.alpha / node.sigma, 1 / node.sigma};
  if (!Finite(e, 2)) return Status::overflow;
  row[kEp] = e[0];
  row[kEx] = e[1];
  for (double* sum : {row + kFirst, row + kSecond}) {
    sum[kB0] += sum[kBp];
    sum[kBp] = 0;
  }
  return Status::ok;
}

}  // namespace dpm
