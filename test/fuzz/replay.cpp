// The fuzz target without libFuzzer: the inputs in the given files and folders, then `--random N` made-up ones. For
// compilers and tools that libFuzzer does not go together with.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

size_t replayed = 0;

void Replay(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::fprintf(stderr, "\r%s", path.c_str());  // the last one, if it ends here
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  ++replayed;
}

}  // namespace

int main(int argc, char** argv) {
  for (int k = 1; k < argc; ++k) {
    if (std::strcmp(argv[k], "--random") == 0 && k + 1 < argc) {
      uint64_t state = 1;
      for (long left = std::atol(argv[++k]); left > 0; --left, ++replayed) {
        uint8_t bytes[600];
        const uint64_t seed = state;
        for (uint8_t& byte : bytes) {
          state = state * 6364136223846793005u + 1442695040888963407u;
          byte = static_cast<uint8_t>(state >> 56);
        }
        std::fprintf(stderr, "\rrandom input from %016llx", static_cast<unsigned long long>(seed));
        LLVMFuzzerTestOneInput(bytes, sizeof bytes);
      }
    } else if (std::filesystem::is_directory(argv[k])) {
      for (const auto& entry : std::filesystem::directory_iterator(argv[k])) Replay(entry.path());
    } else {
      Replay(argv[k]);
    }
  }
  std::fprintf(stderr, "\r");
  std::printf("%zu inputs, all as the reference has it\n", replayed);
  std::fflush(stdout);
  std::_Exit(replayed > 0 ? 0 : 1);  // the pool's threads sleep on
}
