; Returns the register numbered by the argument as it was at entry: 0 to 15 rax to r15 in their order, 16 rflags, 17 mxcsr, 18 the x87
; control word, 19 the x87 tag word, from 32 on the low and high halves of xmm0 to xmm15, and from 64 on, where there is
; AVX, the two upper quarters of ymm0 to ymm15.
        bits    64
        section .text
        global  playground
playground:
        mov     [rel saved], rax
        mov     [rel saved + 8], rcx
        mov     [rel saved + 16], rdx
        mov     [rel saved + 24], rbx
        mov     [rel saved + 32], rsp
        mov     [rel saved + 40], rbp
        mov     [rel saved + 48], rsi
        mov     [rel saved + 56], rdi
        mov     [rel saved + 64], r8
        mov     [rel saved + 72], r9
        mov     [rel saved + 80], r10
        mov     [rel saved + 88], r11
        mov     [rel saved + 96], r12
        mov     [rel saved + 104], r13
        mov     [rel saved + 112], r14
        mov     [rel saved + 120], r15
        pushfq
        pop     qword [rel saved + 128]
        stmxcsr [rel saved + 136]
        fnstcw  [rel saved + 144]
        fnstenv [rel environment]
        movzx   eax, word [rel environment + 8]
        mov     [rel saved + 152], rax
%assign number 0
%rep    16
        movups  [rel saved + 256 + 16 * number], xmm %+ number
%assign number number + 1
%endrep
        cmp     edi, 64
        jb      .done
%assign number 0
%rep    16
        vextractf128 [rel saved + 512 + 16 * number], ymm %+ number, 1
%assign number number + 1
%endrep
.done:  lea     rax, [rel saved]
        mov     rax, [rax + 8 * rdi]
        ret

        section .bss
        align   64
saved:  resb    768
environment: resb 32
