// Dot product of two strided vectors, as anybody would write it first.
#include <stddef.h>

float sdot(size_t n, const float *x, size_t incx, const float *y, size_t incy) {
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) {
        sum += x[i * incx] * y[i * incy];
    }
    return sum;
}
