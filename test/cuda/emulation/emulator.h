// Runs a CUDA kernel on a processor: every thread a fiber, the blocks of a team (a cluster, or blocks that meet in
// global memory) alive at the same time. One block runs as far as it can before the next one does, in an order that the
// test chooses, so that what a barrier should have ordered goes wrong where the barrier is missing.
//
// Checked on the way: barriers that not all threads reach, deadlock, access to the shared memory of a block that has
// left or has not begun, reads of memory nobody wrote, accesses outside the buffers, misaligned wide accesses, and
// plain data races: for every word the last write and the last reads, with the number of barriers that the block and
// the team had passed. Two accesses by different threads, one of them a plain write, with no barrier in between that
// both passed, are a race, even where this order of fibers gave the right result.
//
// Anything wrong ends the process with a message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace dpm::cuda::emulation {

enum class Order { ascending, descending, random };

struct Launch {
  uint32_t grid_x = 1, grid_y = 1, threads = 32;
  uint32_t shared_words = 0;
  uint32_t team = 1;     // consecutive blocks that run at the same time
  bool cluster = false;  // and see each other's shared memory
  Order blocks = Order::ascending, fibers = Order::ascending;
  uint64_t seed = 1;
};

// An access: by whom, and how many barriers had been passed.
struct Access {
  uint32_t fiber = 0;  // in the team, counted from 1; 0: none yet, kMany: several
  uint32_t block = 0;  // in the team, or kMany
  uint32_t block_epoch = 0, team_epoch = 0;
  uint32_t team = 0;  // in the launch, or kMany
  bool atomic = false;
};
constexpr uint32_t kMany = 0xffffffffu;

struct Cell {
  Access write, read;
  bool valid = false;
};

struct Block {
  uint32_t x = 0, y = 0, rank = 0;
  uint32_t epoch = 0, team_epoch = 0;
  uint32_t live = 0;
  bool started = false, left = false;  // left: has no more business in the team's global memory
  std::vector<uint32_t> shared;
  std::vector<Cell> cells;
};

struct Fiber {
  uint32_t thread = 0, id = 0, block = 0;
  bool waited = false;   // for what was launched before: nothing of global memory is touched earlier
  bool arrived = false;  // at a cluster barrier that it has not yet passed: nothing of the cluster is read meanwhile
};

const Launch& Launched();
Fiber& Current();
Block& CurrentBlock();
Block& RemoteBlock(uint32_t rank, int line);

[[noreturn]] void Fail(const char* what, int line = 0);

void ReadShared(Block& block, size_t word, size_t words, void* to, int line);
void WriteShared(size_t word, size_t words, const void* from, int line);
uint32_t* AtomicShared(size_t word, int line);

// Global memory: buffers have to be made known. `valid`: may be read before it is written.
void ForgetBuffers();
void KnowBuffer(const void* data, size_t bytes, size_t granularity, bool valid);
void CheckBuffer(const void* data, size_t bytes, int line);
void ReadGlobal(const void* from, size_t bytes, int line);
void WriteGlobal(const void* to, size_t bytes, bool atomic, int line);

enum Barrier { kBlockBarrier, kTeamBarrier };
void Wait(Barrier kind, const void* key, int line);
// Of a team: is this block the last one to leave it? Then all that the others did is before what it does from now on.
bool Leave(uint32_t* left, int line);
enum Collective { kBallot, kSum, kMax, kPrefix, kRead, kOther };
// The 32 values of the warp.
const uint32_t* Warp(uint32_t value, Collective kind, int line);

void Run(const Launch& launch, const std::function<void()>& kernel);

// How much has run since the process began, for reports.
struct Totals {
  uint64_t launches = 0, blocks = 0, fibers = 0, barriers = 0, accesses = 0;
};
const Totals& Counted();

}  // namespace dpm::cuda::emulation
