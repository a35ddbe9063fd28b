; Returns with the base of fs, where a caller's thread-local data lies, pointing at nothing.
        bits    64
        section .text
        global  playground
playground:
        mov     rax, 0x414141414141
        wrfsbase rax
        ret
