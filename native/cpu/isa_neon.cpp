// The kernels for neon.
