#include "network.h"

#include <algorithm>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "gpu.h"
#include "pool.h"

namespace dpm::ort {
namespace {

// As much as the main thread has: kernels were written for that one.
constexpr size_t kStack = 8 << 20;

// Loading and freeing a graph of gigabytes leaves tens of megabytes in small pieces, which glibc keeps unless it is
// asked for them.
void TrimHeap() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace

void OpenTask::Work(Network& network) {
  const GpuLock lock(settings.device);
  network.device_ = settings.device;
  network.library_ = library;
  network.session_ = Session::Open(library, settings, &network.loading_, &problem);
  if (!network.session_) return;
  network.bindings_.reset(new Bindings(*network.session_));
  inputs = network.session_->inputs();
  outputs = network.session_->outputs();
  TrimHeap();
}

void RunTask::Work(Network& network) {
  if (!network.session_) {
    problem = "the session has been released";
    return;
  }
  const Session& session = *network.session_;
  const Library& library = session.library();
  const OrtApi& api = library.api();
  const GpuLock lock(session.device());
  OrtRunOptions* options = nullptr;
  problem = library.Problem(api.CreateRunOptions(&options));
  if (!problem.empty()) return;
  bool on_device = session.device() == Device::cuda && session.has_stream();
  for (const Operand& fetch : fetches) {
    on_device &= fetch.place != Operand::Place::host && fetch.place != Operand::Place::make_host;
  }
  // What follows on the caller's stream needs no wait of the host.
  if (on_device) {
    problem = library.Problem(api.AddRunConfigEntry(options, "disable_synchronize_execution_providers", "1"));
  }
  Binding* const binding = problem.empty() ? network.bindings_->Find(feeds, fetches, &problem) : nullptr;
  if (binding) {
    {
      const std::lock_guard<std::mutex> guard(network.mutex_);
      network.running_ = options;
      if (cancelled) api.ReleaseStatus(api.RunOptionsSetTerminate(options));
    }
    if (Pool* const pool = Pool::Get(api)) pool->Begin(session.get());
    problem = library.Problem(api.RunWithBinding(session.get(), options, binding->get()));
    const size_t asked = problem.empty() ? 0 : Pool::Failed();
    if (asked > 0) problem = "Failed to allocate memory for requested buffer of size " + std::to_string(asked);
    const std::lock_guard<std::mutex> guard(network.mutex_);
    network.running_ = nullptr;
  }
  api.ReleaseRunOptions(options);
  if (problem.empty()) problem = Take(network, *binding);
  network.bindings_->Done();
  if (!problem.empty()) {
    made.clear();
    network.bindings_->Forget();
  }
}

std::string RunTask::Take(Network& network, const Binding& binding) {
  const Session& session = *network.session_;
  const Library& library = session.library();
  const OrtApi& api = library.api();
  const auto makes = [](const Operand& fetch) {
    return fetch.place == Operand::Place::make_host || fetch.place == Operand::Place::make_device;
  };
  if (std::none_of(fetches.begin(), fetches.end(), makes)) return std::string();
  OrtAllocator* allocator = nullptr;
  std::string failed = library.Problem(api.GetAllocatorWithDefaultOptions(&allocator));
  OrtValue** values = nullptr;
  size_t count = 0;
  if (failed.empty()) failed = library.Problem(api.GetBoundOutputValues(binding.get(), allocator, &values, &count));
  if (!failed.empty()) return failed;
  for (size_t i = 0; i < count; ++i) {
    if (!failed.empty() || i >= fetches.size() || !makes(fetches[i])) {
      api.ReleaseValue(values[i]);
      continue;
    }
    made.emplace_back();
    Made& one = made.back();
    one.index = fetches[i].index;
    if (fetches[i].place == Operand::Place::make_host) {
      one.host = HostValue(session.shared_library(), values[i]);
    } else {
      one.device.reset(new DeviceValue(network.shared_from_this(), values[i]));
    }
    OrtTensorTypeAndShapeInfo* info = nullptr;
    size_t rank = 0;
    failed = library.Problem(api.GetTensorTypeAndShape(values[i], &info));
    if (failed.empty()) failed = library.Problem(api.GetTensorElementType(info, &one.type));
    if (failed.empty()) failed = library.Problem(api.GetDimensionsCount(info, &rank));
    one.dims.resize(rank);
    if (failed.empty()) failed = library.Problem(api.GetDimensions(info, one.dims.data(), rank));
    if (info) api.ReleaseTensorTypeAndShapeInfo(info);
  }
  if (values) api.ReleaseStatus(api.AllocatorFree(allocator, values));
  return failed;
}

void CloseTask::Work(Network& network) {
  {
    const std::lock_guard<std::mutex> lock(network.mutex_);
    if (!network.values_.empty()) return;
  }
  network.Release();
  TrimHeap();
}

std::shared_ptr<Network> Network::Start(Deliver deliver, void* context) {
  std::shared_ptr<Network> network(new Network(deliver, context));
  StayLoaded();
  return StartThread<Entry>(network.get(), kStack, &network->thread_) ? network : nullptr;
}

void Network::Entry(void* network) { static_cast<Network*>(network)->Loop(); }

void Network::Post(Task* task) {
  const std::lock_guard<std::mutex> lock(mutex_);
  waiting_.push_back(task);
  wake_.notify_one();
}

bool Network::Cancel(Task* task) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto at = std::find(waiting_.begin(), waiting_.end(), task);
  if (at != waiting_.end()) {
    waiting_.erase(at);
    return true;
  }
  if (current_ == task) GiveUp();
  return false;
}

void Network::GiveUp() {
  current_->cancelled = true;
  loading_.Cancel();
  if (running_) library_->api().ReleaseStatus(library_->api().RunOptionsSetTerminate(running_));
}

void Network::End() {
  const std::lock_guard<std::mutex> lock(mutex_);
  ending_ = true;
  wake_.notify_one();
}

void Network::Stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = stopping_ = true;
    for (Task* task : waiting_) task->cancelled = true;
    if (current_) GiveUp();
    wake_.notify_one();
  }
  Join();
}

