; Returns with the upper halves of all sixteen ymm registers in use.
        bits    64
        section .text
        global  playground
playground:
        vxorps  xmm0, xmm0, xmm0
        vcmpps  ymm0, ymm0, ymm0, 0
%assign register 1
%rep 15
        vmovaps ymm %+ register, ymm0
%assign register register + 1
%endrep
        ret
