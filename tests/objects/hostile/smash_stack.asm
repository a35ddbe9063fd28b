; Overwrites 64 KiB upward from its return address, then returns. The bytes make no canonical address.
        bits    64
        section .text
        global  playground
playground:
        mov     rdi, rsp
        mov     rax, 0x4141414141414141
        mov     ecx, 8192
        rep stosq
        ret
