// What the functions over tensors share: numbers in and out, and what is said when they do not fit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>

#include "../../step/row.h"
#include "../arguments.h"

namespace dpm::addon {

constexpr double kMostElements = 9007199254740991.0;

inline std::string Size(uint64_t n) { return std::to_string(n); }

inline std::string LengthMessage(const char* name, const std::string& expected, size_t received) {
  return "Expected " + expected + " elements for " + name + " but received " + Size(received);
}

// Are there rows for samples `first` to `first + batch - 1`? Throws where not.
inline bool RowsReach(napi_env env, const View& rows, int64_t first, int64_t batch) {
  const size_t row_count = rows.length / kRowLength;
  // In 64 bits: a size may have 32.
  if (static_cast<uint64_t>(first) <= row_count &&
      static_cast<uint64_t>(batch) <= row_count - static_cast<size_t>(first)) {
    return true;
  }
  ThrowRange(env, "Expected rows for samples " + Size(first) + " to " + Size(first + batch - 1) + " of " +
                      std::to_string(kRowLength) + " numbers each for rows but received " + Size(rows.length) +
                      " numbers");
  return false;
}

inline napi_value Number(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

inline napi_value OutOfMemory(napi_env env, const char* what) {
  napi_throw_error(env, nullptr, (std::string("Out of memory: ") + what + " could not be allocated").c_str());
  return nullptr;
}

// One number a sample, kept back until all are there: a call that fails has written nothing.
class Results {
 public:
  Results(size_t count, const View& out) : count_(count), out_(static_cast<double*>(out.data)) {
    if (count > sizeof few_ / sizeof *few_) values_ = new (std::nothrow) double[count];
  }
  ~Results() {
    if (values_ != few_) delete[] values_;
  }
  Results(const Results&) = delete;
  Results& operator=(const Results&) = delete;
  double* values() const { return values_; }  // null if out of memory
  void Write() const { std::memcpy(out_, values_, count_ * sizeof *out_); }

 private:
  size_t count_;
  double* out_;
  double few_[64];
  double* values_ = few_;
};

}  // namespace dpm::addon
