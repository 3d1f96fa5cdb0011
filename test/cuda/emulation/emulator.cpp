#include "emulator.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace dpm::cuda::emulation {
namespace {

constexpr size_t kStack = 128 * 1024;

enum class State { ready, block_barrier, team_barrier, warp, done };

struct Thread : Fiber {
  ucontext_t context;
  State state = State::done;
  const void* key = nullptr;
  int line = 0;
  Collective collective = kBallot;
  uint32_t value = 0;
  uint32_t values[32];
  char* stack = nullptr;
  void* fake_stack = nullptr;
};

struct Buffer {
  const char* data;
  size_t bytes, granularity;
  bool valid;
  std::vector<Cell> cells;
};

Launch launch_;
const std::function<void()>* kernel_ = nullptr;
std::vector<Block> blocks_;
std::vector<Thread*> pool_;
Thread* current_ = nullptr;
ucontext_t scheduler_;
std::vector<Buffer> buffers_;
uint32_t team_ = 0;
Totals totals_;

void StartSwitch([[maybe_unused]] void** save, [[maybe_unused]] const void* bottom, [[maybe_unused]] size_t size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(save, bottom, size);
#endif
}
const void* scheduler_bottom_ = nullptr;
size_t scheduler_size_ = 0;
void* scheduler_fake_ = nullptr;
void FinishSwitch([[maybe_unused]] void* saved, [[maybe_unused]] const void** bottom, [[maybe_unused]] size_t* size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(saved, bottom, size);
#endif
}

void Main() {
  FinishSwitch(nullptr, &scheduler_bottom_, &scheduler_size_);
  (*kernel_)();
  current_->state = State::done;
  StartSwitch(nullptr, scheduler_bottom_, scheduler_size_);
  setcontext(&scheduler_);
}

// Back to the scheduler until something makes this fiber ready again.
void Yield() {
  Thread* const self = current_;
  StartSwitch(&self->fake_stack, scheduler_bottom_, scheduler_size_);
  swapcontext(&self->context, &scheduler_);
  FinishSwitch(self->fake_stack, &scheduler_bottom_, &scheduler_size_);
}

void Resume(Thread* thread) {
  current_ = thread;
  StartSwitch(&scheduler_fake_, thread->stack, kStack);
  swapcontext(&scheduler_, &thread->context);
  FinishSwitch(scheduler_fake_, nullptr, nullptr);
  current_ = nullptr;
}

Access Here(bool atomic) {
  const Block& block = blocks_[current_->block];
  return {current_->id + 1, current_->block, block.epoch, block.team_epoch, team_, atomic};
}

// Is `earlier` before everything that the current fiber does now?
bool Ordered(const Access& earlier, const Access& now) {
  if (earlier.fiber == 0) return true;
  if (earlier.team != now.team) return false;  // teams of one launch are in no order
  if (earlier.fiber == now.fiber) return true;
  if (earlier.team_epoch < now.team_epoch) return true;
  return earlier.block == now.block && earlier.block_epoch < now.block_epoch;
}

// `now` joins what is already recorded in the same interval.
void Merge(Access& record, const Access& now) {
  if (Ordered(record, now)) {
    record = now;
    return;
  }
  if (record.fiber != now.fiber || record.team != now.team) record.fiber = kMany;
  if (record.team != now.team) record.team = kMany;
  if (record.block != now.block) record.block = kMany;
  record.block_epoch = std::max(record.block_epoch, now.block_epoch);
  record.team_epoch = std::max(record.team_epoch, now.team_epoch);
  record.atomic = record.atomic && now.atomic;
}

void CheckRead(Cell& cell, int line) {
  ++totals_.accesses;
  const Access now = Here(false);
  if (!cell.valid) Fail("read of memory that nobody wrote", line);
  if (!Ordered(cell.write, now)) Fail("data race: read beside another thread's write", line);
  Merge(cell.read, now);
}

void CheckWrite(Cell& cell, bool atomic, int line) {
  ++totals_.accesses;
  const Access now = Here(atomic);
  if (!Ordered(cell.write, now) && !(atomic && cell.write.atomic)) {
    Fail("data race: write beside another thread's write", line);
  }
  if (!Ordered(cell.read, now)) Fail("data race: write beside another thread's read", line);
  if (atomic && !cell.valid) Fail("atomic operation on memory that nobody wrote", line);
  if (atomic) {
    Merge(cell.write, now);
  } else {
    cell.write = now;
    cell.read = Access{};
  }
  cell.valid = true;
}

template <class F>
void EachCell(const void* at, size_t bytes, int line, F f) {
  if (!current_->waited) Fail("access to global memory before what was launched earlier is known to be over", line);
  if (blocks_[current_->block].left) Fail("access to global memory after the block left its team", line);
  const char* const p = static_cast<const char*>(at);
  for (Buffer& buffer : buffers_) {
    if (p < buffer.data || p + bytes > buffer.data + buffer.bytes) continue;
    const size_t first = static_cast<size_t>(p - buffer.data);
    if (first % std::min(bytes, buffer.granularity) != 0) Fail("access across elements", line);
    if (buffer.cells.empty()) {
      Cell cell;
      cell.valid = buffer.valid;
      buffer.cells.assign((buffer.bytes + buffer.granularity - 1) / buffer.granularity, cell);
    }
    for (size_t i = first / buffer.granularity; i * buffer.granularity < first + bytes; ++i) f(buffer.cells[i]);
    return;
  }
  Fail("access outside all buffers", line);
}

}  // namespace

