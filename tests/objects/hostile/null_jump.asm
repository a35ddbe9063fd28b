; Jumps to address 0.
        bits    64
        section .text
        global  playground
playground:
        xor     eax, eax
        jmp     rax
