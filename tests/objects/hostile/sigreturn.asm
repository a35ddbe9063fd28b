; A forged signal frame: were rt_sigreturn let through, it would block every signal and go on at an undefined instruction.
        bits    64
        section .text
        global  playground
playground:
        xor     eax, eax
        mov     ecx, 40
.zero:
        push    rax
        dec     ecx
        jnz     .zero
        lea     rax, [rel .resume]
        mov     [rsp + 160], rsp                ; rsp
        mov     [rsp + 168], rax                ; rip
        mov     qword [rsp + 176], 0x202        ; rflags
        mov     qword [rsp + 184], 0x33         ; cs, and zero for gs and fs
        mov     word [rsp + 190], 0x2b          ; ss
        mov     qword [rsp + 296], -1           ; blocked signals
        mov     eax, 15
        syscall
.resume:
        ud2