const Launch& Launched() { return launch_; }
Fiber& Current() { return *current_; }
Block& CurrentBlock() { return blocks_[current_->block]; }
const Totals& Counted() { return totals_; }

void Fail(const char* what, int line) {
  std::fflush(stdout);
  if (current_) {
    const Block& block = blocks_[current_->block];
    std::fprintf(stderr, "emulation: %s (line %d, thread %u of block %u,%u, rank %u of %u)\n", what, line,
                 current_->thread, block.x, block.y, block.rank, launch_.team);
  } else {
    std::fprintf(stderr, "emulation: %s (line %d)\n", what, line);
  }
  std::fflush(stderr);
  _exit(1);
}

Block& RemoteBlock(uint32_t rank, int line) {
  if (!launch_.cluster) Fail("access to another block's shared memory outside a cluster", line);
  if (current_->arrived) Fail("access to another block's shared memory inside a barrier", line);
  if (rank >= launch_.team) Fail("access to a block that the cluster does not have", line);
  Block& block = blocks_[rank];
  if (!block.started) Fail("access to the shared memory of a block that has not begun", line);
  if (block.live == 0) Fail("access to the shared memory of a block that has left", line);
  return block;
}

void ReadShared(Block& block, size_t word, size_t words, void* to, int line) {
  if (word + words > block.shared.size()) Fail("read outside shared memory", line);
  for (size_t i = word; i < word + words; ++i) CheckRead(block.cells[i], line);
  std::memcpy(to, block.shared.data() + word, words * 4);
}

void WriteShared(size_t word, size_t words, const void* from, int line) {
  Block& block = CurrentBlock();
  if (word + words > block.shared.size()) Fail("write outside shared memory", line);
  for (size_t i = word; i < word + words; ++i) CheckWrite(block.cells[i], false, line);
  std::memcpy(block.shared.data() + word, from, words * 4);
}

uint32_t* AtomicShared(size_t word, int line) {
  Block& block = CurrentBlock();
  if (word >= block.shared.size()) Fail("atomic operation outside shared memory", line);
  CheckWrite(block.cells[word], true, line);
  return block.shared.data() + word;
}

