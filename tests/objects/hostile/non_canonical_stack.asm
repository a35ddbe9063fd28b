; Reads a non-canonical address through rbp, whose segment is the stack's: SIGBUS in place of SIGSEGV.
        bits    64
        section .text
        global  playground
playground:
        mov     rbp, 0x8000000000000000
        mov     eax, [rbp]
        ret
