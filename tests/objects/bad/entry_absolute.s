# The symbol named as the kernel is a number, not a place.
        .text
        .globl  first
        .type   first, @function
first:  ret

        .globl  playground
        .set    playground, 0x400000