void ForgetBuffers() { buffers_.clear(); }
void KnowBuffer(const void* data, size_t bytes, size_t granularity, bool valid) {
  if (!data) return;
  for (const Buffer& buffer : buffers_) {
    if (buffer.data == data) return;
  }
  buffers_.push_back({static_cast<const char*>(data), bytes, granularity, valid, {}});
}
void CheckBuffer(const void* data, size_t bytes, int line) {
  EachCell(data, bytes, line, [](Cell&) {});
}
void ReadGlobal(const void* from, size_t bytes, int line) {
  EachCell(from, bytes, line, [line](Cell& cell) { CheckRead(cell, line); });
}
void WriteGlobal(const void* to, size_t bytes, bool atomic, int line) {
  EachCell(to, bytes, line, [atomic, line](Cell& cell) { CheckWrite(cell, atomic, line); });
}

bool Leave(uint32_t* left, int line) {
  Block& block = CurrentBlock();
  CheckBuffer(left, 4, line);
  if (++*left < launch_.team) {
    block.left = true;
    return false;
  }
  ++block.team_epoch;
  return true;
}

void Wait(Barrier kind, const void* key, int line) {
  current_->state = kind == kBlockBarrier ? State::block_barrier : State::team_barrier;
  current_->key = key;
  current_->line = line;
  Yield();
}

const uint32_t* Warp(uint32_t value, Collective kind, int line) {
  current_->state = State::warp;
  current_->collective = kind;
  current_->value = value;
  current_->line = line;
  Yield();
  return current_->values;
}

namespace {

std::vector<uint32_t> Shuffled(uint32_t count, Order order, std::mt19937_64& random) {
  std::vector<uint32_t> list(count);
  for (uint32_t i = 0; i < count; ++i) list[i] = order == Order::descending ? count - 1 - i : i;
  if (order == Order::random) std::shuffle(list.begin(), list.end(), random);
  return list;
}

Thread* ThreadOf(uint32_t block, uint32_t thread) { return pool_[block * launch_.threads + thread]; }

// Lets warps go on that have all arrived; true if there was one.
bool ReleaseWarps(uint32_t block) {
  bool any = false;
  for (uint32_t warp = 0; warp < launch_.threads / 32; ++warp) {
    Thread* const first = ThreadOf(block, warp * 32);
    bool all = true;
    for (uint32_t lane = 0; lane < 32 && all; ++lane) {
      const Thread* const thread = ThreadOf(block, warp * 32 + lane);
      all = thread->state == State::warp && thread->collective == first->collective && thread->line == first->line;
    }
    if (!all) continue;
    any = true;
    uint32_t values[32];
    for (uint32_t lane = 0; lane < 32; ++lane) values[lane] = ThreadOf(block, warp * 32 + lane)->value;
    for (uint32_t lane = 0; lane < 32; ++lane) {
      Thread* const thread = ThreadOf(block, warp * 32 + lane);
      std::memcpy(thread->values, values, sizeof values);
      thread->state = State::ready;
    }
  }
  return any;
}

// Runs a block as far as it can: until all its threads have left or wait for the team.
void RunBlock(uint32_t index, std::mt19937_64& random) {
  Block& block = blocks_[index];
  block.started = true;
  const std::vector<uint32_t> order = Shuffled(launch_.threads, launch_.fibers, random);
  for (;;) {
    for (const uint32_t thread : order) {
      Thread* const fiber = ThreadOf(index, thread);
      if (fiber->state != State::ready) continue;
      Resume(fiber);
      if (fiber->state == State::done) --block.live;
    }
    if (ReleaseWarps(index)) continue;
    uint32_t at_block = 0, at_team = 0, at_warp = 0;
    const Thread* one = nullptr;
    bool same = true;
    for (uint32_t thread = 0; thread < launch_.threads; ++thread) {
      const Thread* const fiber = ThreadOf(index, thread);
      at_block += fiber->state == State::block_barrier;
      at_team += fiber->state == State::team_barrier;
      at_warp += fiber->state == State::warp;
      if (fiber->state == State::done) continue;
      if (one && (one->line != fiber->line || one->key != fiber->key)) same = false;
      one = fiber;
    }
    if (at_warp) Fail("not all threads of a warp take part in a collective", one->line);
    if (block.live == 0) return;
    if ((at_block && at_team) || !same) Fail("the threads of a block wait at different barriers", one->line);
    if (block.live != launch_.threads) Fail("some threads left the block, others wait at a barrier", one->line);
    if (at_team) return;
    ++totals_.barriers;
    ++block.epoch;
    for (uint32_t thread = 0; thread < launch_.threads; ++thread) ThreadOf(index, thread)->state = State::ready;
  }
}

void Begin(Thread* fiber) {
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack;
  fiber->context.uc_stack.ss_size = kStack;
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, Main, 0);
}

