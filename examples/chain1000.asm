; A thousand additions, each waiting for the one before: 1000 cycles on every current core, so a check of the measurement.
;
;     nasm -f elf64 chain1000.asm
        bits    64
        section .text
        global  playground:function
playground:
        xor     eax, eax
        mov     edx, 1
        times 1000 add rax, rdx
        ret
