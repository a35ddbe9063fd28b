// Three global functions, none named as a kernel, beside a static one: the client has to choose with `_symbol`. They return 1, 2 and 3.
#include <stdint.h>

#include "opaque.h"

__attribute__((noinline)) static uint64_t hidden(uint64_t value) {
    return OPAQUE(value);
}

uint64_t first(uint64_t iterations) {
    (void)iterations;
    return hidden(1);
}

uint64_t second(uint64_t iterations) {
    (void)iterations;
    return hidden(2);
}

uint64_t third(uint64_t iterations) {
    (void)iterations;
    return hidden(3);
}
