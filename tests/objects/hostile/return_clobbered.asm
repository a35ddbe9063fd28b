; Returns with junk in every register that a function has to keep, rsp left out.
        bits    64
        section .text
        global  playground
playground:
        mov     rbx, 0x4141414141414141
        mov     rbp, rbx
        mov     r12, rbx
        mov     r13, rbx
        mov     r14, rbx
        mov     r15, rbx
        ret
