#include "binding.h"

#include <algorithm>

#include "network.h"

namespace dpm::ort {

DeviceValue::DeviceValue(std::shared_ptr<Network> owner, OrtValue* value) : owner_(std::move(owner)), value_(value) {
  owner_->Add(this);
}

DeviceValue::~DeviceValue() { owner_->Drop(this); }

std::string DeviceValue::Bind(const Session& session, OrtIoBinding* binding, const char* name, bool feed) const {
  const std::lock_guard<std::mutex> lock(owner_->mutex());
  if (!value_) return "the network that made a value has ended";
  const Library& library = session.library();
  const OrtApi& api = library.api();
  return library.Problem(feed ? api.BindInput(binding, name, value_) : api.BindOutput(binding, name, value_));
}

const void* HostValue::data() const {
  void* data = nullptr;
  if (value_) library_->api().ReleaseStatus(library_->api().GetTensorMutableData(value_, &data));
  return data;
}

std::unique_ptr<Binding> Binding::Make(const Session& session, const std::vector<Operand>& feeds,
                                       const std::vector<Operand>& fetches, std::string* problem) {
  std::unique_ptr<Binding> binding(new Binding(session));
  *problem = binding->Bind(feeds, fetches);
  return problem->empty() ? std::move(binding) : nullptr;
}

Binding::~Binding() {
  const OrtApi& api = session_.library().api();
  if (binding_) api.ReleaseIoBinding(binding_);
  for (OrtValue* value : values_) api.ReleaseValue(value);
}

std::string Binding::Bind(const std::vector<Operand>& feeds, const std::vector<Operand>& fetches) {
  const Library& library = session_.library();
  std::string problem = library.Problem(library.api().CreateIoBinding(session_.get(), &binding_));
  for (size_t i = 0; problem.empty() && i < feeds.size(); ++i) problem = BindOne(feeds[i], true);
  for (size_t i = 0; problem.empty() && i < fetches.size(); ++i) problem = BindOne(fetches[i], false);
  return problem;
}

std::string Binding::BindOne(const Operand& operand, bool feed) {
  const Library& library = session_.library();
  const OrtApi& api = library.api();
  const char* const name = (feed ? session_.inputs() : session_.outputs())[operand.index].name.c_str();
  if (operand.place == Operand::Place::make_host || operand.place == Operand::Place::make_device) {
    const bool host = operand.place == Operand::Place::make_host;
    return library.Problem(api.BindOutputToDevice(binding_, name, host ? library.cpu() : session_.memory()));
  }
  if (operand.place == Operand::Place::value) return operand.value->Bind(session_, binding_, name, feed);
  OrtValue* value = nullptr;
  const OrtMemoryInfo* const memory = operand.place == Operand::Place::cuda ? session_.memory() : library.cpu();
  const std::string problem = library.Problem(api.CreateTensorWithDataAsOrtValue(
      memory, operand.data, operand.bytes, operand.dims.data(), operand.dims.size(), operand.type, &value));
  if (!problem.empty()) return problem;
  values_.push_back(value);
  return library.Problem(feed ? api.BindInput(binding_, name, value) : api.BindOutput(binding_, name, value));
}

Binding* Bindings::Find(const std::vector<Operand>& feeds, const std::vector<Operand>& fetches, std::string* problem) {
  bool keep = true;
  std::vector<uint64_t> key;
  for (const std::vector<Operand>* list : {&feeds, &fetches}) {
    key.push_back(list->size());
    for (const Operand& operand : *list) {
      // Where the session is on a device, binding is what copies an input there: that has to be done for every run.
      // A value on a device may go before its address comes again, and an output that a run makes is new every time.
      keep &= operand.place == Operand::Place::cuda ||
              (operand.place == Operand::Place::host && session_.device() == Device::cpu);
      key.push_back(operand.index);
      key.push_back(static_cast<uint64_t>(operand.type));
      key.push_back(static_cast<uint64_t>(reinterpret_cast<uintptr_t>(operand.data)));
      key.push_back(operand.dims.size());
      for (const int64_t dim : operand.dims) key.push_back(static_cast<uint64_t>(dim));
    }
  }
  if (!keep) {
    once_ = Binding::Make(session_, feeds, fetches, problem);
    return once_.get();
  }
  ++turn_;
  for (Kept& kept : kept_) {
    if (kept.key != key) continue;
    kept.used = turn_;
    return kept.binding.get();
  }
  std::unique_ptr<Binding> binding = Binding::Make(session_, feeds, fetches, problem);
  if (!binding) return nullptr;
  if (kept_.size() == kMost) {
    kept_.erase(
        std::min_element(kept_.begin(), kept_.end(), [](const Kept& a, const Kept& b) { return a.used < b.used; }));
  }
  kept_.push_back({std::move(key), std::move(binding), turn_});
  return kept_.back().binding.get();
}

void Bindings::Forget() {
  kept_.clear();
  once_.reset();
}

}  // namespace dpm::ort
