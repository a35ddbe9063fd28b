# The symbol named as the kernel is undefined, and nothing refers to it.
        .text
        .globl  first
        .type   first, @function
first:  ret
        .globl  playground
        .reloc  ., R_X86_64_NONE, playground
