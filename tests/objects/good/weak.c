// A weak function, the only one of its name. Returns 5.
#include <stdint.h>

#include "opaque.h"

__attribute__((weak)) uint64_t playground(uint64_t iterations) {
    (void)iterations;
    return OPAQUE(5ul);
}
