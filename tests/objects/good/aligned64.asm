; Loads a constant that lies in its text and has to lie on a 64-byte boundary.
        bits    64
        section .text align=64
        global  playground
playground:
        movaps  xmm0, [rel constant]
        lea     rax, [rel constant]
        and     eax, 63
        ret
        align   64
constant:
        times   64 db 1
