// A function that calls a static helper in a text section of its own, and one that follows it there. Returns 3 * 7 + 2 = 23.
#include <stdint.h>

__attribute__((noinline, section(".text.first"))) static uint64_t triple(uint64_t value) {
    __asm__ volatile("" : "+r"(value));
    return 3 * value;
}

__attribute__((noinline, section(".text.second"))) static uint64_t triple_and_two(uint64_t value) {
    return triple(value) + 2;
}

uint64_t playground(uint64_t iterations) {
    (void)iterations;
    return triple_and_two(7);
}
