; getpid through the 32-bit gate.
        bits    64
        section .text
        global  playground
playground:
        mov     eax, 20
        int     0x80
        ret
