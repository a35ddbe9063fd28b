// Static data that changes: 100 in .data and 0 in .bss, both raised by one a call. The first call returns 101 + 1 = 102, each further one 2 more.
#include <stdint.h>

static volatile uint64_t from_hundred = 100;
static volatile uint64_t from_zero;

uint64_t playground(uint64_t iterations) {
    (void)iterations;
    from_hundred += 1;
    from_zero += 1;
    return from_hundred + from_zero;
}
