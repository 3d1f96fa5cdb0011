#include "bridge.h"

#include <algorithm>

namespace dpm::addon {

std::shared_ptr<Bridge> Bridge::Make(napi_env env, const LibraryHandle& library) {
  const std::shared_ptr<Bridge> bridge(new Bridge);
  // The function keeps the bridge for as long as something may arrive.
  auto* const kept = new std::shared_ptr<Bridge>(bridge);
  napi_value name = nullptr;
  napi_create_string_utf8(env, "dpm-solver network", NAPI_AUTO_LENGTH, &name);
  const auto release = [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<Bridge>*>(data); };
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, kept, release, bridge.get(), Arrive,
                                      &bridge->deliver_) != napi_ok) {
    delete kept;
    ThrowType(env, "The network's thread could not be given a way back");
    return nullptr;
  }
  // A network that waits keeps no process alive.
  napi_unref_threadsafe_function(env, bridge->deliver_);
  bridge->network_ = ort::Network::Start(Deliver, bridge.get());
  if (!bridge->network_) {
    napi_release_threadsafe_function(bridge->deliver_, napi_tsfn_abort);
    napi_throw_error(env, nullptr, "Out of threads: the network could not be given one");
    return nullptr;
  }
  // After the function's own, so that this one is called first: nothing is in its way when it goes.
  napi_add_env_cleanup_hook(env, Hook, bridge.get());
  bridge->open_ = library.open;
  bridge->open_->push_back(bridge.get());
  return bridge;
}

Bridge::~Bridge() {
  if (open_) open_->erase(std::remove(open_->begin(), open_->end(), this), open_->end());
}

napi_value Bridge::Post(napi_env env, std::unique_ptr<ort::Task> task, napi_value keep, uint32_t id, Result result) {
  Pending pending;
  napi_value promise = nullptr;
  if (napi_create_reference(env, keep, 1, &pending.keep) != napi_ok ||
      napi_create_promise(env, &pending.deferred, &promise) != napi_ok) {
    return nullptr;
  }
  pending.id = id;
  pending.result = result;
  ort::Task* const raw = task.get();
  pending.task = std::move(task);
  if (pending_.empty()) napi_ref_threadsafe_function(env, deliver_);
  pending_.emplace(raw, std::move(pending));
  network_->Post(raw);
  return promise;
}

void Bridge::Cancel(napi_env env, uint32_t id) {
  for (auto& entry : pending_) {
    if (entry.second.id != id) continue;
    if (!network_->Cancel(entry.first)) return;
    entry.first->cancelled = true;
    Settle(env, entry.first);
    return;
  }
}

napi_value Bridge::Close(napi_env env, napi_value keep) {
  closed_ = true;
  const napi_value promise =
      Post(env, std::make_unique<ort::CloseTask>(), keep, 0, [](napi_env env, Bridge&, ort::Task&) {
        napi_value undefined = nullptr;
        napi_get_undefined(env, &undefined);
        return undefined;
      });
  network_->End();
  return promise;
}

void Bridge::Abandon() {
  if (closed_) return;
  closed_ = true;
  if (!stopped_) network_->End();
}

void Bridge::Stop() {
  closed_ = true;
  if (stopped_) return;
  stopped_ = true;
  network_->Stop();
}

void Bridge::Deliver(void* bridge, ort::Task* task) {
  // Refused when JavaScript's thread is ending: the bridge owns the task and goes with it.
  napi_call_threadsafe_function(static_cast<Bridge*>(bridge)->deliver_, task, napi_tsfn_nonblocking);
}

void Bridge::Arrive(napi_env env, napi_value, void* bridge, void* task) {
  if (!env) return;  // the function is being taken down, and all that waits in it with it
  Bridge* const self = static_cast<Bridge*>(bridge);
  if (task) {
    self->Settle(env, static_cast<ort::Task*>(task));
  } else {
    self->Ended(env);
  }
}

void Bridge::Hook(void* bridge) { static_cast<Bridge*>(bridge)->Stop(); }

void Bridge::Settle(napi_env env, ort::Task* task) {
  const auto at = pending_.find(task);
  if (at == pending_.end()) return;
  const Pending pending = std::move(at->second);
  pending_.erase(at);
  if (pending_.empty()) napi_unref_threadsafe_function(env, deliver_);
  napi_delete_reference(env, pending.keep);
  napi_value value = nullptr;
  if (task->problem.empty() && !task->cancelled) {
    value = pending.result(env, *this, *task);
    if (value) {
      napi_resolve_deferred(env, pending.deferred, value);
      return;
    }
    napi_get_and_clear_last_exception(env, &value);
  } else {
    napi_value message = nullptr, cancelled = nullptr;
    const std::string text = task->problem.empty() ? "cancelled" : task->problem;
    napi_create_string_utf8(env, text.data(), text.size(), &message);
    napi_create_error(env, nullptr, message, &value);
    napi_get_boolean(env, task->cancelled, &cancelled);
    napi_set_named_property(env, value, "cancelled", cancelled);
  }
  napi_reject_deferred(env, pending.deferred, value);
}

void Bridge::Ended(napi_env env) {
  if (stopped_) return;
  stopped_ = true;
  network_->Join();
  napi_remove_env_cleanup_hook(env, Hook, this);
  napi_release_threadsafe_function(deliver_, napi_tsfn_release);
}

}  // namespace dpm::addon
