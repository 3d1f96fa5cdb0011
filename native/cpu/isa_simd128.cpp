#define DPM_ISA "simd128"
#define DPM_ISA_FUNCTION KernelsSimd128
#include "kernels.inc"
