// Dot product of two strided vectors in double precision.
#include <stddef.h>

double ddot(size_t n, const double *x, size_t incx, const double *y, size_t incy) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i * incx] * y[i * incy];
    }
    return sum;
}
