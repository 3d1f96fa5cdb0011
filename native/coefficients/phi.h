// The functions of exponential integrators.
#pragma once

namespace dpm {

// phi_k(z) = sum over j >= 0 of z^j / (j + k)!, for k = 1 .. 4, so that
//   phi_k(z) = integral from 0 to 1 of e^{(1 - u) z} u^{k-1} / (k-1)! du,
//   phi_1(z) = (e^z - 1) / z,    phi_{k+1}(z) = (phi_k(z) - 1/k!) / z.
// (Hochbruck & Ostermann, Exponential integrators, Acta Numerica 2010; DPM-Solver, arXiv 2206.00927, appendix B.)
// The relative error stays below 1e-14 on [-50, 50]. Any other k gives NaN.
double Phi(int k, double z);

}  // namespace dpm
