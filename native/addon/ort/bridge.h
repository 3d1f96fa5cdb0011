// Between a network on its thread and the JavaScript thread that opened it: promises for tasks, and every way of
// ending.
#pragma once

#include <map>
#include <memory>

#include "handles.h"

namespace dpm::addon {

class Bridge {
 public:
  // What a task that went well has to say; null where an exception is pending.
  using Result = napi_value (*)(napi_env env, Bridge& bridge, ort::Task& task);

  // A network whose thread runs and that has no session yet; null, with an error thrown, where there is no thread.
  static std::shared_ptr<Bridge> Make(napi_env env, const LibraryHandle& library);
  ~Bridge();
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;

  // A promise for the task, which is settled when the network has done it. Until then `keep` is kept alive: the objects
  // whose memory the task uses. `id` is what Cancel knows it by, 0 for none.
  napi_value Post(napi_env env, std::unique_ptr<ort::Task> task, napi_value keep, uint32_t id, Result result);
  // Ends a task early; whatever it was doing, its promise is then rejected. Unknown ids are of tasks that are done.
  void Cancel(napi_env env, uint32_t id);
  // A promise for the end of what was posted before and of the session.
  napi_value Close(napi_env env, napi_value keep);
  // Closes without anyone waiting: nobody holds the network any more.
  void Abandon();
  // Gives up all there is and waits for the thread, which takes milliseconds. For the end of a JavaScript thread.
  void Stop();

  bool closed() const { return closed_; }

 private:
  struct Pending {
    std::unique_ptr<ort::Task> task;
    napi_deferred deferred = nullptr;
    napi_ref keep = nullptr;
    uint32_t id = 0;
    Result result = nullptr;
  };

  Bridge() = default;
  static void Deliver(void* bridge, ort::Task* task);                      // on the network's thread
  static void Arrive(napi_env env, napi_value, void* bridge, void* task);  // on JavaScript's
  static void Hook(void* bridge);
  void Settle(napi_env env, ort::Task* task);
  void Ended(napi_env env);

  std::shared_ptr<ort::Network> network_;
  std::shared_ptr<std::vector<Bridge*>> open_;
  napi_threadsafe_function deliver_ = nullptr;
  std::map<ort::Task*, Pending> pending_;
  bool closed_ = false, stopped_ = false;
};

}  // namespace dpm::addon
