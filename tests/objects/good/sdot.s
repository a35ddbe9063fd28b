# Dot product of two strided vectors in GNU assembly, AT&T syntax, with a typed and sized symbol.
        .text
        .globl  sdot
        .type   sdot, @function
        .p2align 4
sdot:
        xorps   %xmm0, %xmm0
        testq   %rdi, %rdi
        je      .Ldone
.Lnext:
        movss   (%rsi), %xmm1
        mulss   (%rcx), %xmm1
        addss   %xmm1, %xmm0
        leaq    (%rsi,%rdx,4), %rsi
        leaq    (%rcx,%r8,4), %rcx
        decq    %rdi
        jne     .Lnext
.Ldone:
        ret
        .size   sdot, . - sdot
        .section .note.GNU-stack, "", @progbits
