/* y = x, as HOW says: rightly, or in a way that a check must find. */
#include <stddef.h>

enum { RIGHT, ONE_WRONG, ONCE, REVERSED, PEEKING, BETWEEN, SPOILING };

static int calls;

void copy(size_t n, const float *x, size_t incx, float *y, size_t incy) {
    size_t i;
    if (HOW == ONCE && calls++ > 0)
        return;
    /* The answer of the last call is still there, as far as a look at both ends tells. */
    if (HOW == PEEKING && y[0] == x[0] && y[(n - 1) * incy] == x[(n - 1) * incx])
        return;
    for (i = 0; i < n; i++)
        y[(HOW == REVERSED ? n - 1 - i : i) * incy] = x[i * incx];
    if (HOW == ONE_WRONG)
        y[513 * incy] += 1;
    if (HOW == BETWEEN)
        y[1] = 1;
    if (HOW == SPOILING)
        ((float *)x)[5] = 7;
}
