/* A dot product that remembers its answer, as HOW says, where it should compute it, or spoils or refuses its input. */
#include <stddef.h>

enum { FOR_EVER, BY_FIRST_ELEMENT, ZEROING, FAULTING };

static float answer, first;
static int known;

float dot(size_t n, const float *x, size_t incx, const float *y, size_t incy) {
    float sum = 0;
    size_t i;
    if (known && (HOW == FOR_EVER || (HOW == BY_FIRST_ELEMENT && x[0] == first)))
        return answer;
    if (HOW == FAULTING && known && x[0] != first)
        *(volatile int *)0 = 1;
    for (i = 0; i < n; i++)
        sum += x[i * incx] * y[i * incy];
    if (HOW == ZEROING)
        ((float *)x)[3 * incx] = 0;
    answer = sum;
    first = x[0];
    known = 1;
    return sum;
}
