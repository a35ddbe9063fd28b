// Dot product of two strided vectors, the first thing to post to WebRunner.
//
//     cc -O3 -march=haswell -ffast-math -fPIC -c sdot.c
#include <stddef.h>

float sdot(size_t n, const float *x, size_t incx, const float *y, size_t incy) {
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) {
        sum += x[i * incx] * y[i * incy];
    }
    return sum;
}
