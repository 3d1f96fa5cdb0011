// Waiting for a stream beside JavaScript.
//
// A stream has one thread that waits for what was queued on it, in that order, made when something is first waited for:
// none of Node's few threads is blocked by a card, and no stream waits for another one's work.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "call.h"
#include "thread.h"

namespace dpm::addon {

// A copy between host and card, or just a place in the stream, whose promise is kept when the stream has come there.
struct Transfer {
  const cuda::Api* api = nullptr;
  napi_deferred deferred = nullptr;
  napi_ref array = nullptr;  // kept while the card reads or writes it
  void *stream = nullptr, *stage = nullptr, *event = nullptr;
  void* to = nullptr;                     // where what lies in `stage` goes: a download's array
  bool queued = false, recorded = false;  // the copy, and the event behind it
  uint64_t bytes = 0;
  int code = 0;
  std::string what;
};

class Waiter {
 public:
  // The waiter of a stream. Null where the system has no thread for it.
  static Waiter* Of(napi_env env, Taken& taken, void* stream);
  // The stream goes: its waiter ends, which takes as long as what it still waits for.
  static void Forget(Taken& taken, void* stream);
  ~Waiter();
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // Keeps the promise of `transfer`, or breaks it, when the card is done. Takes it over.
  void Add(Transfer* transfer);

 private:
  explicit Waiter(napi_env env) : env_(env) {}
  bool Start();
  void Stop();
  static void StopAtEnd(void* waiter);
  void Run();
  static void Tell(napi_env env, napi_value, void* waiter, void* transfer);

  napi_env env_;
  napi_threadsafe_function tell_ = nullptr;
  Thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Transfer*> waiting_;
  bool ends_ = false;
  size_t pending_ = 0;  // not told yet; of JavaScript's thread
};

// Gives back what a transfer has taken; `env` is null where its environment has gone.
void EndTransfer(napi_env env, Transfer* transfer);

}  // namespace dpm::addon
