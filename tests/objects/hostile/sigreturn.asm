; A forged signal frame: were rt_sigreturn let through, it would block every signal and go on at an undefined instruction,
; in the segment CODE and with the flags FLAGS.
%ifndef CODE
%define CODE 0x33
%endif
%ifndef FLAGS
%define FLAGS 0x202
%endif

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
        mov     qword [rsp + 176], FLAGS        ; rflags
        mov     qword [rsp + 184], CODE         ; cs, and zero for gs and fs
        mov     word [rsp + 190], 0x2b          ; ss
        mov     qword [rsp + 296], -1           ; blocked signals
        mov     eax, 15
        syscall
.resume:
        ud2
