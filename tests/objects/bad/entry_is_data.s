# The symbol named as the kernel is data, though there is a function beside it.
        .text
        .globl  first
        .type   first, @function
first:  ret

        .data
        .globl  playground
        .type   playground, @object
        .size   playground, 4
playground:
        .long   0xc3c3c3c3
