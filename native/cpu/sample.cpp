#include "sample.h"

#include "sizes.h"

namespace dpm {
namespace {

void* At(const Buffer& buffer, size_t element) {
  return buffer.data ? static_cast<char*>(buffer.data) + element * Bytes(buffer.type) : nullptr;
}

template <class T>
void Use(Terms<T>& terms, const SampleStep<T>& step, double coefficient, int source) {
  const bool present = source == kSrcP || source == kSrcD0 || step.in[source] || step.half[source];
  if (present && coefficient != 0) terms.Add(coefficient, source);
}

template <class T>
void Sum(Terms<T>& terms, const SampleStep<T>& step, const double* sum) {
  Use(terms, step, sum[kA], kSrcBase);
  // Where the history keeps P itself the two coefficients are one.
  Use(terms, step, step.d0_is_p ? sum[kBp] + sum[kB0] : sum[kBp], kSrcP);
  if (!step.d0_is_p) Use(terms, step, sum[kB0], kSrcD0);
  Use(terms, step, sum[kB1], kSrcD1);
  Use(terms, step, sum[kB2], kSrcD2);
  Use(terms, step, sum[kB3], kSrcD3);
  Use(terms, step, sum[kN], kSrcZ);
}

// Is an output an input as well? (They coincide exactly where they share memory; the caller has checked.)
bool IsInput(const StepCall& c, const Buffer& out) {
  const Buffer* inputs[] = {&c.x, &c.m, &c.u, &c.g, &c.base, &c.p, &c.d1, &c.d2, &c.d3, &c.z};
  for (const Buffer* in : inputs) {
    if (out.data && out.data == in->data) return true;
  }
  return false;
}

}  // namespace

bool NeedsSelection(const double* row) {
  return static_cast<Transform>(static_cast<int>(row[kTransform])) == Transform::quantile && row[kFloor] < row[kCap];
}

template <class T>
SampleStep<T> Resolve(const StepCall& c, size_t b) {
  SampleStep<T> step;
  const double* row = c.rows + b * kRowLength;
  const size_t first = b * c.n;
  const auto input = [&](int source, const Buffer& buffer, size_t element) {
    if (buffer.type == Type::f16) {
      step.half[source] = static_cast<const uint16_t*>(At(buffer, element));
    } else {
      step.in[source] = static_cast<const T*>(At(buffer, element));
    }
  };
  input(kSrcX, c.x, first);
  input(kSrcM, c.m, b * c.m_stride);
  input(kSrcU, c.u, b * c.m_stride);
  input(kSrcG, c.g, first);
  input(kSrcBase, c.base, first);
  input(kSrcD1, c.d1, first);
  input(kSrcD2, c.d2, first);
  input(kSrcD3, c.d3, first);
  input(kSrcZ, c.z, first);

  step.transform = static_cast<Transform>(static_cast<int>(row[kTransform]));
  if (step.transform == Transform::given && c.p.data) {
    step.in[kSrcP] = static_cast<const T*>(At(c.p, first));
  } else {
    if (step.transform == Transform::given)
      step.transform = Transform::none;  // changed since it was checked, see StepTyped
    step.p_out = static_cast<T*>(At(c.p, first));
  }
  Use(step.prediction, step, row[kCx], kSrcX);
  Use(step.prediction, step, row[kCm], kSrcM);
  Use(step.prediction, step, row[kCu], kSrcU);
  Use(step.prediction, step, row[kCg], kSrcG);
  step.divide = step.transform == Transform::quantile;
  step.s = static_cast<T>(row[kFloor]);

  step.d0_is_p = row[kEp] == 1 && row[kEx] == 0 && row[kEm] == 0 && row[kEu] == 0;
  if (!step.d0_is_p) {
    Use(step.d0, step, row[kEp], kSrcP);
    Use(step.d0, step, row[kEx], kSrcX);
    Use(step.d0, step, row[kEm], kSrcM);
    Use(step.d0, step, row[kEu], kSrcU);
  }
  Sum(step.first, step, row + kFirst);
  Sum(step.second, step, row + kSecond);
  step.d0_out = static_cast<T*>(At(c.d0, first));
  step.out = static_cast<T*>(At(c.out, first));
  step.out2 = static_cast<T*>(At(c.out2, first));
  for (const Buffer& next : c.next) {
    if (!next.data) continue;
    step.next_type = static_cast<int>(next.type);
    step.next[step.next_count++] = At(next, first);
  }
  const bool d0_is_input = IsInput(c, c.d0), out_is_input = IsInput(c, c.out);
  step.stage = d0_is_input || out_is_input || IsInput(c, c.out2);
  const size_t from = NeedsSelection(row) ? kStreamAfterLookFrom : kStreamFrom;
  const bool large = c.batch * c.n * sizeof(T) >= from;
  step.stream_d0 = large && !d0_is_input;
  step.stream_out = large && !out_is_input;
  return step;
}
template SampleStep<float> Resolve(const StepCall&, size_t);
template SampleStep<double> Resolve(const StepCall&, size_t);

}  // namespace dpm
