# A constructor in the old style: an address in .ctors, an ordinary section but for its name.
        .text
        .globl  playground
        .type   playground, @function
playground:
        ret

        .section .ctors, "aw", @progbits
        .quad   playground
