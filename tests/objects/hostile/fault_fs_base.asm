; Faults after pointing the base of fs, where a handler's thread-local data would lie, at nothing.
        bits    64
        section .text
        global  playground
playground:
        mov     rax, 0x414141414141
        wrfsbase rax
        xor     eax, eax
        mov     eax, [rax]
        ret
