// The shared library: the table of api.h. What it is made of lies in host/.
#include "host/graph.h"

namespace dpm::cuda {
namespace {

constexpr Api kApi = {
    kApiVersion,  CUDART_VERSION,    Count,         Device,       ErrorName,     ErrorText,       Alloc,
    Free,         StageTake,         StageReturn,   Copy,         Zero,          StreamCreate,    StreamDestroy,
    StreamWait,   StreamQuery,       StreamPointer, EventCreate,  EventDestroy,  EventRecord,     EventWait,
    StreamAfter,  EventMilliseconds, LaunchStep,    Noise<float>, Noise<double>, LaunchErrorNorm, Nothing,
    CaptureBegin, CaptureEnd,        GraphLaunch,   GraphDestroy, LaunchGuide,
};

}  // namespace
}  // namespace dpm::cuda

#if defined(_WIN32)
#define DPM_EXPORT extern "C" __declspec(dllexport)
#else
#define DPM_EXPORT extern "C" __attribute__((visibility("default")))
#endif

DPM_EXPORT const dpm::cuda::Api* dpmSolverCuda() { return &dpm::cuda::kApi; }
