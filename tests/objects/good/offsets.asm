; Functions that begin at no multiple of 64, so that each place in memory moves them by another number of bytes. What an answer
; says of their text must be said by these offsets, which the labels give.
        bits    64
        section .text

        times 40 nop
; A loop whose head lies at offset 48; returns its argument.
        global  turns:function
turns:
        xor     eax, eax
        nop
        times 5 nop
        inc     rax
        cmp     rax, rdi
        jb      turns + 8
        ret

        times 100 - ($ - $$) nop
; Calls itself, at offset 104, if its argument is 0, which it never is.
        global  deep:function
deep:
        test    rdi, rdi
        jnz     .done
        call    deep
        nop
.done:
        ret

        times 150 - ($ - $$) nop
; Needs AVX-512F, at offset 152.
        global  wide:function
wide:
        xor     eax, eax
        vpaddd  zmm16, zmm16, zmm16
        vzeroupper
        ret
