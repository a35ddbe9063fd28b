; Divides a float by zero with that exception unmasked.
        bits    64
        section .text
        global  playground
playground:
        push    0x1d80
        ldmxcsr [rsp]
        pop     rax
        mov     eax, 0x3f800000
        movd    xmm0, eax
        xorps   xmm1, xmm1
        divss   xmm0, xmm1
        ret
