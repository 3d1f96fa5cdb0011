// exp, expm1, log and log1p in double precision, one source for every target.
//
// The C library's functions change their last bits with library, version and processor; a coefficient that
// depends on them would differ between machines. These use only IEEE additions, multiplications and divisions
// (compiled without contraction), so that they give the same bits wherever doubles are IEEE doubles.
// Errors are below 0.9 ulp for expm1 and 0.6 ulp for the others, and below 1 ulp where the result is subnormal.
// Special values are those of C's annex F: signed zeros, infinities, NaN, overflow to infinity, gradual underflow.
#pragma once

namespace dpm {

double Exp(double x);
double Expm1(double x);
double Log(double x);    // -inf at 0, NaN below
double Log1p(double x);  // -inf at -1, NaN below

}  // namespace dpm
