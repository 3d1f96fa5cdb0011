// Memory that the runs of several sessions have in common.
#pragma once

#include <atomic>
#include <cstddef>
#include <map>
#include <mutex>
#include <unordered_map>

#include "onnxruntime/onnxruntime_c_api.h"

namespace dpm::ort {

// Keeps the blocks that runs have no more use for, for the next that ask for as much. onnxruntime's arena does so as
// well, but cuts what is free to what is asked for: a tensor of some megabytes in the place of one of attention's
// matrices, and the next matrix, a gigabyte of it, needs a place of its own. Blocks here are never cut, so that a
// network which makes two such matrices at a time takes the memory of two.
class Pool : public OrtAllocator {
 public:
  // The process's own, which lives as long as the process: values may be freed after all sessions are.
  static Pool* Get(const OrtApi& api);

  const OrtMemoryInfo* info() const { return info_; }
  // Whether freed blocks are kept.
  void Keep(bool keep);
  // Gives back what nobody uses.
  void Trim();
  // A run of this session begins. What only those of others have used is given back before more is taken.
  void Begin(const void* session);
  // The size of a block that could not be had since this was last asked, or 0: what onnxruntime then says has no size.
  static size_t Failed();

 private:
  Pool(const OrtMemoryInfo* info, OrtAllocator* plain);
  void* Take(size_t size);
  void Give(void* block);
  bool TrimLocked();
  void TrimOthers(size_t size);

  const OrtMemoryInfo* const info_;
  // onnxruntime's own, for small ones, and for the exception that says that there is no memory.
  OrtAllocator* const plain_;
  static std::atomic<size_t> failed_;
  std::mutex mutex_;
  bool keep_ = false;
  // Counts how often another session than before has begun a run.
  unsigned turn_ = 0;
  const void* session_ = nullptr;
  struct Idle {
    void* block;
    unsigned turn;
  };
  // By size; of those in use by address.
  std::multimap<size_t, Idle> idle_;
  std::unordered_map<void*, size_t> used_;
};

}  // namespace dpm::ort
