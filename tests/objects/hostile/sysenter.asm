; The system call gate of 32-bit programs, from 64-bit code: undefined on AMD, a 32-bit call on Intel.
        bits    64
        section .text
        global  playground
playground:
        mov     eax, 20
        xor     ebp, ebp
        sysenter
        ret
