#define DPM_ISA "sse2"
#define DPM_ISA_FUNCTION KernelsSse2
#include "kernels.inc"
