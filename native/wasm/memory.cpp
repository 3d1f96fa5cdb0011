// Memory without the C library's allocator, which would be a tenth of the module: blocks come from
// lib/addon/wasm/memory.ts. Copies are single instructions.
#include <stddef.h>

#include <new>

#define DPM_IMPORT(name) __attribute__((import_module("dpm"), import_name(name)))

extern "C" {

DPM_IMPORT("allocate") void* dpm_allocate(size_t bytes);
DPM_IMPORT("release") void dpm_release(void* block);

void* malloc(size_t bytes) { return dpm_allocate(bytes); }
void free(void* block) { dpm_release(block); }
void* calloc(size_t count, size_t size) {
  if (size != 0 && count > static_cast<size_t>(-1) / size) return nullptr;
  void* const block = dpm_allocate(count * size);
  if (block) __builtin_memset(block, 0, count * size);
  return block;
}

void* memcpy(void* to, const void* from, size_t bytes) { return __builtin_memcpy(to, from, bytes); }
void* memmove(void* to, const void* from, size_t bytes) { return __builtin_memmove(to, from, bytes); }
void* memset(void* to, int value, size_t bytes) { return __builtin_memset(to, value, bytes); }

}  // extern "C"

// The library's would bring its aligned forms, and with them its allocator. Without exceptions both end the module.
void* operator new(size_t bytes) {
  void* const block = dpm_allocate(bytes);
  if (!block) __builtin_trap();
  return block;
}
void* operator new[](size_t bytes) { return operator new(bytes); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return dpm_allocate(bytes); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return dpm_allocate(bytes); }
void operator delete(void* block) noexcept { dpm_release(block); }
void operator delete(void* block, size_t) noexcept { dpm_release(block); }
void operator delete[](void* block) noexcept { dpm_release(block); }
void operator delete[](void* block, size_t) noexcept { dpm_release(block); }
