// The kernels for avx2.
