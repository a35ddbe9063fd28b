// Euclidean norm of a strided vector. Built with -fno-math-errno, so that the root is one instruction and no libm call.
#include <stddef.h>

float snrm2(size_t n, const float *x, size_t incx) {
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) {
        sum += x[i * incx] * x[i * incx];
    }
    return __builtin_sqrtf(sum);
}
