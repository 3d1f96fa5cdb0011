// Threads and waiting as the addon needs them: without exceptions, and without symbols that are newer than the oldest
// libstdc++ that it runs with.
#pragma once

#include <cstddef>
#include <mutex>

#if defined(_WIN32)
#include <windows.h>

#include <condition_variable>
#else
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#endif

namespace dpm {

#if defined(_WIN32)
using Condition = std::condition_variable;
#else
// std::condition_variable needs a newer libstdc++ than the rest of the addon.
class Condition {
 public:
  Condition() = default;
  ~Condition() { pthread_cond_destroy(&condition_); }
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;
  void wait(std::unique_lock<std::mutex>& lock) { pthread_cond_wait(&condition_, lock.mutex()->native_handle()); }
  void notify_one() { pthread_cond_signal(&condition_); }
  void notify_all() { pthread_cond_broadcast(&condition_); }

 private:
  pthread_cond_t condition_ = PTHREAD_COND_INITIALIZER;
};
#endif

#if defined(_WIN32)
using ThreadHandle = HANDLE;
template <void (*kBody)(void*)>
DWORD WINAPI ThreadEntry(void* argument) {
  kBody(argument);
  return 0;
}
#else
using ThreadHandle = pthread_t;
template <void (*kBody)(void*)>
void* ThreadEntry(void* argument) {
  kBody(argument);
  return nullptr;
}
#endif

// Calls kBody(argument) on a new thread, with `stack` bytes of stack (0: as many as the system gives); false where the
// system refuses one. With a handle it has to be joined, without one it goes on by itself.
template <void (*kBody)(void*)>
bool StartThread(void* argument, size_t stack = 0, ThreadHandle* handle = nullptr) {
#if defined(_WIN32)
  const DWORD flags = stack > 0 ? STACK_SIZE_PARAM_IS_A_RESERVATION : 0;
  const HANDLE thread = CreateThread(nullptr, stack, ThreadEntry<kBody>, argument, flags, nullptr);
  if (!thread) return false;
  handle ? static_cast<void>(*handle = thread) : static_cast<void>(CloseHandle(thread));
  return true;
#else
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  if (!handle) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  if (stack > 0) pthread_attr_setstacksize(&attributes, stack);
  // Signals are for the program's own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const bool made = pthread_create(&thread, &attributes, ThreadEntry<kBody>, argument) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (made && handle) *handle = thread;
  return made;
#endif
}

inline void JoinThread(ThreadHandle handle) {
#if defined(_WIN32)
  WaitForSingleObject(handle, INFINITE);
  CloseHandle(handle);
#else
  pthread_join(handle, nullptr);
#endif
}

// Keeps the addon loaded: Node unloads it with the last worker thread that had loaded it, and the code that a thread of
// ours runs or sleeps in has to stay.
inline void StayLoaded() {
  static const char self = 0;
#if defined(_WIN32)
  HMODULE module;
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                     reinterpret_cast<LPCWSTR>(&self), &module);
#else
  Dl_info info;
  if (dladdr(&self, &info) && info.dli_fname) dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
#endif
}

}  // namespace dpm
