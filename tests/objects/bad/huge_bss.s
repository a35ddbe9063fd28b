# 1 TiB of zeroed data.
        .text
        .globl  playground
        .type   playground, @function
playground:
        ret

        .bss
        .zero   1 << 40
