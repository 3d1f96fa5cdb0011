// Memory of the cards, from a pool of the driver's for each of them: what has been freed is given out again without a
// call that would stop the card, and freeing waits for nothing.
#pragma once

#include <vector>

#include "cards.h"

namespace dpm::cuda {

// Of what is free the pool keeps as much; what goes beyond it is the card's again when the host next waits.
constexpr uint64_t kPoolKeeps = uint64_t{1} << 30;

// What a card's memory has to know of its streams. Memory that is freed may still be used by what is queued on any of
// them: the stream of the pool on which it is freed waits for them first. Memory is taken on a stream that never has
// anything to do, so that it is there when the call returns.
struct Memory {
  std::mutex mutex;
  bool made = false;
  cudaMemPool_t pool = nullptr;  // null where the driver has none: then memory is allocated and freed at once
  cudaStream_t taking = nullptr, freeing = nullptr;
  struct User {
    cudaStream_t stream;
    cudaEvent_t mark;
  };
  std::vector<User> users;
  // Freed while a stream was being captured: its past cannot be marked until that is over.
  std::vector<void*> waiting;
  int captures = 0;
};
inline Memory& MemoryOf(int device) {
  static Memory all[kMostDevices];
  return all[device];
}

inline int MakePool(int device, Memory& m) {
  if (m.made) return 0;
  int supported = 0;
  DPM_TRY(Attribute(device, cudaDevAttrMemoryPoolsSupported, &supported));
  if (supported) {
    cudaMemPoolProps properties = {};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = device;
    DPM_TRY(Result(cudaStreamCreateWithFlags(&m.taking, cudaStreamNonBlocking)));
    DPM_TRY(Result(cudaStreamCreateWithFlags(&m.freeing, cudaStreamNonBlocking)));
    DPM_TRY(Result(cudaMemPoolCreate(&m.pool, &properties)));
    uint64_t keeps = kPoolKeeps;
    DPM_TRY(Result(cudaMemPoolSetAttribute(m.pool, cudaMemPoolAttrReleaseThreshold, &keeps)));
    // Otherwise the stream on which memory is taken could be made to wait for the one on which it was freed.
    int dependencies = 0;
    DPM_TRY(Result(cudaMemPoolSetAttribute(m.pool, cudaMemPoolReuseAllowInternalDependencies, &dependencies)));
  }
  m.made = true;
  return 0;
}

// Is the stream part of a capture, ours or somebody else's?
inline bool IsCapturing(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  return Result(cudaStreamIsCapturing(stream, &status)) == 0 && status != cudaStreamCaptureStatusNone;
}

// The stream of the pool waits for all that this one has been given.
inline int Follow(Memory& m, const Memory::User& user) {
  const int idle = Result(cudaStreamQuery(user.stream));
  if (idle == 0) return 0;
  if (idle != cudaErrorNotReady) return idle;
  DPM_TRY(Result(cudaEventRecord(user.mark, user.stream)));
  return Result(cudaStreamWaitEvent(m.freeing, user.mark, 0));
}

inline int FreeNow(Memory& m, void* memory) {
  for (const Memory::User& user : m.users) DPM_TRY(Follow(m, user));
  return Result(m.pool ? cudaFreeAsync(memory, m.freeing) : cudaFree(memory));
}
inline bool Captures(const Memory& m) {
  if (m.captures > 0) return true;
  for (const Memory::User& user : m.users) {
    if (IsCapturing(user.stream)) return true;
  }
  return false;
}
inline void FreeWaiting(Memory& m) {
  if (m.waiting.empty() || Captures(m)) return;
  for (void* const memory : m.waiting) FreeNow(m, memory);
  m.waiting.clear();
}

// The scope of `device` has been entered for all of these.
inline int TakeMemory(int device, uint64_t bytes, void** out) {
  Memory& m = MemoryOf(device);
  const std::lock_guard<std::mutex> lock(m.mutex);
  DPM_TRY(MakePool(device, m));
  FreeWaiting(m);
  if (m.captures > 0) return cudaErrorStreamCaptureUnsupported;
  const size_t size = bytes ? bytes : 1;
  if (!m.pool) return Result(cudaMalloc(out, size));
  DPM_TRY(Result(cudaMallocFromPoolAsync(out, size, m.pool, m.taking)));
  return Result(cudaStreamSynchronize(m.taking));
}
inline int GiveMemory(int device, void* memory) {
  Memory& m = MemoryOf(device);
  const std::lock_guard<std::mutex> lock(m.mutex);
  FreeWaiting(m);
  if (!Captures(m)) return FreeNow(m, memory);
  m.waiting.push_back(memory);
  return 0;
}

// Bytes that could be had: what the card has free, and what the pool has and nobody uses.
inline int FreeBytes(int device, uint64_t* free_bytes, uint64_t* all_bytes) {
  size_t free_now = 0, all = 0;
  DPM_TRY(Result(cudaMemGetInfo(&free_now, &all)));
  *free_bytes = free_now, *all_bytes = all;
  Memory& m = MemoryOf(device);
  const std::lock_guard<std::mutex> lock(m.mutex);
  if (!m.pool) return 0;
  uint64_t reserved = 0, used = 0;
  DPM_TRY(Result(cudaMemPoolGetAttribute(m.pool, cudaMemPoolAttrReservedMemCurrent, &reserved)));
  DPM_TRY(Result(cudaMemPoolGetAttribute(m.pool, cudaMemPoolAttrUsedMemCurrent, &used)));
  *free_bytes += reserved - used;
  return 0;
}

// ---- the interface --------------------------------------------------------------------------------------------------

inline int Alloc(int device, uint64_t bytes, void** out) {
  *out = nullptr;
  const OnDevice scope(device);
  DPM_TRY(scope.error());
  return TakeMemory(device, bytes, out);
}
inline int Free(int device, void* memory) {
  const OnDevice scope(device);
  DPM_TRY(scope.error());
  return GiveMemory(device, memory);
}

inline int Device(int index, DeviceInfo* info) {
  std::memset(static_cast<void*>(info), 0, sizeof *info);
  int devices = 0, driver = 0;
  DPM_TRY(Count(&devices, &driver));
  if (index < 0 || index >= devices) return kErrorArgument;
  cudaDeviceProp properties;
  DPM_TRY(Result(cudaGetDeviceProperties(&properties, index)));
  static_assert(sizeof info->name == sizeof properties.name, "the name is copied whole");
  std::memcpy(info->name, properties.name, sizeof info->name);
  info->major = properties.major;
  info->minor = properties.minor;
  info->memory_bytes = properties.totalGlobalMem;
  int clusters = 0;
  DPM_TRY(Attribute(index, cudaDevAttrClusterLaunch, &clusters));
  info->clusters = clusters != 0;
  DPM_TRY(DescribeCard(index, &info->card));
  // Asking how much is free would make a context.
  info->used = HasContext(index);
  if (!info->used) return 0;
  const OnDevice scope(index);
  DPM_TRY(scope.error());
  return FreeBytes(index, &info->free_bytes, &info->memory_bytes);
}

}  // namespace dpm::cuda
