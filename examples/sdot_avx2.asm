; float sdot(size_t n, const float* x, size_t incx, const float* y, size_t incy)
;
; A dot product as fast as two 256-bit loads a cycle allow, for n a multiple of 64 and both strides 1: 64 elements take
; 16 loads, so 8 cycles, and eight sums keep additions from waiting for each other. On cores with two such loads a
; cycle, 1024 elements more take 128 cycles more. It executes 20 * (n / 64) + 21 instructions.
;
;     nasm -f elf64 sdot_avx2.asm
        bits    64
        section .text
        global  sdot:function
sdot:
%assign i 0
%rep 8
        vxorps  ymm %+ i, ymm %+ i, ymm %+ i
%assign i i+1
%endrep
        align   32, db 0x90
.next:
%assign i 0
%assign j 8
%rep 8
        vmovups ymm %+ j, [rsi + 32 * i]
        vfmadd231ps ymm %+ i, ymm %+ j, [rcx + 32 * i]
%assign i i+1
%assign j j+1
%endrep
        add     rsi, 256
        add     rcx, 256
        sub     rdi, 64
        jnz     .next
        vaddps  ymm0, ymm0, ymm4
        vaddps  ymm1, ymm1, ymm5
        vaddps  ymm2, ymm2, ymm6
        vaddps  ymm3, ymm3, ymm7
        vaddps  ymm0, ymm0, ymm1
        vaddps  ymm2, ymm2, ymm3
        vaddps  ymm0, ymm0, ymm2
        vextractf128 xmm1, ymm0, 1
        vaddps  xmm0, xmm0, xmm1
        vhaddps xmm0, xmm0, xmm0
        vhaddps xmm0, xmm0, xmm0
        vzeroupper
        ret
