// Keeps the compiler from working a fixture's answer out beforehand.
#pragma once

#define OPAQUE(value)                        \
    ({                                       \
        __typeof__(value) opaque_ = (value); \
        __asm__ volatile("" : "+r"(opaque_)); \
        opaque_;                             \
    })
