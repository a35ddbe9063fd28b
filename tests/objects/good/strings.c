// String literals, which go to a mergeable section (.rodata.str1.1), reached through a table. Returns 3 + 5 + 8 = 16, their lengths.
#include <stdint.h>

#include "opaque.h"

uint64_t playground(uint64_t iterations) {
    (void)iterations;
    static const char *const words[3] = {"one", "seven", "thirteen"};
    uint64_t length = 0;
    for (uint64_t i = 0; i < OPAQUE(3ul); i++) {
        for (const char *at = words[OPAQUE(i)]; *at != '\0'; at++) {
            length += 1;
        }
    }
    return length;
}
