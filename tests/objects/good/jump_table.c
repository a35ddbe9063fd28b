// A switch that compilers turn into a table of addresses (absolute without -fPIC, relative with it). Returns 1103.
#include <stdint.h>

#include "opaque.h"

static uint64_t step(uint64_t which, uint64_t value) {
    switch (which) {
    case 0:
        return value + 1;
    case 1:
        return value * 3;
    case 2:
        return value ^ 0x55;
    case 3:
        return value - 7;
    case 4:
        return value << 2;
    case 5:
        return ~value & 0xff;
    case 6:
        return value >> 1;
    case 7:
        return value + 1000;
    default:
        return 0;
    }
}

uint64_t playground(uint64_t iterations) {
    (void)iterations;
    uint64_t value = 1;
    for (uint64_t which = 0; which < OPAQUE(8ul); which++) {
        value = step(OPAQUE(which), value);
    }
    return value;
}
