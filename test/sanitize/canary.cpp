// An addon that does what the sanitizers are there to find, as soon as it is loaded: what CANARY names. Compiled,
// linked and loaded as the real one is; where nobody complains, nothing that was said of that one is worth anything.
#include <node_api.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

static volatile int counter = 0;
static int zero = std::getenv("PATH") == nullptr ? 1 : 0;  // not known when it is compiled

static void Overflow() {
  char* bytes = new char[24];
  std::memset(bytes, 0, 24 + 1 + static_cast<size_t>(zero));
  counter = bytes[3];
  delete[] bytes;
}

static void Undefined() {
  const int shift = 40 + zero;
  counter = 1 << shift;
}

static void Race() {
  const auto count = [] {
    for (int k = 0; k < 10000; ++k) counter = counter + 1;
  };
  std::thread one(count), other(count);
  one.join();
  other.join();
}

NAPI_MODULE_INIT() {
  (void)env;
  const char* crime = std::getenv("CANARY");
  const std::string name = crime == nullptr ? "" : crime;
  if (name == "overflow") Overflow();
  if (name == "undefined") Undefined();
  if (name == "race") Race();
  return exports;
}
