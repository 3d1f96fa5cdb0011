#include "pool.h"

#include <cstdint>

#if defined(_WIN32)
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace dpm::ort {
namespace {

// What malloc keeps well enough by itself.
constexpr size_t kSmall = size_t{1} << 20;
// A block is given to who needs at least this part of it. With all of them for everybody, feed-forward layers sit in
// the places of matrices; with less sharing, tensors of every size have blocks of their own.
constexpr size_t kPart = 4;
constexpr size_t kPage = size_t{1} << 16;

void* Map(size_t size) {
#if defined(_WIN32)
  return VirtualAlloc(nullptr, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
#else
  void* const block = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return block == MAP_FAILED ? nullptr : block;
#endif
}

void Unmap(void* block, size_t size) {
#if defined(_WIN32)
  (void)size;
  VirtualFree(block, 0, MEM_RELEASE);
#else
  munmap(block, size);
#endif
}

}  // namespace

Pool* Pool::Get(const OrtApi& api) {
  static Pool* const pool = [&]() -> Pool* {
    OrtMemoryInfo* info = nullptr;
    OrtAllocator* plain = nullptr;
    OrtStatus* status = api.GetAllocatorWithDefaultOptions(&plain);
    if (!status) status = api.CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &info);
    if (!status) return new Pool(info, plain);
    api.ReleaseStatus(status);
    return nullptr;
  }();
  return pool;
}

Pool::Pool(const OrtMemoryInfo* info, OrtAllocator* plain) : OrtAllocator(), info_(info), plain_(plain) {
  // What that version has, onnxruntime reads; of all after it nothing is there.
  version = 20;
  OrtAllocator::Alloc = [](OrtAllocator* self, size_t size) { return static_cast<Pool*>(self)->Take(size); };
  OrtAllocator::Free = [](OrtAllocator* self, void* block) { static_cast<Pool*>(self)->Give(block); };
  OrtAllocator::Info = [](const OrtAllocator* self) { return static_cast<const Pool*>(self)->info_; };
  // Weights stay where they are until their session ends, and are no use to runs.
  OrtAllocator::Reserve = [](OrtAllocator* self, size_t size) {
    OrtAllocator* const plain = static_cast<Pool*>(self)->plain_;
    return plain->Alloc(plain, size);
  };
}

std::atomic<size_t> Pool::failed_{0};

size_t Pool::Failed() { return failed_.exchange(0); }

void Pool::Keep(bool keep) {
  const std::lock_guard<std::mutex> lock(mutex_);
  keep_ = keep;
  if (!keep) TrimLocked();
}

void Pool::Trim() {
  const std::lock_guard<std::mutex> lock(mutex_);
  TrimLocked();
}

bool Pool::TrimLocked() {
  if (idle_.empty()) return false;
  for (const auto& [size, idle] : idle_) Unmap(idle.block, size);
  idle_.clear();
  return true;
}

void Pool::Begin(const void* session) {
  failed_ = 0;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (session != session_) ++turn_;
  session_ = session;
}

void Pool::TrimOthers(size_t size) {
  size_t freed = 0;
  for (auto idle = idle_.begin(); idle != idle_.end() && freed < size;) {
    if (idle->second.turn == turn_) {
      ++idle;
      continue;
    }
    Unmap(idle->second.block, idle->first);
    freed += idle->first;
    idle = idle_.erase(idle);
  }
}

void* Pool::Take(size_t size) {
  if (size >= kSmall && size <= SIZE_MAX - kPage) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const size_t whole = (size + kPage - 1) / kPage * kPage;
    const auto found = idle_.lower_bound(whole);
    if (found != idle_.end() && found->first / kPart <= whole) {
      void* const block = found->second.block;
      used_.emplace(block, found->first);
      idle_.erase(found);
      return block;
    }
    TrimOthers(whole);
    void* block = Map(whole);
    if (!block && TrimLocked()) block = Map(whole);
    if (block) {
      used_.emplace(block, whole);
      return block;
    }
    failed_ = size;
  }
  // Where this fails it throws, through here, what onnxruntime tells as its own failure.
  return plain_->Alloc(plain_, size);
}

void Pool::Give(void* block) {
  if (!block) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = used_.find(block);
    if (found != used_.end()) {
      if (keep_) {
        idle_.emplace(found->second, Idle{block, turn_});
      } else {
        Unmap(block, found->second);
      }
      used_.erase(found);
      return;
    }
  }
  plain_->Free(plain_, block);
}

}  // namespace dpm::ort
