; Reads an address that is not canonical: the fault carries no address (si_code 128).
        bits    64
        section .text
        global  playground
playground:
        mov     rax, 0x8000000000000000
        mov     eax, [rax]
        ret
