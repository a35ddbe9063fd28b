; Loads reserved bits into MXCSR.
        bits    64
        section .text
        global  playground
playground:
        push    -1
        ldmxcsr [rsp]
        pop     rax
        ret
