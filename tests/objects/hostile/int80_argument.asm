; The system call numbered by the argument, through the 32-bit gate, all arguments zero.
        bits    64
        section .text
        global  playground
playground:
        mov     eax, edi
        xor     ebx, ebx
        xor     ecx, ecx
        xor     edx, edx
        xor     esi, esi
        xor     edi, edi
        xor     ebp, ebp
        int     0x80
        ret
