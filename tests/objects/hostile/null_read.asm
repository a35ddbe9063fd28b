; Reads address 0.
        bits    64
        section .text
        global  playground
playground:
        xor     eax, eax
        mov     eax, [rax]
        ret
