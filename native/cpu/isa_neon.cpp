#define DPM_ISA "neon"
#define DPM_ISA_FUNCTION KernelsNeon
#include "kernels.inc"
