// What a run reads and writes, tied to a session: once for as long as the same memory comes again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "session.h"

namespace dpm::ort {

class Network;

// A tensor that a run has left where the network runs. It is released on the thread of the network that made it and
// before that network's session: with its last session WebGPU goes, and every buffer of it.
class DeviceValue {
 public:
  DeviceValue(std::shared_ptr<Network> owner, OrtValue* value);
  ~DeviceValue();
  DeviceValue(const DeviceValue&) = delete;
  DeviceValue& operator=(const DeviceValue&) = delete;

  // Ties it to another session. What is bound keeps the tensor, whatever becomes of this.
  std::string Bind(const Session& session, OrtIoBinding* binding, const char* name, bool feed) const;

 private:
  friend class Network;
  std::shared_ptr<Network> owner_;
  OrtValue* value_;  // null once the owner has ended; under the owner's mutex
};

// A tensor in the host's memory that a run has made.
class HostValue {
 public:
  HostValue() = default;
  HostValue(std::shared_ptr<Library> library, OrtValue* value) : library_(std::move(library)), value_(value) {}
  HostValue(HostValue&& other) noexcept : library_(std::move(other.library_)), value_(other.value_) {
    other.value_ = nullptr;
  }
  HostValue& operator=(HostValue&& other) noexcept {
    std::swap(library_, other.library_);
    std::swap(value_, other.value_);
    return *this;
  }
  ~HostValue() {
    if (value_) library_->api().ReleaseValue(value_);
  }
  // Null where there is none.
  const void* data() const;

 private:
  std::shared_ptr<Library> library_;
  OrtValue* value_ = nullptr;
};

// One input or output of a run.
struct Operand {
  enum class Place : int {
    host,         // memory of the caller's
    cuda,         // memory of the caller's on the session's card
    value,        // what an earlier run has left on the device
    make_host,    // an output for which the run makes memory
    make_device,  // the same on the device
  };
  Place place = Place::host;
  size_t index = 0;  // of the input or output
  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  std::vector<int64_t> dims;
  void* data = nullptr;
  size_t bytes = 0;
  std::shared_ptr<DeviceValue> value;
};

// One OrtIoBinding with the values in it.
class Binding {
 public:
  static std::unique_ptr<Binding> Make(const Session& session, const std::vector<Operand>& feeds,
                                       const std::vector<Operand>& fetches, std::string* problem);
  ~Binding();
  Binding(const Binding&) = delete;
  Binding& operator=(const Binding&) = delete;
  OrtIoBinding* get() const { return binding_; }

 private:
  explicit Binding(const Session& session) : session_(session) {}
  std::string Bind(const std::vector<Operand>& feeds, const std::vector<Operand>& fetches);
  std::string BindOne(const Operand& operand, bool feed);

  const Session& session_;
  OrtIoBinding* binding_ = nullptr;
  std::vector<OrtValue*> values_;
};

// The bindings of the last few runs, found again by the addresses and dims in them. An address alone keeps nothing
// alive: one that comes again is valid memory again, whosever it is by now.
class Bindings {
 public:
  explicit Bindings(const Session& session) : session_(session) {}
  // The binding to run with, or null with *problem. It is good until Done.
  Binding* Find(const std::vector<Operand>& feeds, const std::vector<Operand>& fetches, std::string* problem);
  // After a run: what serves once lets go of its values.
  void Done() { once_.reset(); }
  // After a run that did not end well: whatever it left behind is not used again.
  void Forget();

 private:
  struct Kept {
    std::vector<uint64_t> key;
    std::unique_ptr<Binding> binding;
    uint64_t used = 0;
  };
  // Two latents to read from and two to write to make four.
  static constexpr size_t kMost = 8;

  const Session& session_;
  std::vector<Kept> kept_;
  std::unique_ptr<Binding> once_;
  uint64_t turn_ = 0;
};

}  // namespace dpm::ort
