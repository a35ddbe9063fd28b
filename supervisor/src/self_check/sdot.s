# The function of the self-check: a dot product in the baseline instruction set, one element at a time, so that its result
# is the same to the bit on every x86-64. The constant is reached through a relocation, as an ordinary object's would be.
        .text
        .globl  sdot
        .type   sdot, @function
sdot:                                   # float sdot(n, x, incx, y, incy)
        movss   zero(%rip), %xmm0
        test    %rdi, %rdi
        jz      2f
1:      movss   (%rsi), %xmm1
        mulss   (%rcx), %xmm1
        addss   %xmm1, %xmm0
        lea     (%rsi,%rdx,4), %rsi
        lea     (%rcx,%r8,4), %rcx
        dec     %rdi
        jnz     1b
2:      ret
        .size   sdot, . - sdot

        .section .rodata.cst4, "aM", @progbits, 4
        .balign 4
zero:   .long   0

        .section .note.GNU-stack, "", @progbits
