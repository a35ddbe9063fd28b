; Returns with MXCSR changed: rounding to zero, denormals flushed, results flushed.
        bits    64
        section .text
        global  playground
playground:
        push    0xffc0
        ldmxcsr [rsp]
        pop     rax
        ret