void RunTeam(uint32_t first, uint32_t y, std::mt19937_64& random) {
  ++team_;
  blocks_.resize(launch_.team);
  for (uint32_t rank = 0; rank < launch_.team; ++rank) {
    Block& block = blocks_[rank];
    block.x = first + rank, block.y = y, block.rank = rank;
    block.epoch = block.team_epoch = 0;
    block.started = block.left = false;
    block.live = launch_.threads;
    // Poison: not what a kernel would take for a count or for a small number.
    block.shared.assign(launch_.shared_words, 0x7fbadbadu);
    block.cells.assign(launch_.shared_words, Cell{});
    for (uint32_t thread = 0; thread < launch_.threads; ++thread) {
      Thread* const fiber = ThreadOf(rank, thread);
      fiber->thread = thread, fiber->block = rank, fiber->id = rank * launch_.threads + thread;
      fiber->state = State::ready;
      fiber->waited = fiber->arrived = false;
      Begin(fiber);
    }
  }
  totals_.blocks += launch_.team;
  totals_.fibers += static_cast<uint64_t>(launch_.team) * launch_.threads;
  for (;;) {
    for (const uint32_t rank : Shuffled(launch_.team, launch_.blocks, random)) {
      if (blocks_[rank].live) RunBlock(rank, random);
    }
    uint32_t waiting = 0, gone = 0;
    const Thread* one = nullptr;
    for (uint32_t rank = 0; rank < launch_.team; ++rank) {
      if (blocks_[rank].live == 0) {
        ++gone;
        continue;
      }
      ++waiting;
      const Thread* const fiber = ThreadOf(rank, 0);
      if (one && (one->line != fiber->line || one->key != fiber->key)) {
        Fail("the blocks of a team wait at different barriers", fiber->line);
      }
      one = fiber;
    }
    if (waiting == 0) return;
    if (gone) Fail("some blocks left the team, others wait for them", one->line);
    ++totals_.barriers;
    for (uint32_t rank = 0; rank < launch_.team; ++rank) {
      ++blocks_[rank].epoch;
      ++blocks_[rank].team_epoch;
      for (uint32_t thread = 0; thread < launch_.threads; ++thread) ThreadOf(rank, thread)->state = State::ready;
    }
  }
}

}  // namespace

void Run(const Launch& launch, const std::function<void()>& kernel) {
  launch_ = launch;
  kernel_ = &kernel;
  if (launch.threads % 32 != 0 || launch.grid_x % launch.team != 0) Fail("a launch that the emulation does not know");
  while (pool_.size() < static_cast<size_t>(launch.team) * launch.threads) {
    Thread* const thread = new Thread;
    thread->stack = static_cast<char*>(
        mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (thread->stack == MAP_FAILED) Fail("no memory for a fiber");
    pool_.push_back(thread);
  }
  for (Buffer& buffer : buffers_) buffer.cells.clear();  // made when they are first touched
  ++totals_.launches;
  team_ = 0;
  std::mt19937_64 random(launch.seed);
  for (uint32_t y = 0; y < launch.grid_y; ++y) {
    const std::vector<uint32_t> teams = Shuffled(launch.grid_x / launch.team, launch.blocks, random);
    for (const uint32_t team : teams) RunTeam(team * launch.team, y, random);
  }
}

}  // namespace dpm::cuda::emulation
