; Goes over to 32-bit code by a far return, and calls getpid from there. Needs an image below 4 GiB, as WebRunner's is.
        bits    64
        section .text
        global  playground
playground:
        lea     rax, [rel .code32]
        push    0x23
        push    rax
        retfq
        bits    32
.code32:
        mov     eax, 20
        int     0x80
        ud2
