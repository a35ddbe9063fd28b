; For kernel sdot: touches 64 KiB beyond the buffer `x`, one float at a time, from its end on (STEP=4) or from its start back (STEP=-4).
; With WRITE defined it writes there. COUNT floats instead of 16384, if that is defined.
%ifndef COUNT
%define COUNT 16384
%endif
        bits    64
        section .text
        global  sdot
sdot:
        imul    rdi, rdx
%if STEP > 0
        lea     rsi, [rsi + 4 * rdi]
%else
        sub     rsi, 4
%endif
        mov     ecx, COUNT
        xorps   xmm0, xmm0
.next:
%ifdef WRITE
        movss   [rsi], xmm0
%else
        movss   xmm0, [rsi]
%endif
        add     rsi, STEP
        dec     ecx
        jnz     .next
        ret
