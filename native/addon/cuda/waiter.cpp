#include "waiter.h"

#include <cstring>
#include <new>

#include "copy_bytes.h"

namespace dpm::addon {
namespace {

constexpr const char* kLost =
    "Expected the array of copyTo to keep its memory until the promise is kept but it shrank or was detached";

}  // namespace

void EndTransfer(napi_env env, Transfer* t) {
  bool lost = false;
  // The array may have shrunk or been detached meanwhile: ask it again where it is and how long.
  if (env && t->array) {
    napi_value array = nullptr;
    napi_get_reference_value(env, t->array, &array);
    napi_typedarray_type kind;
    size_t length = 0;
    void* memory = nullptr;
    if (t->to && !t->code) {
      lost = napi_get_typedarray_info(env, array, &kind, &length, &memory, nullptr, nullptr) != napi_ok ||
             memory != t->to || length * ElementBytes(kind) < t->bytes;
      if (!lost) CopyBytes(memory, t->stage, t->bytes);
    }
    napi_delete_reference(env, t->array);
  }
  if (t->stage) t->api->stage_return(t->stage);
  if (t->event) t->api->event_destroy(t->event);
  if (env && t->deferred) {
    if (t->code) {
      napi_reject_deferred(env, t->deferred, CudaError(env, t->what, t->code));
    } else if (lost) {
      napi_value text = nullptr, error = nullptr;
      napi_create_string_utf8(env, kLost, NAPI_AUTO_LENGTH, &text);
      napi_create_error(env, nullptr, text, &error);
      napi_reject_deferred(env, t->deferred, error);
    } else {
      napi_value nothing = nullptr;
      napi_get_undefined(env, &nothing);
      napi_resolve_deferred(env, t->deferred, nothing);
    }
  }
  delete t;
}

Waiter* Waiter::Of(napi_env env, Taken& taken, void* stream) {
  Waiter*& waiter = taken.waiters[stream];
  if (waiter) return waiter;
  Waiter* const made = new (std::nothrow) Waiter(env);
  if (made && made->Start()) {
    waiter = made;
    return made;
  }
  delete made;
  taken.waiters.erase(stream);
  return nullptr;
}

void Waiter::Forget(Taken& taken, void* stream) {
  const auto found = taken.waiters.find(stream);
  if (found == taken.waiters.end()) return;
  Waiter* const waiter = found->second;
  taken.waiters.erase(found);
  waiter->Stop();
  // Somebody who did not wait may still be told.
  if (waiter->pending_ == 0) {
    delete waiter;
  } else {
    taken.waiters[waiter] = waiter;
  }
}

bool Waiter::Start() {
  napi_value name = nullptr;
  napi_create_string_utf8(env_, "dpm-solver cuda", NAPI_AUTO_LENGTH, &name);
  if (napi_create_threadsafe_function(env_, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, Tell, &tell_) !=
      napi_ok) {
    return false;
  }
  // Node need not stay for a stream that has nothing to do.
  napi_unref_threadsafe_function(env_, tell_);
  if (thread_.Start([](void* self) { static_cast<Waiter*>(self)->Run(); }, this)) {
    // Where the environment ends the thread has to end before what it tells it by: hooks run in the order opposite to
    // that in which they were added, and that function has one.
    napi_add_env_cleanup_hook(env_, StopAtEnd, this);
    return true;
  }
  napi_release_threadsafe_function(tell_, napi_tsfn_release);
  return false;
}

void Waiter::StopAtEnd(void* waiter) { static_cast<Waiter*>(waiter)->Stop(); }

void Waiter::Stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  thread_.Join();
}

Waiter::~Waiter() {
  Stop();
  napi_remove_env_cleanup_hook(env_, StopAtEnd, this);
}

void Waiter::Add(Transfer* transfer) {
  if (pending_++ == 0) napi_ref_threadsafe_function(env_, tell_);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_.push_back(transfer);
  }
  changed_.notify_one();
}

void Waiter::Run() {
  for (;;) {
    Transfer* t = nullptr;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [this] { return ends_ || !waiting_.empty(); });
      if (waiting_.empty()) break;
      t = waiting_.front();
      waiting_.pop_front();
    }
    if (t->recorded) {
      t->code = t->api->event_wait(t->event);
    } else if (t->queued) {
      // Nothing marks its end, and its memory must not go to another copy before.
      t->api->stream_wait(t->stream);
    }
    if (napi_call_threadsafe_function(tell_, t, napi_tsfn_blocking) != napi_ok) EndTransfer(nullptr, t);
  }
  napi_release_threadsafe_function(tell_, napi_tsfn_release);
}

// Without an environment the waiter may be gone.
void Waiter::Tell(napi_env env, napi_value, void* context, void* data) {
  if (env) {
    Waiter* const waiter = static_cast<Waiter*>(context);
    if (--waiter->pending_ == 0 && !waiter->ends_) napi_unref_threadsafe_function(env, waiter->tell_);
  }
  EndTransfer(env, static_cast<Transfer*>(data));
}

}  // namespace dpm::addon
