; Unmaps all memory, itself and every signal handler with it. munmap is a call that the lock may allow.
        bits    64
        section .text
        global  playground
playground:
        xor     edi, edi
        mov     rsi, 0x7ffffffff000
        mov     eax, 11
        syscall
        ret
