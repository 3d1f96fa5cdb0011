// A thread that may be refused: std::thread would end the process where there is none to be had.
#pragma once

#if defined(_WIN32)
#include <windows.h>
#else
#include <pthread.h>
#include <signal.h>
#endif

namespace dpm::addon {

class Thread {
 public:
  using Body = void (*)(void* context);
  Thread() = default;
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  bool Start(Body body, void* context) {
    body_ = body, context_ = context;
#if defined(_WIN32)
    handle_ = CreateThread(nullptr, 0, Entry, this, 0, nullptr);
    started_ = handle_ != nullptr;
#else
    // Signals are for the program's own threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    started_ = pthread_create(&handle_, nullptr, Entry, this) == 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
#endif
    return started_;
  }
  // Until the body has returned.
  void Join() {
    if (!started_) return;
    started_ = false;
#if defined(_WIN32)
    WaitForSingleObject(handle_, INFINITE);
    CloseHandle(handle_);
#else
    pthread_join(handle_, nullptr);
#endif
  }

 private:
#if defined(_WIN32)
  static DWORD WINAPI Entry(void* self) {
    static_cast<Thread*>(self)->body_(static_cast<Thread*>(self)->context_);
    return 0;
  }
  HANDLE handle_ = nullptr;
#else
  static void* Entry(void* self) {
    static_cast<Thread*>(self)->body_(static_cast<Thread*>(self)->context_);
    return nullptr;
  }
  pthread_t handle_ = {};
#endif
  Body body_ = nullptr;
  void* context_ = nullptr;
  bool started_ = false;
};

}  // namespace dpm::addon
