// What Debian's libstdc++.a takes from glibc and musl does not have, for check.ts. Hidden: the program that links the
// library finds as little of it as on Alpine.
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#pragma GCC visibility push(hidden)

// Count with atomics: there may be threads.
char __libc_single_threaded = 0;

// Destructors of thread-local objects are left out, which the library needs for none of its own that outlive a thread.
int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *library) {
  (void)destroy, (void)object, (void)library;
  return 0;
}

size_t __strftime_l(char *text, size_t most, const char *format, const struct tm *time, locale_t locale) {
  return strftime_l(text, most, format, time, locale);
}

unsigned arc4random(void) {
  unsigned value = 0;
  return getrandom(&value, sizeof value, 0) == sizeof value ? value : 0;
}

// "Not found": the unwinder asks dl_iterate_phdr instead.
int _dl_find_object(void *address, void *result) {
  (void)address, (void)result;
  return -1;
}

#pragma GCC visibility pop
