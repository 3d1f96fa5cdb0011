// Included before every source on Linux (-include), so that an addon built on a recent distribution still loads on
// one with glibc 2.28 and GCC 8's libstdc++, the oldest that Node's own binaries support.
//
// glibc 2.34 moved threads and dlopen into libc and gave each function a new version there, and newer headers of
// libstdc++ reach for newer symbols in inline code. The old versions are all still there: ask for them by name.
// The double-precision exp, log and pow (version 2.29) are not listed on purpose: their bits change with the
// processor, so the addon has its own, and scripts/check-glibc.mjs reports any that creep in.
#pragma once

#if defined(__linux__)
#include <features.h>
#endif

#if defined(__GLIBC__) && (defined(__x86_64__) || defined(__aarch64__))

#if defined(__x86_64__)
#define DPM_GLIBC_BASE "GLIBC_2.2.5"
#define DPM_GLIBC_AFFINITY "GLIBC_2.3.4"
#define DPM_GLIBC_SETNAME "GLIBC_2.12"
#else
#define DPM_GLIBC_BASE "GLIBC_2.17"
#define DPM_GLIBC_AFFINITY "GLIBC_2.17"
#define DPM_GLIBC_SETNAME "GLIBC_2.17"
#endif
#define DPM_SYMBOL_VERSION(symbol, version) __asm__(".symver " symbol "," symbol "@" version)

DPM_SYMBOL_VERSION("pthread_create", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("pthread_join", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("pthread_attr_setstacksize", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("pthread_detach", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("pthread_once", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("pthread_key_create", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("pthread_key_delete", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("pthread_getspecific", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("pthread_setspecific", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("pthread_mutex_trylock", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("pthread_sigmask", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("pthread_setname_np", DPM_GLIBC_SETNAME);
DPM_SYMBOL_VERSION("pthread_getaffinity_np", DPM_GLIBC_AFFINITY);
DPM_SYMBOL_VERSION("pthread_setaffinity_np", DPM_GLIBC_AFFINITY);
DPM_SYMBOL_VERSION("dlopen", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("dlsym", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("dlclose", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("dlerror", DPM_GLIBC_BASE);
DPM_SYMBOL_VERSION("dladdr", DPM_GLIBC_BASE);

#if defined(__cplusplus) && __has_include(<bits/c++config.h>)
// std::condition_variable::wait
DPM_SYMBOL_VERSION("_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE", "GLIBCXX_3.4.11");

// Timed waits on the steady clock call pthread_cond_clockwait (glibc 2.30) unless told that there is none.
#include <bits/c++config.h>
#undef _GLIBCXX_USE_PTHREAD_COND_CLOCKWAIT
#undef _GLIBCXX_USE_PTHREAD_MUTEX_CLOCKLOCK
#undef _GLIBCXX_USE_PTHREAD_RWLOCK_CLOCKLOCK

// std::shared_ptr asks glibc 2.32 whether it may count without atomics; in a process that runs Node it may not.
extern "C" {
__attribute__((weak, visibility("hidden"))) char __libc_single_threaded = 0;

// std::__throw_bad_array_new_length() of GCC 11: what containers call for impossible sizes. Without exceptions the
// library's own would end the process as well.
[[noreturn]] __attribute__((weak, visibility("hidden"))) void _ZSt28__throw_bad_array_new_lengthv() {
  __builtin_abort();
}
}
#endif

#undef DPM_SYMBOL_VERSION

#endif
