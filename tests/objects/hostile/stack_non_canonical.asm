; Pushes with rsp at a non-canonical address.
        bits    64
        section .text
        global  playground
playground:
        mov     rsp, 0x8000000000000000
        push    rax
        ret
