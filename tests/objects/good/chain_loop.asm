; Eight dependent adds for each of `iterations` turns; returns 8 * iterations. The type of the symbol is given, which NASM does not by itself.
        bits    64
        section .text
        global  playground:function
playground:
        xor     eax, eax
        mov     edx, 1
        test    rdi, rdi
        jz      .done
        align   16
.turn:
        times 8 add rax, rdx
        dec     rdi
        jnz     .turn
.done:
        ret
