// The kernels for avx512.
