; Returns half of the least normal float: a denormal number, unless those are made zero.
        bits    64
        section .text
        global  returns_float
returns_float:
        mov     eax, 0x00800000
        movd    xmm0, eax
        mov     eax, 0x3f000000
        movd    xmm1, eax
        mulss   xmm0, xmm1
        ret
