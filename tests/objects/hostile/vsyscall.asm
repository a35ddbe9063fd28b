; Calls time() in the vsyscall page, which the kernel turns into system call 201.
        bits    64
        section .text
        global  playground
playground:
        xor     edi, edi
        mov     rax, 0xffffffffff600400
        call    rax
        ret
