; The system call numbered by the argument, all arguments zero; returns what it returned. For sweeps over all numbers.
        bits    64
        section .text
        global  playground
playground:
        mov     rax, rdi
        xor     edi, edi
        xor     esi, esi
        xor     edx, edx
        xor     r10d, r10d
        xor     r8d, r8d
        xor     r9d, r9d
        syscall
        ret
