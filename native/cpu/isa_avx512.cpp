#define DPM_ISA "avx512"
#define DPM_ISA_FUNCTION KernelsAvx512
#include "kernels.inc"
