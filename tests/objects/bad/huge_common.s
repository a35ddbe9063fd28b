# A common symbol of 1 TiB.
        .text
        .globl  playground
        .type   playground, @function
playground:
        leaq    huge(%rip), %rax
        ret

        .comm   huge, 1 << 40, 64
