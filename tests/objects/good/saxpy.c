// y = alpha*x + y over strided vectors: a float between integers, and a buffer that is read and written.
#include <stddef.h>

void saxpy(size_t n, float alpha, const float *x, size_t incx, float *y, size_t incy) {
    for (size_t i = 0; i < n; i++) {
        y[i * incy] += alpha * x[i * incx];
    }
}
