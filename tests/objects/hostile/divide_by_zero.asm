; Divides an integer by zero.
        bits    64
        section .text
        global  playground
playground:
        xor     edx, edx
        mov     eax, 1
        xor     ecx, ecx
        div     ecx
        ret
