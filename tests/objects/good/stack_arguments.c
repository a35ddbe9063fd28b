// Twenty arguments: fourteen in registers, then four integers, a double and a float on the stack in the prototype's order
// (kernel test.stack_arguments). Returns 0, or the number of the first that is wrong; 100 if the stack is misaligned.
#include <stdint.h>

uint64_t stack_arguments(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f, double g, double h,
                         double i, double j, double k, double l, double m, double n, double o, uint64_t p, float q,
                         uint8_t r, int16_t s, const uint64_t *t) {
    if (((uintptr_t)__builtin_frame_address(0) & 15) != 0) return 100;
    if (a != 1) return 1;
    if (b != 2) return 2;
    if (c != 3) return 3;
    if (d != 4) return 4;
    if (e != 5) return 5;
    if (f != 6) return 6;
    if (g != 7.0) return 7;
    if (h != 8.0) return 8;
    if (i != 9.0) return 9;
    if (j != 10.0) return 10;
    if (k != 11.0) return 11;
    if (l != 12.0) return 12;
    if (m != 13.0) return 13;
    if (n != 14.0) return 14;
    if (o != 15.0) return 15;
    if (p != 16) return 16;
    if (q != 17.0f) return 17;
    if (r != 18) return 18;
    if (s != -19) return 19;
    if (t[0] != 20 || t[7] != 20) return 20;
    return 0;
}
