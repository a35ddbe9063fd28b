; For kernel sdot: changes the last element of `x`, which it was only to read.
        bits    64
        section .text
        global  sdot
sdot:
        xorps   xmm0, xmm0
        movss   [rsi + 4 * rdi - 4], xmm0
        ret
