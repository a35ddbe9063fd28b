// Global data and a global function, reached through the global offset table and the procedure linkage table under -fPIC,
// since another object might replace them. Returns 10 + 20 + 30 + 40 + 11 + 11 = 122.
#include <stdint.h>

#include "opaque.h"

uint64_t table[4] = {10, 20, 30, 40};
uint64_t length = 4;
uint64_t plus_eleven(uint64_t value);

__attribute__((noinline)) uint64_t plus_eleven(uint64_t value) {
    return value + 11;
}

uint64_t playground(uint64_t iterations) {
    (void)iterations;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < length; i++) {
        sum += table[i];
    }
    uint64_t (*call)(uint64_t) = OPAQUE(&plus_eleven);
    return call(sum) + plus_eleven(0);
}
