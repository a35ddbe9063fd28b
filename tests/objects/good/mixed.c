// Ten arguments of every kind: six integers and pointers and three floating-point numbers in registers, one integer on
// the stack (kernel test.mixed). Checks each and returns 0, or the number of the first that is wrong. `out` gets 10 marks.
#include <stdint.h>

uint32_t mixed(int8_t a, float b, uint64_t c, const float *d, double e, int32_t f, double *out, float g, uint16_t h,
               int64_t i) {
    if (a != -7) return 1;
    if (b != 1.5f) return 2;
    if (c != 1234567890123ull) return 3;
    if (((uintptr_t)d & 63) != 16 || d[0] != 0.0f || d[31] != 31.0f) return 4;
    if (e != -0.25) return 5;
    if (f != -100000) return 6;
    if (((uintptr_t)out & 63) != 0) return 7;
    if (g != 3.0f) return 8;
    if (h != 65535) return 9;
    if (i != -5) return 10;
    for (int mark = 0; mark < 10; mark++) {
        out[mark] = mark + 1;
    }
    return 0;
}
