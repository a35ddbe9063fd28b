; Returns INTEGER in rax and VECTOR in the low half of xmm0. A harness that knows the return type finds one number; the
; bits above a narrow type are junk on purpose, as the System V convention lets a callee leave them.
%ifndef INTEGER
%define INTEGER 0xdeadbeefdeadbeef
%endif
%ifndef VECTOR
%define VECTOR 0xfeedfacefeedface
%endif

        bits    64
        section .text
        global  NAME:function
NAME:
        mov     rax, VECTOR
        movq    xmm0, rax
        mov     rax, INTEGER
        ret