void Network::Join() { JoinThread(thread_); }

void Network::Add(DeviceValue* value) {
  const std::lock_guard<std::mutex> lock(mutex_);
  values_.push_back(value);
}

void Network::Drop(DeviceValue* value) {
  const std::lock_guard<std::mutex> lock(mutex_);
  values_.erase(std::find(values_.begin(), values_.end(), value));
  if (value->value_) dropped_.push_back(value->value_);
  wake_.notify_one();
}

void Network::Release() {
  if (!session_) return;
  const GpuLock lock(session_->device());
  bindings_.reset();
  session_.reset();
}

void Network::Loop() {
  for (bool over = false;;) {
    Task* task = nullptr;
    std::vector<OrtValue*> dropped;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      for (;;) {
        if (!waiting_.empty() || !dropped_.empty()) break;
        if (ending_ && (values_.empty() || stopping_)) {
          over = true;
          // Whoever still holds one holds nothing from now on.
          for (DeviceValue* value : values_) {
            dropped_.push_back(value->value_);
            value->value_ = nullptr;
          }
          break;
        }
        wake_.wait(lock);
      }
      dropped.swap(dropped_);
      if (!waiting_.empty()) {
        current_ = task = waiting_.front();
        waiting_.pop_front();
      }
    }
    if (!dropped.empty()) {
      const GpuLock lock(device_);
      for (OrtValue* value : dropped) library_->api().ReleaseValue(value);
    }
    if (over) break;
    if (!task) continue;
    if (!task->cancelled) task->Work(*this);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      current_ = nullptr;
    }
    deliver_(context_, task);
  }
  Release();
  deliver_(context_, nullptr);
}

}  // namespace dpm::ort
