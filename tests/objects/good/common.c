// Tentative definitions, which -fcommon makes common symbols: the loader has to give them space. The first call returns 1 + 64, each further one 1 more.
#include <stdint.h>

uint64_t calls;
uint8_t marks[64] __attribute__((aligned(64)));

uint64_t playground(uint64_t iterations) {
    (void)iterations;
    calls += 1;
    uint64_t set = 0;
    for (volatile uint8_t *mark = marks; mark != marks + 64; mark++) {
        *mark = 1;
        set += *mark;
    }
    return calls + set;
}
