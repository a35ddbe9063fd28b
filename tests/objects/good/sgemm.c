// Single-precision micro-kernel with the BLIS signature: C = beta*C + alpha*A*B for an 8 by 2 block of C.
// A is packed by columns of 8, B by rows of 2. A zero beta overwrites C without reading it, as BLIS asks.
#include <stddef.h>

enum { MR = 8, NR = 2 };

void sgemm(size_t k, const float *alpha, const float *a, const float *b, const float *beta, float *c, size_t rs_c,
           size_t cs_c) {
    float ab[MR][NR] = {{0.0f}};
    for (size_t p = 0; p < k; p++) {
        for (int i = 0; i < MR; i++) {
            for (int j = 0; j < NR; j++) {
                ab[i][j] += a[p * MR + i] * b[p * NR + j];
            }
        }
    }
    for (int i = 0; i < MR; i++) {
        for (int j = 0; j < NR; j++) {
            float *to = &c[i * rs_c + j * cs_c];
            const float product = *alpha * ab[i][j];
            *to = *beta == 0.0f ? product : *beta * *to + product;
        }
    }
}
