// The kernels for sse2.
