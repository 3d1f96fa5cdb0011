// What the garbage collector is told of a card's memory.
#pragma once

#include "call.h"

namespace dpm::addon {

// The collector does not know what hangs on a small object, and runs once it has been told of another 64 MiB. They
// stand for a sixteenth of the card: told byte for byte it would run after every few pictures.
inline void TellCollector(napi_env env, int device, int64_t bytes) {
  constexpr double kPerRun = 64.0 * 1024 * 1024;
  const double memory = static_cast<double>(CardMemory(device)), sixteenth = memory / 16;
  const double share = sixteenth > kPerRun ? kPerRun / sixteenth : 1;
  int64_t all = 0;
  napi_adjust_external_memory(env, static_cast<int64_t>(static_cast<double>(bytes) * share), &all);
}

}  // namespace dpm::addon
