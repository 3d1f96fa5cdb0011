// What the cards are, found out without touching them; and what the kernels find on one, when it is first used.
#pragma once

#include <cstring>

#include "../kernels.h"
#include "context.h"

namespace dpm::cuda {

constexpr Kernel kKernels[] = {Kernel::step, Kernel::cluster, Kernel::team};
constexpr Kernel kWideKernels[] = {Kernel::wide, Kernel::wide_select};
constexpr NetType kTypes[] = {NetType::f32, NetType::f16, NetType::bf16};

inline int Attribute(int device, cudaDeviceAttr attribute, int* value) {
  return Result(cudaDeviceGetAttribute(value, attribute, device));
}
inline int Attribute(int device, cudaDeviceAttr attribute, uint32_t* value) {
  int found = 0;
  DPM_TRY(Attribute(device, attribute, &found));
  *value = static_cast<uint32_t>(found);
  return 0;
}

// How many clusters of this many blocks run at the same time, with so much shared memory each block?
inline uint32_t ActiveClusters(const void* kernel, uint32_t size, uint32_t threads, uint32_t shared) {
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {size, 1, 1};
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(size);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared;
  config.attrs = &attribute;
  config.numAttrs = 1;
  int clusters = 0;
  if (Result(cudaOccupancyMaxActiveClusters(&clusters, kernel, &config))) return 0;
  return static_cast<uint32_t>(clusters > 0 ? clusters : 0);
}

// Kernels compiled for cards without clusters have none, even where the driver has translated them for a card that
// does.
inline int CompiledFor(int* architecture) {
  cudaFuncAttributes attributes;
  DPM_TRY(Result(cudaFuncGetAttributes(&attributes, KernelFor(Kernel::cluster, NetType::f32, false))));
  *architecture = attributes.ptxVersion;
  return 0;
}

// The part of a card that needs no context.
inline int DescribeCard(int device, Card* card) {
  DPM_TRY(Attribute(device, cudaDevAttrMultiProcessorCount, &card->multiprocessors));
  DPM_TRY(Attribute(device, cudaDevAttrMaxSharedMemoryPerBlockOptin, &card->shared_bytes));
  DPM_TRY(Attribute(device, cudaDevAttrMaxSharedMemoryPerMultiprocessor, &card->shared_multiprocessor));
  int cooperative = 0;
  DPM_TRY(Attribute(device, cudaDevAttrCooperativeLaunch, &cooperative));
  card->cooperative = cooperative != 0;
  return 0;
}

// Lets a kernel have all the shared memory there is, and loads it: the driver does so when it is first asked for a
// kernel, which may wait for the card, and is not allowed while somebody captures.
inline int LoadKernel(const void* kernel, uint32_t shared) {
  cudaFuncAttributes attributes;
  DPM_TRY(Result(cudaFuncGetAttributes(&attributes, kernel)));
  if (shared == 0) return 0;
  return Result(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
}

// Needs the card's context to be current.
inline int Examine(int device, Card* out) {
  Card card;
  DPM_TRY(DescribeCard(device, &card));
  int clusters = 0, architecture = 0;
  DPM_TRY(Attribute(device, cudaDevAttrClusterLaunch, &clusters));
  DPM_TRY(CompiledFor(&architecture));
  card.dependent = architecture >= 90;
  for (const Kernel kernel : kWideKernels) DPM_TRY(LoadKernel(KernelFor(kernel, NetType::f64, true), 0));
  for (const bool wide : {false, true}) {
    DPM_TRY(LoadKernel(ErrorKernelFor(wide), 0));
    DPM_TRY(LoadKernel(NoiseKernelFor(wide), 0));
  }
  for (const bool second : {false, true}) {
    for (const NetType type : {NetType::f16, NetType::f32, NetType::f64, NetType::bf16}) {
      DPM_TRY(LoadKernel(PairKernelFor(type, second), 0));
    }
    DPM_TRY(LoadKernel(GuideEndKernelFor(second), 0));
  }
  DPM_TRY(LoadKernel(ErrorEndKernel(), 0));
  DPM_TRY(LoadKernel(NothingKernel(), 0));
  // Of the variants of a kernel the one that fits least decides.
  uint32_t fits[2][kMostCluster + 1];
  for (auto& each : fits) {
    for (uint32_t& active : each) active = 0xffffffffu;
  }
  for (const Kernel kernel : kKernels) {
    for (const NetType type : kTypes) {
      for (const bool general : {false, true}) {
        const void* const f = KernelFor(kernel, type, general);
        DPM_TRY(LoadKernel(f, kernel == Kernel::step ? 0 : card.shared_bytes));
        if (kernel != Kernel::cluster || clusters == 0 || architecture < 90) continue;
        const bool large = Result(cudaFuncSetAttribute(f, cudaFuncAttributeNonPortableClusterSizeAllowed, 1)) == 0;
        for (uint32_t each = 1; each <= MostEach(general); ++each) {
          const uint32_t threads = TeamThreads(general) / each;
          const uint32_t shared = 4 * (kSharedPredictions + Room(card, each));
          for (uint32_t size = 1; size <= kMostCluster; ++size) {
            const uint32_t active = size <= 8 || large ? ActiveClusters(f, size, threads, shared) : 0;
            uint32_t& least = fits[each - 1][size];
            least = least < active ? least : active;
          }
        }
      }
    }
  }
  for (uint32_t each = 0; each < 2; ++each) {
    for (uint32_t size = 0; size <= kMostCluster; ++size) {
      card.clusters[each][size] = fits[each][size] == 0xffffffffu ? 0 : fits[each][size];
    }
  }
  *out = card;
  return 0;
}

// Found out once a card and never changed; what fails (a card that is full, say) is tried again.
inline int Prepare(int device, const Card** out) {
  static struct {
    std::mutex mutex;
    std::atomic<bool> done{false};
    Card card;
  } prepared[kMostDevices];
  if (device < 0 || device >= kMostDevices) return kErrorArgument;
  auto& p = prepared[device];
  *out = &p.card;
  if (p.done.load(std::memory_order_acquire)) return 0;
  const std::lock_guard<std::mutex> lock(p.mutex);
  const OnDevice scope(device);
  DPM_TRY(scope.error());
  Card card;
  DPM_TRY(Examine(device, &card));
  p.card = card;
  p.done.store(true, std::memory_order_release);
  return 0;
}

inline int Count(int* devices, int* driver) {
  *devices = 0;
  *driver = 0;
  if (Result(cudaDriverGetVersion(driver))) *driver = 0;
  return Result(cudaGetDeviceCount(devices));
}

inline const char* ErrorName(int code) {
  if (code == kErrorArgument) return "bad argument";
  return cudaGetErrorName(static_cast<cudaError_t>(code));
}
inline const char* ErrorText(int code) {
  if (code == kErrorArgument) return "an argument is out of range";
  return cudaGetErrorString(static_cast<cudaError_t>(code));
}

}  // namespace dpm::cuda
