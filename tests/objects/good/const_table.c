// Static read-only tables: integers in .rodata, and pointers to functions in .data.rel.ro or .rodata. Returns 1 + 4 + 9 + 16 + 42 = 72.
#include <stdint.h>

#include "opaque.h"

static const uint32_t squares[8] = {0, 1, 4, 9, 16, 25, 36, 49};

static uint64_t add_forty_two(uint64_t value) {
    return value + 42;
}

static uint64_t negate(uint64_t value) {
    return 0 - value;
}

static uint64_t (*const steps[2])(uint64_t) = {add_forty_two, negate};

uint64_t playground(uint64_t iterations) {
    (void)iterations;
    uint64_t sum = 0;
    for (uint64_t i = 1; i < OPAQUE(5ul); i++) {
        sum += squares[i];
    }
    return steps[OPAQUE(0)](sum);
}
