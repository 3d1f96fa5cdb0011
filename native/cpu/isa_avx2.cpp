#define DPM_ISA "avx2"
#define DPM_ISA_FUNCTION KernelsAvx2
#include "kernels.inc"
