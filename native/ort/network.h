// A session on a thread of its own: what is to be done waits in line, is done there one after the other, and is handed
// back there.
//
// One thread a network, not one for all: a run that takes seconds holds up nobody else's, and a network that is given
// up takes its own thread along. A thread that waits costs nothing. onnxruntime's own threads belong to the session in
// any case, and the thread that calls a run works among them, as JavaScript's does in `session.run`.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../system/threads.h"
#include "binding.h"
#include "session.h"

namespace dpm::ort {

class Network;

// Something to do on the network's thread.
class Task {
 public:
  virtual ~Task() = default;
  // On the network's thread. A task that has been cancelled is not worked on.
  virtual void Work(Network& network) = 0;

  std::string problem;                 // what went wrong; empty: nothing
  std::atomic<bool> cancelled{false};  // asked to end early
};

class OpenTask : public Task {
 public:
  void Work(Network& network) override;

  std::shared_ptr<Library> library;
  Settings settings;
  std::vector<Declared> inputs, outputs;  // what has been opened
};

class RunTask : public Task {
 public:
  void Work(Network& network) override;

  std::vector<Operand> feeds, fetches;
  // For each fetch that the run makes itself, in their order: on the host a value to be copied and released by whoever
  // takes it, on the device a value that stays there.
  struct Made {
    size_t index = 0;
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    std::vector<int64_t> dims;
    HostValue host;
    std::shared_ptr<DeviceValue> device;
  };
  std::vector<Made> made;

 private:
  std::string Take(Network& network, const Binding& binding);
};

// Frees the session, unless there are values on the device: then the last of them does. Later runs fail.
class CloseTask : public Task {
 public:
  void Work(Network& network) override;
};

class Network : public std::enable_shared_from_this<Network> {
 public:
  // Called on the network's thread with every task that has been done or cancelled, and at the end with null.
  using Deliver = void (*)(void* context, Task* task);

  static std::shared_ptr<Network> Start(Deliver deliver, void* context);

  void Post(Task* task);
  // True if the task was still waiting: it is the caller's again. Otherwise it has been told to end, and is delivered.
  bool Cancel(Task* task);
  // Lets the thread end after what waits and after the last value on the device, and the session with it.
  void End();
  // Gives up what is being done and what waits, and returns when the thread has ended. For the end of a process.
  void Stop();
  // After the thread has delivered null.
  void Join();

  // For values on the device, from any thread: the network knows all that live, and releases those that are dropped.
  void Add(DeviceValue* value);
  void Drop(DeviceValue* value);
  std::mutex& mutex() { return mutex_; }

 private:
  friend class OpenTask;
  friend class RunTask;
  friend class CloseTask;
  Network(Deliver deliver, void* context) : deliver_(deliver), context_(context) {}
  void Loop();
  void Release();
  void GiveUp();  // what is being done; under the mutex
  static void Entry(void* network);

  const Deliver deliver_;
  void* const context_;
  ThreadHandle thread_{};

  std::mutex mutex_;
  Condition wake_;
  std::deque<Task*> waiting_;
  std::vector<OrtValue*> dropped_;
  Task* current_ = nullptr;
  OrtRunOptions* running_ = nullptr;  // of the run that is under way
  std::vector<DeviceValue*> values_;
  bool ending_ = false, stopping_ = false;

  LoadCancellation loading_;
  // The thread's own.
  Device device_ = Device::cpu;
  std::shared_ptr<Library> library_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Bindings> bindings_;
};

}  // namespace dpm::ort
